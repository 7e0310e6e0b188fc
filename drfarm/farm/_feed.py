"""Feeding workers: one task each, what failed again, what fails for good by name. Knows nothing of where workers are.

Each task is handed to one worker that has no other, so that a worker's death names its task.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic

from drfarm.farm._blame import is_dead, is_memory, may_pass, reason, traceback_of
from drfarm.farm._deaths import MEMORY_REMEDY, Death, Deaths, Mortuary
from drfarm.farm._given import Failure, Farm, T, Watch, Ways
from drfarm.farm._versions import OtherVersions
from drfarm.farm._waiting import Waiting
from store import StorageFailure, StoreError

ATTEMPTS = 3
"""A batch that fails so often is quarantined."""

_LOOK_S = 0.2
"""A worker that comes back waits at most so long for a task."""
_ON_ITS_WAY_S = 10.0
"""A task that was sent to a worker as it died is taken back after so long without news of it."""
_FETCH_S = 60.0
"""A small report takes at most so long to come."""
_NEWS_S, _LOCAL_NEWS_S = 3.0, 8.0
"""The cause of a worker's death is waited for so long; others go on meanwhile. Here it is told late where the machine
is busy; of a host that is gone nobody tells."""
_REST_S = 4.0
"""A task rests so long before its second try, and twice as long before its third, where storage did not answer or was
full: servers are started again, and disks emptied."""
_END_S = 15.0
"""A worker that was to be ended and is not gone after so long is given no task any more."""


def feed(
    farm: Farm,
    tasks: Sequence[T],
    work: Callable[[T], object],
    watch: Watch[T],
    ways: Ways[T] | None = None,
    deaths: Mortuary | None = None,
) -> None:
    """Run every task, each on one worker.

    A task that reads what another makes waits for it to end, well or badly. One whose worker dies or hangs is tried
    again; one that took too much memory goes on in two halves. By default the farm's own cluster tells of ``deaths``.
    """
    _Feed(farm, tasks, work, watch, ways or Ways(), deaths or Deaths(farm=farm)).run()


@dataclass(slots=True, kw_only=True)
class _Flight(Generic[T]):
    """A task that a worker has."""

    task: T
    attempt: int
    worker: str
    """Its address; a worker that is started again has another."""
    began: float
    """When it was handed over."""
    allowed_s: float | None
    """It hangs after so long."""
    due: float | None
    """When that is; or, of one that hangs, when its worker is given up."""
    hung_s: float | None = None
    """How long it had taken when its worker was ended."""
    missed_at: float | None = None
    """When its worker was first seen gone."""


class _Feed(Generic[T]):
    """Tasks on their way through a farm."""

    def __init__(
        self,
        farm: Farm,
        tasks: Sequence[T],
        work: Callable[[T], object],
        watch: Watch[T],
        ways: Ways[T],
        deaths: Mortuary,
    ) -> None:
        self._farm, self._work, self._watch, self._ways, self._deaths = farm, work, watch, ways, deaths
        self._waiting = Waiting(tasks, ways.order, ways.reads)
        self._flying: dict[Any, _Flight[T]] = {}
        self._landed: SimpleQueue[Any] = SimpleQueue()
        self._mourned: list[tuple[_Flight[T], float]] = []
        self._resting: list[tuple[float, T, int]] = []
        self._shunned: set[str] = set()
        self._causes: dict[str, Death] = {}

    def run(self) -> None:
        """Run every task."""
        while self._waiting or self._flying or self._mourned or self._resting:
            self._wake()
            self._hand_out()
            landed = self._next_landed()
            for future in landed:
                flight = self._flying.pop(future, None)
                if flight is not None:
                    self._land(flight, future)
            if not landed:
                self._take_back_lost()
            self._end_hung()
            self._bury()

    def _wake(self) -> None:
        """Let tasks be tried again that have rested."""
        now = time.monotonic()
        rested = [r for r in self._resting if r[0] <= now]
        self._resting = [r for r in self._resting if r[0] > now]
        for _, task, attempt in rested:
            self._waiting.retry(task, attempt)

    def _hand_out(self) -> None:
        if not self._waiting or not self._farm.has_room(len(self._flying)):
            return
        self._deaths.watch()
        busy = {f.worker for f in self._flying.values()} | self._shunned
        for worker in [w for w in self._farm.workers() if w not in busy]:
            startable = self._waiting.take(worker)
            if startable is None:
                return
            task, attempt = startable
            now = time.monotonic()
            allowed_s = self._ways.pace.deadline_s(self._ways.amount(task), attempt)
            future = self._farm.submit(self._work, task, worker)
            self._flying[future] = _Flight(
                task=task,
                attempt=attempt,
                worker=worker,
                began=now,
                allowed_s=allowed_s,
                due=None if allowed_s is None else now + allowed_s,
            )
            future.add_done_callback(self._landed.put)
            self._watch.started(task, worker)

    def _next_landed(self) -> list[Any]:
        """Wait a moment for a task to end; return all that have."""
        found = []
        try:
            found.append(self._landed.get(timeout=_LOOK_S))
            while True:
                found.append(self._landed.get_nowait())
        except Empty:
            return found

    def _land(self, flight: _Flight[T], future: Any) -> None:
        if future.status == "finished":
            self._finish(flight, future)
        elif future.status == "cancelled" and flight.hung_s is None:
            # What the library does to every task when the scheduler goes: none of them is to blame.
            self._watch.retried(flight.task, "the connection to its scheduler was lost.")
            self._waiting.again(flight.task, flight.attempt)
        else:
            self._farm.workers()  # where all are gone, that is what to tell
            error = future.exception() if future.status == "error" else None
            if flight.hung_s is not None or is_dead(error) or future.status == "lost":
                self._mourn(flight)
            elif isinstance(error, OtherVersions):
                self._farm.leave_out(flight.worker, str(error))
                self._waiting.forget(flight.worker)
                self._waiting.again(flight.task, flight.attempt)
            elif is_memory(error):
                self._too_large(flight, f"{reason(error, future.status)}. {MEMORY_REMEDY}", traceback_of(future))
            else:
                self._give_up_or_retry(
                    flight,
                    reason(error, future.status),
                    log=traceback_of(future),
                    hopeless=not may_pass(error),
                    rests=isinstance(error, StorageFailure),
                )
        future.release()

    def _finish(self, flight: _Flight[T], future: Any) -> None:
        result = None
        if self._watch.fetches:
            try:
                result = future.result(timeout=_FETCH_S)
            except Exception as e:  # noqa: BLE001 - whatever the library says of a worker that died with its report
                self._give_up_or_retry(flight, f"its report was lost ({type(e).__name__})")
                return
        ways = self._ways
        amount = ways.amount(flight.task) if ways.amount_done is None else ways.amount_done(flight.task, result)
        ways.pace.learn(amount, time.monotonic() - flight.began)
        self._made_by(flight.task)
        self._watch.done(flight.task, result)

    def _mourn(self, flight: _Flight[T]) -> None:
        """Wait until the cause of its worker's death is told."""
        self._waiting.forget(flight.worker)
        self._mourned.append((flight, time.monotonic() + (_NEWS_S if self._farm.blames_lost else _LOCAL_NEWS_S)))

    def _bury(self) -> None:
        """Judge the tasks of dead workers, when the cause is known or will not be."""
        waited, self._mourned = self._mourned, []
        for flight, until in waited:
            death = self._deaths.of(flight.worker)
            if death is None and time.monotonic() < until:
                self._mourned.append((flight, until))
                continue
            if self._is_made(flight.task):
                self._made_by(flight.task)
                self._watch.done(flight.task, None)
                continue
            if flight.hung_s is None and self._farm.excuses(flight.worker, flight.task.batch_id):
                self._waiting.again(flight.task, flight.attempt)
                continue
            # A worker that dies as it starts may do so unseen: what an earlier try died of is the best guess.
            death = death or self._causes.get(flight.task.batch_id) or Death()
            self._causes[flight.task.batch_id] = death
            if flight.hung_s is not None:
                why = f"no end after {flight.hung_s:.0f} s, far more than it should take: it hung, and was ended."
                self._give_up_or_retry(flight, why, log=death.log)
            elif death.out_of_memory:
                self._too_large(flight, f"its worker process died: {death.cause}", death.log)
            else:
                # At once: what a lost host did must soon run elsewhere.
                self._give_up_or_retry(flight, f"its worker process died: {death.cause}", log=death.log, at_once=True)

    def _is_made(self, task: T) -> bool:
        """Say whether a dead worker had written its batch: in two halves it would be there twice."""
        try:
            return self._ways.is_made(task)
        except StoreError:  # the next try tells
            return False

    def _too_large(self, flight: _Flight[T], why: str, log: str) -> None:
        parts = self._ways.halves(flight.task)
        if len(parts) < 2:
            self._give_up_or_retry(flight, why, log=log)
            return
        self._watch.retried(flight.task, f"in {len(parts)} parts: {why}")
        for part in parts:
            self._waiting.retry(part, 1)

    def _give_up_or_retry(
        self,
        flight: _Flight[T],
        why: str,
        *,
        log: str = "",
        hopeless: bool = False,
        at_once: bool = False,
        rests: bool = False,
    ) -> None:
        if flight.attempt >= ATTEMPTS or hopeless:
            self._made_by(flight.task)
            self._watch.failed(Failure(task=flight.task, error=why, attempts=flight.attempt, log=log))
        else:
            self._watch.retried(flight.task, why)
            if rests:
                self._resting.append((time.monotonic() + _REST_S * flight.attempt, flight.task, flight.attempt + 1))
                return
            put_back = self._waiting.again if at_once else self._waiting.retry
            put_back(flight.task, flight.attempt + 1)

    def _made_by(self, task: T) -> None:
        """Let those start that wait for a task: it has ended, well or badly."""
        made = self._ways.order.makes(task)
        if made is not None:
            self._waiting.made(made)

    def _take_back_lost(self) -> None:
        """Take back the tasks that never reached their workers: gone for long, and no word of the tasks."""
        alive, now = set(self._farm.workers()), time.monotonic()
        for future, flight in list(self._flying.items()):
            if flight.worker in alive:
                flight.missed_at = None
            elif flight.missed_at is None:
                flight.missed_at = now
            elif now - flight.missed_at > _ON_ITS_WAY_S and future.status == "pending":
                del self._flying[future]
                future.cancel()
                if self._farm.blames_lost:
                    self._mourn(flight)
                else:
                    self._waiting.forget(flight.worker)
                    self._waiting.again(flight.task, flight.attempt)

    def _end_hung(self) -> None:
        """End the workers whose tasks hang; shun those that can't be ended."""
        now = time.monotonic()
        for future, flight in list(self._flying.items()):
            if flight.due is None or flight.allowed_s is None or now < flight.due:
                continue
            if flight.hung_s is not None:
                self._shunned.add(flight.worker)
                del self._flying[future]
                future.cancel()
                self._mourn(flight)
            elif self._deaths.end(flight.worker, future.key):
                flight.hung_s = now - flight.began
                flight.due = now + _END_S
            else:  # behind somebody else's task: its own time begins later
                flight.began = now
                flight.due = now + flight.allowed_s
