"""Feeding: what is tried again, halved, ended or given up, with workers that are played here. Quick: no process."""

import time
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from drfarm.farm import _feed
from drfarm.farm._deadline import Pace
from drfarm.farm._deaths import Death
from drfarm.farm._feed import ATTEMPTS, feed
from drfarm.farm._given import Watch, Ways
from drfarm.farm._versions import OtherVersions
from drfarm.farm._waiting import Order
from store import Corrupt, StorageFailure


@dataclass(frozen=True)
class Task:
    """What it does to its worker, and how much there is of it."""

    batch_id: str
    does: tuple = ("end",)
    n: int = 1
    needs: str | None = None
    makes: str | None = None

    @property
    def title(self):
        return self.batch_id


class Future:
    """Told by the test what became of it."""

    def __init__(self, key):
        self.key, self.status, self._error, self.told, self.cancelled = key, "pending", None, None, False

    def add_done_callback(self, callback):
        self.told = callback
        if self.status != "pending":
            callback(self)

    def land(self, error=None):
        self.status, self._error = ("finished", None) if error is None else ("error", error)
        if self.told is not None:
            self.told(self)

    def exception(self):
        return self._error

    def result(self, timeout):
        return "small"

    def cancel(self):
        self.cancelled = True

    def release(self):
        pass


def killed():
    from distributed.scheduler import KilledWorker

    return KilledWorker("key", None, 0)


@dataclass
class Played:
    """Workers that do what tasks say, and what their nannies tell."""

    n_workers: int = 2
    blames_lost: bool = False
    client: object = None
    tries: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    news: dict = field(default_factory=dict)
    busy_with_others: set = field(default_factory=set)
    unkillable: bool = False

    def __post_init__(self):
        self.alive = [f"w{i}" for i in range(self.n_workers)]
        self.hung = {}
        self.n_started = self.n_workers

    def excuses(self, worker: str, batch_id: str) -> bool:
        return False

    def leave_out(self, worker: str, why: str) -> None:
        assert why == "torch 1 instead of 2"
        self.alive.remove(worker)

    def has_room(self, n_flying):
        return n_flying < self.n_workers

    def workers(self):
        return tuple(self.alive)

    def die(self, worker, death):
        self.alive.remove(worker)
        self.alive.append(f"w{self.n_started}")
        self.n_started += 1
        if death is not None:
            self.news[worker] = death

    def submit(self, work, task, worker):
        attempt = sum(t.batch_id == task.batch_id for t, _ in self.tries)
        self.tries.append((task, worker))
        future = Future(f"{task.batch_id}-{len(self.tries)}")
        does = task.does[min(attempt, len(task.does) - 1)]
        if does == "end":
            future.land()
        elif does == "cancel":
            future.land()
            future.status = "cancelled"
        elif isinstance(does, Exception):
            future.land(does)
        elif isinstance(does, Death) or does == "vanish":
            self.die(worker, does if isinstance(does, Death) else None)
            future.land(killed())
        elif does == "starve" and task.n > 2:
            self.die(worker, Death(exit_code=-15, out_of_memory=True, log="too much"))
            future.land(killed())
        elif does == "starve":
            future.land()
        elif does == "hang":
            self.hung[future.key] = (future, worker)
        return future

    # The mortuary.
    def watch(self):
        pass

    def of(self, worker):
        return self.news.get(worker)

    def end(self, worker, key):
        if worker in self.busy_with_others:
            self.busy_with_others.discard(worker)
            return False
        self.ended.append(worker)
        if not self.unkillable:
            future, _ = self.hung.pop(key)
            self.die(worker, Death(exit_code=-9, log="in sleep"))
            future.land(killed())
        return True


class Told:
    def __init__(self, farm, tasks, **ways):
        self.done, self.failed, self.retried, self.started = [], {}, [], []
        self.farm = farm
        watch = Watch(
            done=lambda t, _: self.done.append(t.batch_id),
            failed=lambda f: self.failed.update({f.task.batch_id: f}),
            retried=lambda t, why: self.retried.append((t.batch_id, why)),
            started=lambda t, worker: self.started.append((t.batch_id, worker)),
        )
        feed(farm, tasks, None, watch, Ways(**ways), farm)
        self.counts = Counter(t.batch_id for t, _ in farm.tries)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("_LOOK_S", "_NEWS_S", "_LOCAL_NEWS_S", "_ON_ITS_WAY_S", "_END_S", "_REST_S"):
        monkeypatch.setattr(_feed, name, 0.02)


def test_all_end_and_each_start_is_told():
    told = Told(Played(), [Task(str(i)) for i in range(20)])
    assert sorted(told.done) == sorted(str(i) for i in range(20))
    assert sorted(b for b, _ in told.started) == sorted(told.done)
    assert (told.failed, told.retried) == ({}, [])


@pytest.mark.parametrize(
    ("code", "words"),
    [(-11, r"signal 11 (SIGSEGV): a crash in native code"), (-9, "--workers"), (7, "exit code 7"), (-77, "unknown")],
)
def test_a_worker_that_dies_is_told_of_with_its_cause_and_its_log(code, words):
    tasks = [Task("poison", (Death(exit_code=code, log="last words"),)), *(Task(str(i)) for i in range(5))]
    told = Told(Played(), tasks)
    failure = told.failed["poison"]
    assert failure.error.startswith("its worker process died: ")
    assert words in failure.error
    assert (failure.attempts, failure.log) == (ATTEMPTS, "last words")
    assert list(told.failed) == ["poison"]
    assert sorted(told.done) == list("01234")
    assert told.counts["poison"] == ATTEMPTS


def test_a_death_that_nobody_tells_of_is_not_waited_for_for_ever_and_others_go_on():
    told = Told(Played(n_workers=1), [Task("gone", ("vanish", "end")), Task("other")])
    assert sorted(told.done) == ["gone", "other"]
    assert [b for b, _ in told.retried] == ["gone"]
    assert "nothing more is known" in told.retried[0][1]


def test_one_that_has_other_versions_gets_nothing_more_and_no_task_is_to_blame():
    other = OtherVersions("torch 1 instead of 2")
    told = Told(Played(), [Task("mine", (other, "end")), *(Task(str(i)) for i in range(20))])
    assert sorted(told.done) == sorted(["mine", *map(str, range(20))])
    assert (told.failed, told.retried) == ({}, [])
    first = next(i for i, (batch_id, _) in enumerate(told.started) if batch_id == "mine")
    refused = told.started[first][1]
    assert refused not in {worker for _, worker in told.started[first + 1 :]}


@pytest.mark.parametrize("oom", [False, True])
def test_a_batch_that_its_worker_had_written_before_it_died_is_done(oom):
    poison = Death(exit_code=-15, out_of_memory=oom)
    tasks = [Task("written", (poison,), n=4), Task("other", (poison, "end"), n=1)]
    told = Told(Played(), tasks, halves=halve, is_made=lambda task: task.batch_id == "written")
    assert sorted(told.done) == ["other", "written"]
    assert [b for b, _ in told.retried] == ["other"]
    assert (told.counts["written"], told.counts["other"]) == (1, 2)


def test_what_storage_refused_rests_before_each_try_and_others_go_on(monkeypatch):
    monkeypatch.setattr(_feed, "_REST_S", 0.3)
    refused = StorageFailure("it does not answer")
    began = time.monotonic()
    told = Told(Played(), [Task("mine", (refused, refused, "end")), *(Task(str(i)) for i in range(5))])
    assert time.monotonic() - began >= 0.3 + 0.6
    assert told.done[-1] == "mine"
    assert told.counts["mine"] == 3
    assert [b for b, _ in told.retried] == ["mine"] * 2


def test_a_store_that_does_not_answer_whether_it_has_a_batch_leaves_the_next_try_to_tell():
    def unknown(task):
        raise StorageFailure("no answer")

    told = Told(Played(), [Task("mine", (Death(exit_code=-9), "end"))], is_made=unknown)
    assert (told.done, told.failed) == (["mine"], {})


def halve(task):
    if task.n == 1:
        return (task,)
    parts = (task.n // 2, task.n - task.n // 2)
    return tuple(replace(task, batch_id=f"{task.batch_id}.{i}", n=n) for i, n in enumerate(parts))


def test_what_took_too_much_memory_goes_on_in_halves_until_it_fits():
    told = Told(Played(), [Task("large", ("starve",), n=7), Task("small")], halves=halve)
    assert told.failed == {}
    done = [t for t, _ in told.farm.tries if t.batch_id in told.done and t.batch_id.startswith("large")]
    assert sum(t.n for t in done) == 7
    assert max(t.n for t in done) <= 2
    assert len(done) == len({t.batch_id for t in done})
    assert max(told.counts.values()) == 1  # no half is taken for a second try
    assert all("in 2 parts: its worker process died: it took more memory" in why for _, why in told.retried)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_a_want_of_memory_that_is_raised_counts_as_one(error):
    told = Told(Played(), [Task("large", (error,), n=2)], halves=halve)
    assert sorted(told.failed) == ["large.0", "large.1"]
    assert told.counts == {"large": 1, "large.0": ATTEMPTS, "large.1": ATTEMPTS}
    assert all("--memory-limit" in f.error for f in told.failed.values())


def test_what_can_t_be_cut_is_quarantined_with_what_to_do():
    told = Told(Played(), [Task("one", (Death(exit_code=-15, out_of_memory=True),))], halves=halve)
    assert told.failed["one"].attempts == ATTEMPTS
    assert "more memory than it may. Use fewer workers (--workers)" in told.failed["one"].error


def pace(**more):
    return Pace(factor=1e-9, least_s=0.03, **more)


def test_a_task_that_hangs_is_ended_tried_elsewhere_and_given_up_by_name():
    tasks = [Task("stuck", ("hang",)), Task("slow", ("hang", "end")), *(Task(str(i)) for i in range(4))]
    told = Told(Played(), tasks, pace=pace())
    assert list(told.failed) == ["stuck"]
    failure = told.failed["stuck"]
    assert failure.error.startswith("no end after 0 s")
    assert (failure.attempts, failure.log) == (ATTEMPTS, "in sleep")
    assert sorted(told.done) == ["0", "1", "2", "3", "slow"]
    assert len(told.farm.ended) == ATTEMPTS + 1
    workers = [w for t, w in told.farm.tries if t.batch_id == "stuck"]
    assert len(set(workers)) == ATTEMPTS


def test_a_worker_that_can_t_be_ended_is_given_nothing_more():
    told = Told(
        Played(n_workers=2, unkillable=True), [Task("stuck", ("hang", "end")), Task("a"), Task("b")], pace=pace()
    )
    assert sorted(told.done) == ["a", "b", "stuck"]
    (shunned,) = told.farm.ended
    after = [w for t, w in told.farm.tries if t.batch_id == "stuck"][1:]
    assert shunned not in after


def test_a_task_behind_somebody_else_s_is_waited_for():
    farm = Played(n_workers=1, busy_with_others={"w0"})
    told = Told(farm, [Task("mine", ("hang", "end"))], pace=pace())
    assert told.done == ["mine"]
    assert farm.ended == ["w0"]  # only when its own time had passed as well


def test_no_deadline_where_nothing_is_known(monkeypatch):
    assert Ways().pace.deadline_s(1.0, 1) is None


def test_what_may_pass_is_tried_again_and_bad_data_is_not():
    tasks = [
        Task("full", (StorageFailure("the disk is full."), "end")),
        Task("bad", (Corrupt("not what was written."),)),
        Task("bug", (ZeroDivisionError("division by zero"),)),
    ]
    told = Told(Played(), tasks)
    assert told.done == ["full"]
    assert {b: f.attempts for b, f in told.failed.items()} == {"bad": 1, "bug": ATTEMPTS}
    assert told.failed["bad"].log == ""
    assert "ZeroDivisionError" in told.failed["bug"].log


def test_a_scheduler_that_goes_is_no_fault_of_the_task():
    told = Told(Played(), [Task("mine", (*["cancel"] * (ATTEMPTS + 2), "end")), Task("other")])
    assert sorted(told.done) == ["mine", "other"]
    assert told.failed == {}
    assert told.retried == [("mine", "the connection to its scheduler was lost.")] * (ATTEMPTS + 2)


@pytest.mark.parametrize("does", ["end", Corrupt("bad."), Death(exit_code=-9)])
def test_readers_start_when_what_they_read_has_ended_well_or_badly(does):
    tasks = [Task("reader", needs="x"), Task("maker", (does,), makes="x"), Task("other")]
    order = Order(makes=lambda t: t.makes, needs=lambda t: () if t.needs is None else (t.needs,))
    told = Told(Played(), tasks, order=order)
    assert {"reader", "other"} <= set(told.done)
    tried = [t.batch_id for t, _ in told.farm.tries]
    assert tried.index("reader") > max(i for i, b in enumerate(tried) if b == "maker")


@pytest.mark.parametrize("blames_lost", [True, False])
def test_a_task_that_never_reached_its_worker_is_taken_back(blames_lost, monkeypatch):
    farm = Played(n_workers=1, blames_lost=blames_lost)
    first = []
    submit = farm.submit

    def lost(work, task, worker):
        if first:
            return submit(work, task, worker)
        first.append(Future("lost"))
        farm.tries.append((task, worker))
        farm.die(worker, None)
        return first[0]

    monkeypatch.setattr(farm, "submit", lost)
    told = Told(farm, [Task("sent")])
    assert told.done == ["sent"]
    assert first[0].cancelled
    assert [b for b, _ in told.retried] == (["sent"] if blames_lost else [])
