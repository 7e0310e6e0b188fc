"""Feeding workers: one task each, what failed again, what fails for good by name. Knows nothing of where workers are.

Each task is handed to one worker that has no other, so that a worker's death names its task.
"""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from store import DrfarmError, StorageFailure

ATTEMPTS = 3
"""A batch that fails so often is quarantined."""

_LOOK_S = 0.2
"""A worker that comes back waits at most so long for a task."""
_ON_ITS_WAY_S = 10.0
"""A task that was sent to a worker as it died is taken back after so long without news of it."""
_FETCH_S = 60.0
"""A small report takes at most so long to come."""


class FarmTask(Protocol):
    """What the farm knows of a task."""

    @property
    def batch_id(self) -> str:
        """What it makes, by identity."""
        ...

    @property
    def title(self) -> str:
        """What it is, as told to people."""
        ...


T = TypeVar("T", bound=FarmTask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Generic[T]):
    """A batch that was given up."""

    task: T
    """What it was."""
    error: str
    """Why, as told to people."""
    attempts: int
    """How often it was tried."""


class Farm(Protocol):
    """Worker processes, wherever they are."""

    @property
    def blames_lost(self) -> bool:
        """Whether a task that vanished with its worker has used up a try."""
        ...

    def has_room(self, n_flying: int) -> bool:
        """Say whether a worker may be free while so many tasks are out."""
        ...

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that live now.

        Raises
        ------
        FarmFailed
            If there has been none for too long.
        """
        ...

    def submit(self, work: Callable[[Any], object], task: Any, worker: str) -> Any:
        """Hand a task to one worker and return its future; its death is told at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Generic[T]):
    """Who is told, in the thread that feeds."""

    done: Callable[[T, Any], None]
    """A batch is written; with what the work returned, where that is fetched, else None."""
    failed: Callable[[Failure[T]], None]
    """A batch is given up after `ATTEMPTS` tries, or at once where trying again can't help."""
    retried: Callable[[T, str], None]
    """A batch is tried again, with the reason."""
    fetches: bool = False
    """Whether what the work returns is fetched; it is small then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Generic[T]):
    """Which tasks wait for which."""

    makes: Callable[[T], Hashable | None] = lambda _: None
    """What a task makes that others read; None where nothing."""
    needs: Callable[[T], Iterable[Hashable]] = lambda _: ()
    """What it reads of that."""


@dataclass(slots=True, kw_only=True)
class _Flight(Generic[T]):
    """A task that a worker has."""

    task: T
    attempt: int
    worker: str
    """Its address; a worker that is started again has another."""
    missed_at: float | None = None
    """When its worker was first seen gone."""


def feed(
    farm: Farm, tasks: Sequence[T], work: Callable[[T], object], watch: Watch[T], order: Order[T] | None = None
) -> None:
    """Run every task, each on one worker; a task that reads what another makes waits for it to end, well or badly."""
    order = order or Order()
    waiting = deque((task, 1) for task in tasks)
    unmade = {made for t in tasks if (made := order.makes(t)) is not None}
    flying: dict[Any, _Flight[T]] = {}
    landed: SimpleQueue[Any] = SimpleQueue()

    def give_up_or_retry(flight: _Flight[T], reason: str, *, may_pass: bool) -> None:
        if flight.attempt >= ATTEMPTS or not may_pass:
            unmade.discard(order.makes(flight.task))
            watch.failed(Failure(task=flight.task, error=reason, attempts=flight.attempt))
        else:
            watch.retried(flight.task, reason)
            waiting.append((flight.task, flight.attempt + 1))

    while waiting or flying:
        if waiting and farm.has_room(len(flying)):
            busy = {f.worker for f in flying.values()}
            for worker in [w for w in farm.workers() if w not in busy]:
                startable = _take(waiting, unmade, order)
                if startable is None:
                    break
                task, attempt = startable
                future = farm.submit(work, task, worker)
                flying[future] = _Flight(task=task, attempt=attempt, worker=worker)
                future.add_done_callback(landed.put)
        try:
            future = landed.get(timeout=_LOOK_S)
        except Empty:
            for future in _lost(flying, farm):
                flight = flying.pop(future)
                future.cancel()
                if farm.blames_lost:
                    give_up_or_retry(flight, _DIED, may_pass=True)
                else:
                    waiting.appendleft((flight.task, flight.attempt))
            continue
        if future not in flying:
            continue
        flight = flying.pop(future)
        if future.status == "finished":
            try:
                result = future.result(timeout=_FETCH_S) if watch.fetches else None
            except Exception as e:  # noqa: BLE001 - whatever the library says of a worker that died with its report
                give_up_or_retry(flight, f"its report was lost ({type(e).__name__})", may_pass=True)
            else:
                unmade.discard(order.makes(flight.task))
                watch.done(flight.task, result)
        else:
            farm.workers()  # where all are gone, that is what to tell
            error = future.exception() if future.status == "error" else None
            give_up_or_retry(flight, _reason(error, future.status), may_pass=_may_pass(error))
        future.release()


def _take(waiting: deque[tuple[T, int]], unmade: set[Hashable], order: Order[T]) -> tuple[T, int] | None:
    """Take the first task whose inputs are there; None where all that wait need others."""
    for i, (task, attempt) in enumerate(waiting):
        if order.makes(task) is not None or unmade.isdisjoint(order.needs(task)):
            del waiting[i]
            return task, attempt
    return None


def _lost(flying: dict[Any, _Flight[T]], farm: Farm) -> list[Any]:
    """Return the tasks that never reached their workers: gone for long, and no word of the tasks."""
    alive, now = set(farm.workers()), time.monotonic()
    for flight in flying.values():
        if flight.worker in alive:
            flight.missed_at = None
        elif flight.missed_at is None:
            flight.missed_at = now
    return [
        future
        for future, flight in flying.items()
        if flight.missed_at is not None and now - flight.missed_at > _ON_ITS_WAY_S and future.status == "pending"
    ]


def _may_pass(error: BaseException | None) -> bool:
    """Say whether a second try may go better: bad data stays bad; a full disk or a dead worker may not recur."""
    return isinstance(error, StorageFailure) or not isinstance(error, DrfarmError)


_DIED = (
    "its worker process died (killed, out of memory, or a crash in native code). If it was memory, use fewer "
    "workers (--workers) or raise --memory-limit."
)


def _reason(error: BaseException | None, status: object) -> str:
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return _DIED
    if isinstance(error, DrfarmError):
        return str(error)
    return f"{type(error).__name__}: {error}" if error is not None else f"its future was {status}"
