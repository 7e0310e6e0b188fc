"""Worker processes on this machine, and their end whatever happens."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drfarm.errors import FarmFailed
from drfarm.farm._deaths import have_told
from drfarm.farm._hanging import LOOK_S, Hanging, kill
from drfarm.farm._prompt import send_at_once
from drfarm.farm._settings import METHOD, ONE_THREAD, SAFE_PATH, configured, deaf_to_interrupts, prepare_workers
from drfarm.farm.dashboard import dashboard_settings
from drfarm.farm.gpus import Place

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

PATIENCE_S = 120.0
"""So long without one living worker, and the farm gives up."""
_KILL_S = 30.0
"""So long is tried to end workers that start."""


@dataclass(slots=True, kw_only=True)
class LocalFarm:
    """Worker processes on this machine; one that dies is started again."""

    cluster: "LocalCluster"
    client: "Client"
    n_workers: int
    _alive_at: float = field(default_factory=time.monotonic)
    _n_sent: int = 0
    _n_replaced: int = 0
    _looked_at: float = 0.0
    _hanging: Hanging = field(default_factory=Hanging)

    @property
    def blames_lost(self) -> bool:
        """A task that vanished with its worker never reached it: a death is told by its scheduler."""
        return False

    def excuses(self, worker: str, batch_id: str) -> bool:  # noqa: ARG002 - what ends a worker here is its task
        """Say that a batch is to blame for the death of its worker, as far as is known."""
        return False

    def leave_out(self, worker: str, why: str) -> None:  # noqa: ARG002 - it is this installation
        """Give up: what is installed here has changed since this process began."""
        raise FarmFailed(
            f"what is installed here has changed while this ran: a new worker process has {why}. Run again: what is "
            "finished is kept."
        )

    def has_room(self, n_flying: int) -> bool:
        """Say whether a worker may be free."""
        return n_flying < self.n_workers

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that live now; replace those that are gone for good."""
        # The scheduler is in this process: looking costs nothing, asking it a round trip for each small task.
        scheduler = self.cluster.scheduler
        # A nanny hears of its worker a moment after the scheduler; of one that dies before, nobody tells the cause.
        known = {nanny.worker_address for nanny in list(self.cluster.workers.values())}
        alive = () if scheduler is None else tuple(w for w in list(scheduler.workers) if w in known)
        now = time.monotonic()
        if len(alive) < self.n_workers:
            self.cluster.sync(self._replace)
            if now - self._looked_at > LOOK_S:
                self._looked_at = now
                self.cluster.sync(self._end_hanging, now)
        if alive:
            self._alive_at = now
        elif now - self._alive_at > PATIENCE_S:
            raise FarmFailed(
                f"no worker process could be started, or stay alive, for {PATIENCE_S:.0f} s. Look for what kills them "
                "(memory: use fewer workers, --workers); then run again: what is finished is kept."
            )
        return alive

    def submit(self, work: Callable[[Any], object], task: Any, worker: str) -> Any:
        """Hand a task to one worker; its death is told at once."""
        self._n_sent += 1
        key = f"{task.batch_id}-{self._n_sent}"
        send_at_once(self.client, self.cluster.scheduler, worker)
        return self.client.submit(work, task, key=key, pure=False, retries=0, workers=[worker])

    def start(self, places: Sequence[Place]) -> None:
        """Start a worker for each place."""
        spec = self.cluster.new_spec
        for number, place in enumerate(places):
            options = {**spec["options"], "env": dict(place.environment), "resources": dict(place.resources)}
            self.cluster.worker_spec[number] = {**spec, "options": options}
        self.cluster.scale(self.n_workers)

    async def _replace(self) -> None:
        """Ask for new workers where one could not start: the library gives those up."""
        from distributed.core import Status

        for name, nanny in list(self.cluster.workers.items()):
            if nanny.status in (Status.closed, Status.failed) and name in self.cluster.worker_spec:
                self._n_replaced += 1
                self.cluster.worker_spec[f"again-{self._n_replaced}"] = self.cluster.worker_spec.pop(name)
        self.cluster.scale(self.n_workers)

    async def kill(self, *, unknown: bool = False) -> None:
        """End the workers now, whatever they do; or only the ``unknown``, which would not hear that they should end."""
        from distributed.core import Status

        known = self._known() if unknown else frozenset()
        until = time.monotonic() + _KILL_S
        while True:
            chosen = [nanny for nanny in self._nannies() if nanny.worker_address not in known]
            for nanny in chosen:
                nanny.close_gracefully(reason="drfarm ends")
                if nanny.pid is not None:
                    kill(nanny.pid)
            # One that only begins to start has no process yet that could be ended, and would be waited for.
            starting = any(n.process is not None and n.process.status == Status.starting for n in chosen)
            if not (starting or self.cluster._lock.locked()) or time.monotonic() > until:  # noqa: SLF001
                return
            await asyncio.sleep(0.05)

    async def _end_hanging(self, now: float) -> None:
        self._hanging.end(self._nannies(), self._known(), now)

    def _known(self) -> frozenset[str]:
        return frozenset() if self.cluster.scheduler is None else frozenset(self.cluster.scheduler.workers)

    def _nannies(self) -> list[Any]:
        """Return the nannies that do not end yet: the cluster has them among its workers when all have started."""
        from distributed.core import Status

        over = (Status.closing, Status.closed, Status.failed)
        # Private, but those that start are nowhere else.
        return [nanny for nanny in self.cluster._created if nanny.status not in over]  # noqa: SLF001


@contextlib.contextmanager
def local_farm(
    places: Sequence[Place], memory_limit: int, *, networks: bool, dashboard_port: int = 0
) -> Iterator[LocalFarm]:
    """Start worker processes on this machine, and end them whatever happens.

    Parameters
    ----------
    places
        One for each process.
    memory_limit
        Of each, in bytes; 0 is none.
    networks
        Whether they run networks: with all threads, and each with an environment of its own.
    dashboard_port
        Where the dashboard is served, for this machine only; 0 serves none.

    Raises
    ------
    InvalidRequest
        If that port is taken; nothing has been started then.
    """
    dashboard = dashboard_settings(dashboard_port)
    if not networks:
        prepare_workers()  # they load while this process loads the same
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        stack.enter_context(configured(SAFE_PATH, "spawn") if networks else configured(ONE_THREAD, METHOD))
        with deaf_to_interrupts():
            # No workers yet: this starts the thread that will start them, and takes no time.
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=0,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    **dashboard,
                    memory_limit=memory_limit,
                    silence_logs=logging.CRITICAL,
                )
            )
        farm = LocalFarm(cluster=cluster, client=stack.enter_context(Client(cluster)), n_workers=len(places))
        have_told(farm.client, native=True)
        farm.start(places)
        try:
            yield farm
        except BaseException:
            cluster.sync(farm.kill)
            raise
        cluster.sync(farm.kill, unknown=True)
