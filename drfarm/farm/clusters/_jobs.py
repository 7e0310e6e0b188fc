"""Keeping a pool of jobs at its size: which were lost, how many to submit, when to give up. Pure: no I/O, no clock."""

from collections.abc import Collection, Set
from dataclasses import dataclass, field

MOST_FAILURES = 3
"""So many jobs in a row that end before they had a worker, with none left that works: the pool is given up."""
_FIRST_DELAY_S, _MOST_DELAY_S = 5.0, 300.0
"""After a failure the next job waits; after each further one twice as long."""
MOST_AT_ONCE = 50
"""Jobs that are submitted in one go, so that what became of those before is seen in time."""


@dataclass(slots=True, kw_only=True)
class JobBook:
    """The jobs of one pool, from submission to end."""

    wanted: int
    """Jobs that the pool is to have; may be changed."""
    _waiting: set[str] = field(default_factory=set)
    """Jobs of which no worker has been seen yet: in the queue, or starting."""
    _working: set[str] = field(default_factory=set)
    """Jobs of which a worker has been seen."""
    _n_failures: int = 0
    """In a row."""
    _retry_at: float = 0.0
    n_lost: int = 0
    """Jobs that had worked and ended before the pool did: cancelled, preempted, at their walltime, on a broken node."""

    @property
    def jobs(self) -> frozenset[str]:
        """All that live."""
        return frozenset(self._waiting | self._working)

    @property
    def working(self) -> frozenset[str]:
        """Those of which a worker has been seen."""
        return frozenset(self._working)

    @property
    def given_up(self) -> bool:
        """Whether jobs fail one after the other, and none works."""
        return self._n_failures >= MOST_FAILURES and not self._working

    def submitted(self, job: str) -> None:
        """Note a job that the batch system took."""
        self._waiting.add(job)

    def refused(self, *, now: float) -> None:
        """Note that the batch system took no job, at a time in seconds."""
        self._failed(now)

    def seen(self, queued: Collection[str], connected: Set[str], *, now: float) -> tuple[str, ...]:
        """Note what is there now; return the jobs that ended before a worker of theirs was there.

        Parameters
        ----------
        queued
            Jobs that the batch system has, waiting or running.
        connected
            Jobs of which there are workers.
        now
            Time, in seconds.
        """
        begun = self._waiting & connected
        if begun:
            self._n_failures = 0
            self._waiting -= begun
            self._working |= begun
        lost = self._working - set(queued)
        self.n_lost += len(lost)
        self._working -= lost
        failed = tuple(sorted(self._waiting - set(queued)))
        self._waiting -= set(failed)
        for _ in failed:
            self._failed(now)
        return failed

    def cancelled(self, jobs: Collection[str]) -> None:
        """Note jobs that the pool itself ended."""
        self._waiting -= set(jobs)
        self._working -= set(jobs)

    def missing(self, *, now: float) -> int:
        """Return how many jobs to submit."""
        if self._n_failures and now < self._retry_at:
            return 0
        missing = max(0, self.wanted - len(self.jobs))
        # After a failure one job finds out whether the next go better.
        return min(missing, 1 if self._n_failures else MOST_AT_ONCE)

    def _failed(self, now: float) -> None:
        self._n_failures += 1
        self._retry_at = now + min(_MOST_DELAY_S, _FIRST_DELAY_S * 2 ** (self._n_failures - 1))


def workers_wanted(n_jobs: int, *, n_busy: int, n_workers: int, tasks_wait: bool, fewest: int, most: int) -> int:
    """Return how many jobs a pool wants that follows the work.

    Parameters
    ----------
    n_jobs
        Jobs that it has, those included that have not started.
    n_busy, n_workers
        Workers with a task, and all.
    tasks_wait
        Whether a task waits for a worker.
    fewest, most
        Its bounds.
    """
    if tasks_wait and n_busy >= n_workers:
        return min(most, max(fewest, n_jobs + max(1, n_jobs)))  # doubled: full size after a few looks
    return max(fewest, min(n_jobs, most))
