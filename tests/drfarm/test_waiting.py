"""The queue: every task once, never before its inputs, where its features are, and the longest not late."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drfarm.farm._waiting import FAR, HALF, KEPT, Order, Waiting


@dataclass(frozen=True, kw_only=True)
class Job:
    name: int
    seconds: float = 1.0
    home: str | None = None
    makes: str | None = None
    needs: tuple[str, ...] = ()


ORDER = Order(makes=lambda j: j.makes, needs=lambda j: j.needs, seconds=lambda j: j.seconds)


def waiting(jobs, order=ORDER):
    return Waiting(jobs, order, lambda j: () if j.home is None else (j.home,))


def drained(queue, worker="a"):
    """Take until nothing can start, and say by name what came."""
    names = []
    while (taken := queue.take(worker)) is not None:
        names.append(taken[0].name)
    return names


@st.composite
def job_lists(draw):
    n = draw(st.integers(1, 30))
    things = [f"s{i}" for i in range(draw(st.integers(0, 3)))]
    jobs = [
        Job(
            name=i,
            seconds=draw(st.sampled_from([0.0, 1.0, 2.0, 3.0, 10.0, 100.0])),
            home=draw(st.sampled_from([None, "r0", "r1", "r2", "r3"])),
            needs=tuple(draw(st.sets(st.sampled_from([*things, "there"]), max_size=2))),
        )
        for i in range(n)
    ]
    makers = [Job(name=n + i, seconds=draw(st.sampled_from([1.0, 5.0])), makes=t) for i, t in enumerate(things)]
    return draw(st.permutations([*makers, *jobs]))


@given(job_lists(), st.lists(st.sampled_from(["take", "end", "fail", "lose", "forget"]), max_size=120), st.randoms())
def test_every_task_is_handed_out_once_and_after_what_it_needs(jobs, events, random):
    queue, flying, ended, made = waiting(jobs), [], [], {"there"}
    workers = ["a", "b", "c"]

    def take():
        taken = queue.take(random.choice(workers))
        if taken is not None:
            job, attempt = taken
            assert job.makes is not None or made.issuperset(job.needs)
            assert job not in [j for j, _ in flying]
            flying.append((job, attempt))
        return taken

    def end(job):
        ended.append(job)
        if job.makes is not None:
            made.add(job.makes)
            queue.made(job.makes)

    for event in events:
        if event == "take":
            take()
        elif event == "forget":
            queue.forget(random.choice(workers))
        elif flying:
            job, attempt = flying.pop(random.randrange(len(flying)))
            if event == "end":
                end(job)
            elif event == "fail":
                queue.retry(job, attempt + 1)
            else:
                queue.again(job, attempt)
        assert len(queue) + len(flying) + len(ended) == len(jobs)
    while len(queue) or flying:
        if take() is None:
            assert flying, "something waits that nobody makes"
            end(flying.pop()[0])
    assert sorted(j.name for j in ended) == sorted(j.name for j in jobs)
    assert queue.take("a") is None


@given(job_lists(), st.integers(1, 4))
def test_the_longest_is_passed_over_only_while_much_waits(jobs, n_workers):
    queue = waiting([Job(name=j.name, seconds=j.seconds, home=j.home) for j in jobs])
    left = {j.name: j.seconds for j in jobs}
    for turn in range(len(jobs)):
        waits = sum(left.values())
        job, _ = queue.take(f"w{turn % n_workers}")
        longest = max(left.values())
        assert job.seconds >= HALF * longest
        if job.seconds < longest:
            assert waits >= FAR * longest * min(turn + 1, n_workers)
        del left[job.name]


@given(job_lists(), st.integers(1, 4))
def test_workers_end_within_the_longest_of_each_other(jobs, n_workers):
    """No order can leave a worker idle while something waits; this one leaves no long task to the end."""
    jobs = [Job(name=j.name, seconds=j.seconds, home=j.home) for j in jobs]
    queue, free, last = waiting(jobs), [0.0] * n_workers, 0.0
    started = {}
    while len(queue):
        at = free.index(min(free))
        job, _ = queue.take(f"w{at}")
        started[job.name] = free[at]
        free[at] += job.seconds
        last = max(last, free[at])
    total = sum(j.seconds for j in jobs)
    most = max(j.seconds for j in jobs)
    assert last <= total / n_workers + most + 1e-9
    if (
        total >= (FAR + 1) * n_workers * most
    ):  # much to do: all that is as long as the longest starts well before the end
        assert all(started[j.name] <= last - most + 1e-9 for j in jobs if j.seconds == most)


def test_alike_tasks_start_in_the_order_given():
    jobs = [Job(name=i, seconds=0.0) for i in (3, 1, 2)]
    assert drained(waiting(jobs)) == [3, 1, 2]


def test_the_longest_goes_first_and_what_others_wait_for_before_it():
    jobs = [
        Job(name=0, seconds=5.0),
        Job(name=1, seconds=9.0),
        Job(name=2, seconds=1.0, makes="s"),
        Job(name=3, seconds=20.0, needs=("s",)),
    ]
    queue = waiting(jobs)
    assert [queue.take("a")[0].name for _ in range(3)] == [2, 1, 0]
    assert queue.take("a") is None
    assert len(queue) == 1
    queue.made("s")
    assert drained(queue) == [3]


def test_a_thing_that_will_never_be_lets_its_readers_go():
    queue = waiting([Job(name=0, makes="s"), Job(name=1, needs=("s",))])
    assert queue.take("a") is not None
    queue.made("s")
    queue.made("s")
    assert drained(queue) == [1]


def test_what_no_task_makes_is_there():
    assert drained(waiting([Job(name=0, needs=("elsewhere",))])) == [0]


def test_a_worker_stays_with_what_it_read_and_another_takes_other_features():
    jobs = [Job(name=i, home=f"r{i // 10}") for i in range(40)]
    queue = waiting(jobs)
    homes = {w: [] for w in "abcd"}
    for _ in range(10):
        for worker, seen in homes.items():
            seen.append(queue.take(worker)[0].home)
    assert sorted(set(seen).pop() for seen in homes.values()) == ["r0", "r1", "r2", "r3"]
    assert all(len(set(seen)) == 1 for seen in homes.values())


@pytest.mark.parametrize(("seconds", "home"), [(3.0, "r1"), (1.5, "r0")])
def test_features_in_memory_are_worth_half_the_time_and_no_more(seconds, home):
    queue = waiting([Job(name=i, home="r0") for i in range(50)])
    assert queue.take("a")[0].home == "r0"
    queue.retry(Job(name=50, home="r1", seconds=seconds), 1)
    assert queue.take("a")[0].home == home


def test_near_the_end_the_longest_goes_first_wherever_its_features_are():
    queue = waiting([Job(name=i, home="r0") for i in range(5)])
    assert queue.take("a")[0].home == "r0"
    queue.retry(Job(name=50, home="r1", seconds=1.5), 1)
    assert queue.take("a")[0].home == "r1"


def test_a_worker_is_taken_to_keep_the_last_few():
    homes = [f"r{i}" for i in range(KEPT + 1)]
    jobs = [Job(name=i, home=h) for i, h in enumerate(homes)]
    queue = waiting([*jobs, *(Job(name=10 + i, home=h, seconds=0.5) for i, h in enumerate(homes))])
    for _ in homes:
        queue.take("a")
    # All are equally far down; the one that was read first has been given up, so another worker gets it.
    assert queue.take("b")[0].home == homes[0]
    assert queue.take("a")[0].home == homes[-1]


def test_a_worker_that_is_gone_keeps_nothing():
    jobs = [Job(name=i, home=f"r{i % 2}") for i in range(8)]
    queue = waiting(jobs)
    assert queue.take("a")[0].home == "r0"
    assert queue.take("b")[0].home == "r1"
    queue.forget("a")
    queue.forget("nobody")
    assert queue.take("c")[0].home == "r0"


def test_a_task_that_failed_goes_behind_its_like_and_one_that_never_arrived_before_all():
    jobs = [Job(name=0, seconds=4.0), Job(name=1, seconds=4.0), Job(name=2, seconds=3.0), Job(name=3, seconds=1.0)]
    queue = waiting(jobs)
    first, attempt = queue.take("a")
    queue.retry(first, attempt + 1)
    second, _ = queue.take("b")
    queue.again(second, 1)
    assert queue.take("a") == (second, 1)
    assert queue.take("a")[0].name == 2
    assert queue.take("a") == (first, 2)
    assert drained(queue) == [3]


def test_parts_of_a_task_stand_for_it():
    queue = waiting([Job(name=0, seconds=8.0)])
    queue.take("a")
    for part in (1, 2):
        queue.retry(Job(name=part, seconds=4.0), 1)
    assert len(queue) == 2
    assert drained(queue) == [1, 2]


def test_what_is_too_long_for_what_is_left_is_cut_and_each_part_has_all_its_tries():
    def cut(job):
        half = job.seconds / 2
        return (job,) if half < 1 else tuple(Job(name=2 * job.name + i, seconds=half) for i in (0, 1))

    order = Order(seconds=lambda j: j.seconds, cut=cut)
    queue = waiting([Job(name=1, seconds=8.0)], order)
    assert queue.take("alone") == (Job(name=1, seconds=8.0), 1)
    queue.retry(Job(name=1, seconds=8.0), 3)
    assert queue.take("a") == (Job(name=2, seconds=4.0), 1)
    assert len(queue) == 1
    left = []
    while (taken := queue.take("b")) is not None:
        left.append(taken)
    assert len(left) > 1
    assert sum(job.seconds for job, _ in left) == 4.0
    assert all(attempt == 1 for _, attempt in left)


@pytest.mark.parametrize("n_homes", [1, 100, 20_000])
def test_what_a_turn_takes_hardly_grows(n_homes):
    """Counted, not timed: how many entries are looked at for each task."""
    n, looked = 20_000, 0
    jobs = [Job(name=i, home=f"r{i % n_homes}", seconds=1.0 + i % 7) for i in range(n)]
    queue = waiting(jobs)
    inner = queue._head

    def counted(level):
        nonlocal looked
        looked += 1
        return inner(level)

    queue._head = counted
    turn = 0
    while queue.take(f"w{turn % 50}") is not None:
        turn += 1
    assert turn == n
    assert looked <= n * 4 * math.log2(50)
    assert sum(map(len, queue._by_keepers.values())) <= 4 * n
