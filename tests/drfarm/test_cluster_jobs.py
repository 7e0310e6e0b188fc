"""The state of a pool of jobs: which are lost, how many are submitted, when it is given up."""

from drfarm.farm.clusters._jobs import MOST_AT_ONCE, MOST_FAILURES, JobBook, workers_wanted


def test_lost_jobs_are_submitted_again():
    book = JobBook(wanted=2)
    assert book.missing(now=0) == 2
    for job in ("1", "2"):
        book.submitted(job)
    assert book.missing(now=1) == 0
    assert book.seen(["1", "2"], {"1", "2"}, now=2) == ()
    assert book.working == {"1", "2"}
    assert book.seen(["2"], {"2"}, now=3) == ()
    assert (book.missing(now=3), book.n_lost, book.given_up) == (1, 1, False)
    book.submitted("3")
    assert book.jobs == {"2", "3"}


def test_jobs_that_wait_in_the_queue_are_waited_for():
    book = JobBook(wanted=2)
    book.submitted("1")
    book.submitted("2")
    for now in range(0, 100_000, 1000):
        assert book.seen(["1", "2"], set(), now=now) == ()
        assert book.missing(now=now) == 0
    assert not book.given_up


def test_jobs_that_fail_one_after_the_other_are_given_up():
    book, now, n = JobBook(wanted=4), 0.0, 0
    while not book.given_up:
        for _ in range(book.missing(now=now)):
            n += 1
            book.submitted(str(n))
        book.seen([], set(), now=now)
        now += 1
        assert now < 1000
    assert n == 4  # all at once, and none again
    book = JobBook(wanted=1)
    waits = []
    while not book.given_up:
        began = now
        while not book.missing(now=now):
            now += 1
        waits.append(now - began)
        n += 1
        book.submitted(str(n))
        assert book.seen([], set(), now=now) == (str(n),)
    assert waits == [0, 5, 10]
    assert len(waits) == MOST_FAILURES


def test_failures_beside_jobs_that_work_are_no_reason_to_give_up():
    book = JobBook(wanted=2)
    book.submitted("good")
    book.seen(["good"], {"good"}, now=0)
    now = 0.0
    for n in range(10):
        while not book.missing(now=now):
            now += 1
        book.submitted(f"bad-{n}")
        assert book.seen(["good"], {"good"}, now=now) == (f"bad-{n}",)
        assert not book.given_up
    assert now < 10 * 300
    book.submitted("at-last")
    book.seen(["good", "at-last"], {"good", "at-last"}, now=now)
    book.seen([], set(), now=now)
    assert book.missing(now=now) == 2  # a success ends the row, and both are lost without blame


def test_a_batch_system_that_refuses_is_asked_again_later():
    book = JobBook(wanted=1)
    book.refused(now=0)
    assert (book.missing(now=1), book.missing(now=6), book.given_up) == (0, 1, False)
    book.refused(now=6)
    book.refused(now=20)
    assert book.given_up


def test_large_pools_are_submitted_in_parts():
    assert JobBook(wanted=1000).missing(now=0) == MOST_AT_ONCE


def test_a_pool_grows_while_tasks_wait_and_within_its_bounds():
    def wanted(n_jobs, *, busy, waiting):
        return workers_wanted(n_jobs, n_busy=busy, n_workers=n_jobs, tasks_wait=waiting, fewest=1, most=10)

    sizes = [1]
    while sizes[-1] < 10:
        sizes.append(wanted(sizes[-1], busy=sizes[-1], waiting=True))
    assert sizes == [1, 2, 4, 8, 10]
    assert wanted(10, busy=10, waiting=True) == 10
    assert wanted(4, busy=3, waiting=True) == 4
    assert wanted(4, busy=4, waiting=False) == 4
