"""The workers of a running cluster: who they are, and handing tasks to them."""

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drfarm.errors import FarmFailed
from drfarm.farm._prompt import send_at_once
from drfarm.farm._reach import check_reached
from drfarm.farm._settings import silenced
from drfarm.farm._worker_answers import check_versions
from drfarm.farm.gpus import RESOURCE
from drfarm.farm.options import PATIENCE_S, check_address
from drfarm.farm.security import check_encrypted, security_of, why_not_joined
from store import InvalidRequest

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_S = 15
_log = logging.getLogger("drfarm.farm")
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
    patience_s: float = PATIENCE_S
    """How long a scheduler that does not answer any more, or has no worker, is waited for, in seconds."""
    _known: dict[str, ClusterWorker] = field(default_factory=dict)
    _alive_at: float = field(default_factory=time.monotonic)
    _silent: frozenset[str] = frozenset()
    _away: bool = False
    _n_sent: int = 0

    @property
    def blames_lost(self) -> bool:
        """A scheduler that was not started by us may never tell of a death."""
        return True

    def excuses(self, worker: str, batch_id: str) -> bool:  # noqa: ARG002 - what ends a worker here is its task
        """Say that a batch is to blame for the death of its worker, as far as is known."""
        return False

    def has_room(self, n_flying: int) -> bool:  # noqa: ARG002 - workers come and go
        """Say that a worker may be free: more may have joined."""
        return True

    def leave_out(self, worker: str, why: str) -> None:
        """Use a worker no more, which has joined since the others were asked, and would measure otherwise."""
        _log.warning(
            "left out, as its results could differ from this process's: %s has %s. Install the same there and here.",
            worker,
            why,
        )
        self._silent |= {worker}

    def all(self) -> tuple[ClusterWorker, ...]:
        """Return every worker that lives now."""
        alive = self.client.nthreads()
        if not alive.keys() <= self._known.keys():  # what workers say of themselves never changes
            found = self.client.scheduler_info(n_workers=-1)["workers"]
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
        found = [w for w in self.all() if w.address not in self._silent]
        if self.gpu:
            return tuple(w for w in found if w.has_gpu)
        return tuple(w for w in found if not w.has_gpu) or tuple(found)

    def check_versions(self) -> None:
        """Refuse workers that could measure otherwise than this process; leave out those that do not answer.

        Raises
        ------
        InvalidRequest
            With a table of what differs, or where no worker answers.
        """
        found = check_versions(self)
        if found:
            _log.warning(
                "left out, as they do not answer (a stopped process?): %s. Others do their work.",
                ", ".join(sorted(found)),
            )
        self._silent |= found

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that are used."""
        now = time.monotonic()
        if self.client.status == "connecting":  # the library tries to come back, for as long as we are patient
            self._alive_at = now
            if not self._away:
                self._away = True
                _log.warning(
                    "the scheduler at %s does not answer: waiting up to %.0f s for it", self.address, self.patience_s
                )
            return ()
        if self.client.status != "running":
            raise self._gone()
        try:
            found = tuple(w.address for w in self.fitting())
        except (OSError, TimeoutError):  # that it is away is known a moment later
            return ()
        if self._away:
            self._away = False
            _log.warning("the scheduler at %s is there again", self.address)
        if found:
            self._alive_at = now
        elif now - self._alive_at > self.patience_s:
            raise FarmFailed(
                f"the cluster at {self.address} has had no worker{' with a GPU' if self.gpu else ''} for "
                f"{self.patience_s:.0f} s. Start some (`{self.remedy}`); then run again: what is finished is kept."
            )
        return found

    @property
    def remedy(self) -> str:
        """The command that adds a worker."""
        return f"drfarm worker {self.address}{' --gpu' if self.gpu else ''}"

    def submit(self, work: Callable[[Any], object], task: Any, worker: str) -> Any:
        """Hand a task to one worker."""
        self._n_sent += 1
        send_at_once(self.client)
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


def cluster_workers(address: str, *, tls: Path | None = None, insecure: bool = False) -> tuple[ClusterWorker, ...]:
    """Return the workers of a running cluster; nothing is started there.

    Raises
    ------
    InvalidRequest
        If nothing answers at the address, or it must not be used as it is (see `check_encrypted`).
    """
    with joined_farm(address, gpu=False, checked=False, tls=tls, insecure=insecure) as farm:
        return farm.all()


@contextlib.contextmanager
def joined_farm(
    address: str,
    *,
    gpu: bool,
    checked: bool = True,
    tls: Path | None = None,
    insecure: bool = False,
    patience_s: float = PATIENCE_S,
) -> Iterator[JoinedFarm]:
    """Join a running cluster; leave it as it was.

    Parameters
    ----------
    address
        Of its scheduler.
    gpu
        Whether only workers that advertise a GPU are used.
    checked
        Whether one without a worker that fits is refused, and one whose workers would measure otherwise.
    tls
        Folder of certificates.
    insecure
        Whether a plain connection beyond this machine was asked for.
    patience_s
        How long a scheduler that does not answer any more, or has no worker, is waited for, in seconds.

    Raises
    ------
    InvalidRequest
        If nothing answers at the address, certificates do not fit, no worker fits, or versions differ.
    """
    from distributed.versions import VersionMismatchWarning

    from drfarm.farm._returning import ReturningClient

    check_encrypted(check_address(address), tls=tls, insecure=insecure)
    security = security_of(tls, "client")
    check_reached(address, security, "client", tls=tls, timeout_s=_CONNECT_S)
    with contextlib.ExitStack() as stack:
        stack.enter_context(silenced())
        try:
            # It tries for its timeout to come back where the scheduler has gone away; that one answers was seen above.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VersionMismatchWarning)  # versions are compared below
                client = stack.enter_context(
                    ReturningClient(
                        address, timeout=max(patience_s, _CONNECT_S), set_as_default=False, security=security
                    )
                )
        except (OSError, TimeoutError, ValueError) as e:
            raise InvalidRequest(why_not_joined(e, address, tls=tls)) from e
        farm = JoinedFarm(client=client, address=address, gpu=gpu, patience_s=patience_s)
        if checked:
            farm.check()
            farm.check_versions()
        yield farm
