"""The figures of one stage: what is done, running, waiting, tried again and failed, how fast, and who works on it.

All threads may change and read them; nothing is shown here.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_RATE_OVER_S = 300.0
"""The rate is that of the last minutes: batches of one study differ in cost, and workers come and go."""
_STEP_S = 1.0
"""Counts are remembered so often for the rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """A worker, as its scheduler last heard of it."""

    address: str
    """Where it listens."""
    memory_bytes: int
    """Memory of its process."""
    memory_limit_bytes: int
    """Memory that it may take; 0 is no limit."""
    gpu: bool = False
    """Whether it runs networks."""

    @property
    def fullness(self) -> float:
        """Share of its memory that is taken; 0 where there is no limit."""
        return self.memory_bytes / self.memory_limit_bytes if self.memory_limit_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBatch:
    """A batch that a worker has."""

    title: str
    """What it is, as told to people."""
    worker: str
    """Address of the worker."""
    n: float
    """What it will add to the count."""
    since: float
    """When it was handed out, by the monotonic clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The figures of one moment."""

    total: float
    """What is to be done in this stage by this run, in its unit."""
    n_done: float
    """What is done."""
    n_failed: float
    """What was given up."""
    n_running: float
    """What workers have now."""
    n_retried: float
    """What was handed out again, each time counted."""
    batches_running: int
    """Batches that workers have now."""
    batches_retried: int
    """How often a batch was tried again."""
    batches_failed: int
    """Batches that were given up."""
    elapsed_s: float
    """Since the stage began."""
    rate: float
    """What is done in a second, over the last minutes; 0 before anything is done."""
    eta_s: float | None
    """Time until the rest is done at this rate; None where there is no rate, 0 where nothing is left."""
    last_progress_at: float
    """When something was done last, else when the stage began: seconds since 1970."""
    longest: RunningBatch | None
    """The batch that has been running for the longest time."""
    longest_s: float
    """How long."""
    workers: tuple[WorkerState, ...]
    """Who works on it, as far as is known."""
    ended: bool = False
    """Whether the stage has ended, well or badly."""

    @property
    def n_waiting(self) -> float:
        """What no worker has yet."""
        return max(0.0, self.total - self.n_done - self.n_failed - self.n_running)


class Figures:
    """The figures of one stage of a run."""

    def __init__(self, stage: str, total: float, unit: str, *, study: str | None = None) -> None:
        self.stage, self.unit, self.study = stage, unit, study
        self._lock = threading.Lock()
        self._total = float(total)
        self._done = self._failed = self._retried = 0.0
        self._batches_retried = self._batches_failed = 0
        self._running: dict[str, RunningBatch] = {}
        self._workers: tuple[WorkerState, ...] = ()
        self._began = time.monotonic()
        self._last_at = time.time()
        self._ended: float | None = None
        self._counts = deque([(self._began, 0.0)])

    def advance(self, n: float, batch: str | None = None) -> RunningBatch | None:
        """Count what is done; return the batch it was, where it was known to run."""
        now = time.monotonic()
        with self._lock:
            flight = self._running.pop(batch, None) if batch is not None else None
            self._done += n
            if n:
                self._last_at = time.time()
            if now - self._counts[-1][0] >= _STEP_S:
                self._counts.append((now, self._done))
                while len(self._counts) > 2 and self._counts[1][0] <= now - _RATE_OVER_S:
                    self._counts.popleft()
            return flight

    def extend(self, n: float) -> None:
        """Count what is to be done beside."""
        with self._lock:
            self._total += n

    def started(self, batch: str, title: str, worker: str, n: float) -> None:
        """Count a batch as running."""
        flight = RunningBatch(title=title, worker=worker, n=n, since=time.monotonic())
        with self._lock:
            self._running[batch] = flight

    def retried(self, batch: str) -> RunningBatch | None:
        """Count a batch as waiting again; return what was known of it."""
        with self._lock:
            flight = self._running.pop(batch, None)
            self._batches_retried += 1
            self._retried += flight.n if flight is not None else 0
            return flight

    def failed(self, batch: str, n: float) -> RunningBatch | None:
        """Count a batch as given up; return what was known of it."""
        with self._lock:
            flight = self._running.pop(batch, None)
            self._batches_failed += 1
            self._failed += n
            return flight

    def withdrawn(self, batch: str) -> None:
        """Count a batch as not running, and as nothing else."""
        with self._lock:
            self._running.pop(batch, None)

    def set_workers(self, workers: Sequence[WorkerState]) -> None:
        """Remember who works on it."""
        with self._lock:
            self._workers = tuple(workers)

    def end(self) -> None:
        """Remember that the stage has ended: its clock stands, and nobody works on it."""
        with self._lock:
            self._ended = time.monotonic()
            self._running.clear()
            self._workers = ()

    def snapshot(self) -> Snapshot:
        """Return the figures of this moment."""
        with self._lock:
            now = time.monotonic() if self._ended is None else self._ended
            rate = self._rate(now)
            left = max(0.0, self._total - self._done - self._failed)
            longest = min(self._running.values(), key=lambda b: b.since, default=None)
            return Snapshot(
                total=self._total,
                n_done=self._done,
                n_failed=self._failed,
                n_running=sum(b.n for b in self._running.values()),
                n_retried=self._retried,
                batches_running=len(self._running),
                batches_retried=self._batches_retried,
                batches_failed=self._batches_failed,
                elapsed_s=now - self._began,
                rate=rate,
                eta_s=0.0 if not left else left / rate if rate else None,
                last_progress_at=self._last_at,
                longest=longest,
                longest_s=0.0 if longest is None else now - longest.since,
                workers=self._workers,
                ended=self._ended is not None,
            )

    def _rate(self, now: float) -> float:
        """Return the rate of the last minutes, or of the whole stage where nothing was done in these."""
        at, n = self._counts[0]
        if self._done > n and now > at:
            return (self._done - n) / (now - at)
        return self._done / (now - self._began) if now > self._began else 0.0
