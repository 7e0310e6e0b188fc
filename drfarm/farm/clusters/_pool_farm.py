"""A farm whose workers are a pool's: what runs them may come and go, and the pool keeps it at its size."""

import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from drfarm.errors import FarmFailed
from drfarm.farm._worker_answers import check_store
from drfarm.farm.clusters._jobs import workers_wanted
from drfarm.farm.joined import JoinedFarm

IDLE_S = 30.0
"""When no task has waited for so long, a pool that follows the work gives up workers that have none."""


MOST_EXCUSES = 5
"""A batch whose jobs end under it so often has a try counted for each further one."""


class Pool(Protocol):
    """What starts workers and keeps them: jobs of Slurm, pods of Kubernetes."""

    def check(self) -> None:
        """Raise `FarmFailed` where the pool was given up."""
        ...

    def ended(self, worker: str) -> bool:
        """Say whether the job of a worker that died has ended, for another reason than its memory."""
        ...

    @property
    def n_jobs(self) -> int:
        """Jobs that it has, those included that have not started."""
        ...

    @property
    def starting(self) -> bool:
        """Whether a job has still no worker."""
        ...

    def want(self, n_jobs: int) -> None:
        """Have so many jobs from now on."""
        ...

    def release(self, idle: Set[str], *, fewest: int) -> None:
        """End jobs of which all workers, by address, are idle; keep so many."""
        ...


@dataclass(slots=True, kw_only=True)
class PoolFarm:
    """The workers of a pool, on a scheduler of the run's own."""

    joined: JoinedFarm
    """The scheduler and its workers."""
    pool: Pool
    """What keeps them."""
    fewest: int
    """Jobs of the pool, at least."""
    most: int
    """Jobs of the pool, at most; where it is `fewest`, nothing changes their number."""
    store_url: str | None = None
    """Of the store that the first workers must see; None asks them nothing."""
    _checked: bool = False
    _excused: Counter[str] = field(default_factory=Counter)
    _sent: dict[str, Any] = field(default_factory=dict)
    """The last task of each worker."""
    _waited_at: float = field(default_factory=time.monotonic)
    """When a task last waited for a worker."""

    @property
    def client(self) -> Any:
        """The client of the scheduler."""
        return self.joined.client

    @property
    def blames_lost(self) -> bool:
        """A task whose worker's job ended has used up no try: the scheduler is ours, and tells of deaths."""
        return False

    def excuses(self, worker: str, batch_id: str) -> bool:
        """Say whether a batch is not to blame for the death of its worker: its whole job has ended.

        A batch is excused a few times only: it may take longer than the walltime of a job.
        """
        if self._excused[batch_id] >= MOST_EXCUSES or not self.pool.ended(worker):
            return False
        self._excused[batch_id] += 1
        return True

    def leave_out(self, worker: str, why: str) -> None:
        """Use a worker no more."""
        self.joined.leave_out(worker, why)

    def has_room(self, n_flying: int) -> bool:
        """Say that a worker may be free; a pool that follows the work learns that tasks wait."""
        self._waited_at = time.monotonic()
        if self.most > self.fewest and not self.pool.starting:
            self.pool.want(
                workers_wanted(
                    self.pool.n_jobs,
                    n_busy=n_flying,
                    n_workers=len(self.joined.fitting()),
                    tasks_wait=True,
                    fewest=self.fewest,
                    most=self.most,
                )
            )
        return True

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that live now; there may be none while jobs wait in a queue.

        Raises
        ------
        FarmFailed
            If the pool can't be kept, or the scheduler is gone.
        InvalidRequest
            If the first workers have other versions, or don't see the store: no task has been handed out then.
        """
        self.pool.check()
        if self.joined.client.status != "running":
            raise FarmFailed(
                f"the scheduler at {self.joined.address} does not answer any more. Run again: what is finished is kept."
            )
        found = tuple(w.address for w in self.joined.fitting())
        if found and not self._checked:
            self.joined.check_versions()
            if self.store_url is not None:
                check_store(self.joined, self.store_url)
            self._checked = True
        if self.most > self.fewest and time.monotonic() - self._waited_at > IDLE_S:
            idle = {a for a in found if a not in self._sent or self._sent[a].done()}
            self.pool.release(idle, fewest=self.fewest)
        return found

    def submit(self, work: Callable[[Any], object], task: Any, worker: str) -> Any:
        """Hand a task to one worker."""
        self._sent[worker] = future = self.joined.submit(work, task, worker)
        return future
