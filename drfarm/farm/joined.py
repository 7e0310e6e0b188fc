"""The workers of a running cluster: who they are, and handing tasks to them."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drfarm.errors import FarmFailed
from drfarm.farm._settings import silenced
from drfarm.farm.gpus import RESOURCE
from drfarm.farm.options import check_address
from store import InvalidRequest

if TYPE_CHECKING:
    from distributed import Client

PATIENCE_S = 120.0
"""So long without one worker that fits, and the cluster is given up."""
_CONNECT_S = 15
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWorker:
    """What a worker says of itself."""

    address: str
    """Where it listens."""
    n_threads: int
    """Tasks that it runs at once."""
    memory_limit_bytes: int
    """Memory that it may take; 0 is no limit."""
    resources: dict[str, float]
    """What it advertises."""

    @property
    def has_gpu(self) -> bool:
        """Whether it runs networks."""
        return self.resources.get(RESOURCE, 0) >= 1

    def __str__(self) -> str:
        held = ", ".join(f"{k}={v:g}" for k, v in self.resources.items()) or "no resources"
        return f"{self.address}: {self.n_threads} thread{'s'[: self.n_threads != 1]}, {held}"


@dataclass(slots=True, kw_only=True)
class JoinedFarm:
    """A running cluster; who keeps its workers alive is not ours to know."""

    client: "Client"
    address: str
    gpu: bool
    """Whether only workers that advertise a GPU are used; otherwise those without one, where there are any."""
    _known: dict[str, ClusterWorker] = field(default_factory=dict)
    _alive_at: float = field(default_factory=time.monotonic)
    _n_sent: int = 0

    @property
    def blames_lost(self) -> bool:
        """A scheduler that was not started by us may never tell of a death."""
        return True

    def has_room(self, n_flying: int) -> bool:  # noqa: ARG002 - workers come and go
        """Say that a worker may be free: more may have joined."""
        return True

    def all(self) -> tuple[ClusterWorker, ...]:
        """Return every worker that lives now."""
        alive = self.client.nthreads()
        if not alive.keys() <= self._known.keys():  # what workers say of themselves never changes
            found = self.client.scheduler_info()["workers"]
            self._known = {
                address: ClusterWorker(
                    address=address,
                    n_threads=int(info["nthreads"]),
                    memory_limit_bytes=int(info.get("memory_limit") or 0),
                    resources=dict(info.get("resources") or {}),
                )
                for address, info in found.items()
            }
        return tuple(self._known[a] for a in alive if a in self._known)

    def fitting(self) -> tuple[ClusterWorker, ...]:
        """Return the workers that live now and are used."""
        found = self.all()
        if self.gpu:
            return tuple(w for w in found if w.has_gpu)
        return tuple(w for w in found if not w.has_gpu) or found

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that are used."""
        if self.client.status != "running":
            raise self._gone()
        try:
            found = tuple(w.address for w in self.fitting())
        except (OSError, TimeoutError) as e:
            raise self._gone() from e
        now = time.monotonic()
        if found:
            self._alive_at = now
        elif now - self._alive_at > PATIENCE_S:
            raise FarmFailed(
                f"the cluster at {self.address} has had no worker{' with a GPU' if self.gpu else ''} for "
                f"{PATIENCE_S:.0f} s. Start some (`{self.remedy}`); then run again: what is finished is kept."
            )
        return found

    @property
    def remedy(self) -> str:
        """The command that adds a worker."""
        return f"drfarm worker {self.address}{' --gpu' if self.gpu else ''}"

    def submit(self, work: Callable[[Any], object], task: Any, worker: str) -> Any:
        """Hand a task to one worker."""
        self._n_sent += 1
        return self.client.submit(
            work,
            task,
            key=f"{task.batch_id}-{self.client.id}-{self._n_sent}",
            pure=False,
            retries=0,
            workers=[worker],
            allow_other_workers=False,
            resources={RESOURCE: 1} if self.gpu else None,
        )

    def check(self) -> None:
        """Refuse a cluster without a worker that fits.

        Raises
        ------
        InvalidRequest
            With what its workers have, and how one is started.
        """
        if self.fitting():
            return
        there = self.all()
        what = f"extraction runs on workers that advertise {RESOURCE}=1" if self.gpu else "there must be workers"
        rest = f"; and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
        got = "; ".join(map(str, there[:_MOST_NAMED])) + rest if there else "there is no worker"
        raise InvalidRequest(f"{what}, and the cluster at {self.address} has none ({got}). Start one: {self.remedy}")

    def _gone(self) -> FarmFailed:
        return FarmFailed(
            f"the scheduler at {self.address} does not answer any more. Start it again (`drfarm scheduler`) with its "
            "workers; then run again: what is finished is kept."
        )


def cluster_workers(address: str) -> tuple[ClusterWorker, ...]:
    """Return the workers of a running cluster; nothing is started there.

    Raises
    ------
    InvalidRequest
        If nothing answers at the address.
    """
    with joined_farm(check_address(address), gpu=False, checked=False) as farm:
        return farm.all()


@contextlib.contextmanager
def joined_farm(address: str, *, gpu: bool, checked: bool = True) -> Iterator[JoinedFarm]:
    """Join a running cluster; leave it as it was. ``checked`` refuses one without a worker that fits.

    Raises
    ------
    InvalidRequest
        If nothing answers at the address, or no worker fits.
    """
    from distributed import Client

    with contextlib.ExitStack() as stack:
        stack.enter_context(silenced())
        try:
            client = stack.enter_context(Client(address, timeout=_CONNECT_S, set_as_default=False))
        except (OSError, TimeoutError, ValueError) as e:
            raise InvalidRequest(
                f"no scheduler answers at {address} ({type(e).__name__}). Start one with `drfarm scheduler`, or check "
                "the address."
            ) from e
        farm = JoinedFarm(client=client, address=address, gpu=gpu)
        if checked:
            farm.check()
        yield farm
