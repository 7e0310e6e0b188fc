"""The workers of a node, which a person or a batch system starts; those that end are started again."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drfarm.errors import FarmFailed
from drfarm.farm._hanging import LOOK_S, Hanging, kill
from drfarm.farm._reach import reach, workers_of
from drfarm.farm._settings import METHOD, ONE_THREAD, SAFE_PATH, configured, deaf_to_interrupts
from drfarm.farm.gpus import RESOURCE, Place, gpu_places
from drfarm.farm.options import PATIENCE_S, FarmOptions, check_address
from drfarm.farm.security import check_encrypted, security_of
from drfarm.farm.serve import Say, Stop
from store import InvalidRequest

if TYPE_CHECKING:
    from distributed import Nanny, Security

_CONNECT_S = 15.0
_KNOCK_S = 3.0
"""A scheduler that does not answer for so long is said to be away."""
_PAUSE_S = 1.0
"""Between two attempts to reach it."""


def serve_workers(
    address: str,
    *,
    gpu: bool,
    n_workers: int | None,
    memory_limit_bytes: int | None,
    say: Say,
    tls: Path | None = None,
    insecure: bool = False,
    patience_s: float = PATIENCE_S,
) -> None:
    """Run the workers of a node until they are interrupted or terminated, or the scheduler stays away.

    A worker that has lost the scheduler ends; it is started again when the scheduler answers.

    Parameters
    ----------
    address
        Of the scheduler.
    gpu
        Whether they run networks: one process for each GPU, which advertises it. Otherwise they fit probes, one
        process for each core with one thread.
    n_workers
        Processes. With ``gpu``, on a machine without any GPU, so many run networks on the CPU.
    memory_limit_bytes
        Of one process; by default its share of the machine's, and none with ``gpu``.
    say
        Told what was started, and that it ended.
    tls
        Folder of certificates.
    insecure
        Whether a scheduler on another host may be joined without any.
    patience_s
        How long a scheduler that does not answer any more is waited for, in seconds.

    Raises
    ------
    InvalidRequest
        If nothing answers at the address, or must not; or there are fewer GPUs than asked for.
    FarmFailed
        If workers can't be started.
    """
    check_encrypted(check_address(address), tls=tls, insecure=insecure)
    options = FarmOptions(n_workers=n_workers, memory_limit_bytes=memory_limit_bytes)
    if gpu:
        places = gpu_places(n_workers, without_gpu=True)
        if not places:
            raise InvalidRequest(
                "--gpu: torch sees no CUDA device here. Use a node with a GPU, or say how many processes are to run "
                "networks on the CPU: --workers N."
            )
        limit = memory_limit_bytes or 0
        setting = configured(SAFE_PATH, "spawn")
    else:
        n = options.workers(10**6)
        places = (Place(),) * n
        limit = options.memory(n)
        setting = configured(ONE_THREAD, METHOD)
    with setting:
        crew = _Crew(
            address=address,
            places=places,
            memory_limit=limit,
            security=security_of(tls, "worker"),
            tls=tls,
            patience_s=patience_s,
            say=say,
        )
        asyncio.run(crew.work())


@dataclass(slots=True, kw_only=True)
class _Crew:
    """The worker processes of a node, each with its nanny."""

    address: str
    places: Sequence[Place]
    memory_limit: int
    security: "Security"
    tls: Path | None
    patience_s: float
    say: Say
    _working: dict[int, "Nanny"] = field(default_factory=dict)
    """By the number of their place."""

    async def work(self) -> None:
        """Keep a worker at every place until asked to stop, or the scheduler has been away for too long."""
        await self._reach(_CONNECT_S)
        stop = Stop()
        watch = asyncio.ensure_future(self._end_hanging())
        try:
            await self._start(stop)
            if not stop.asked.is_set():
                n = len(self._working)
                what = f"one {RESOURCE} each" if RESOURCE in self.places[0].resources else "one thread each"
                self.say(f"{n} {'worker' if n == 1 else 'workers'} for {self.address}, {what}")
            while not stop.asked.is_set():
                await self._until_one_ends(stop)
                if stop.asked.is_set():
                    break
                if not await self._until_back(stop):
                    if not stop.asked.is_set():
                        self.say(
                            f"the scheduler at {self.address} has not answered for {self.patience_s:.0f} s, and its "
                            "workers have ended"
                        )
                    break
        finally:
            watch.cancel()
            await self._end()
        stop.leave()

    async def _end_hanging(self) -> None:
        """End workers that hang, again and again."""
        hanging = Hanging()
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                known = await workers_of(self.address, self.security, timeout_s=_KNOCK_S)
            except InvalidRequest:
                hanging.forget()
            else:
                hanging.end(self._working.values(), known, time.monotonic())

    async def _start(self, stop: Stop) -> None:
        """Start a worker at every place that has none, unless asked to stop."""
        from distributed import Nanny

        with deaf_to_interrupts():
            starting = {
                number: Nanny(
                    self.address,
                    nthreads=1,
                    memory_limit=self.memory_limit,
                    resources=dict(place.resources),
                    env=dict(place.environment),
                    silence_logs=logging.CRITICAL,
                    dashboard=False,
                    security=self.security,
                )
                for number, place in enumerate(self.places)
                if number not in self._working
            }
            self._working |= starting
            started = asyncio.ensure_future(asyncio.gather(*(_started(n) for n in starting.values())))
            asked = asyncio.ensure_future(stop.asked.wait())
            both: set[asyncio.Future[Any]] = {started, asked}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if not started.done():
                started.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await started
                return
            try:
                started.result()
            except Exception as e:
                raise FarmFailed(f"workers for {self.address} can't be started: {type(e).__name__}: {e}") from e

    async def _until_one_ends(self, stop: Stop) -> None:
        """Wait until a worker has ended for good, or this is asked to stop; forget those that have ended."""
        from distributed import Status

        waited_for: set[asyncio.Future[Any]] = {asyncio.ensure_future(n.finished()) for n in self._working.values()}
        waited_for.add(asyncio.ensure_future(stop.asked.wait()))
        _, rest = await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        for waiting in rest:
            waiting.cancel()
        self._working = {
            number: nanny
            for number, nanny in self._working.items()
            if nanny.status not in (Status.closed, Status.closing, Status.failed)
        }

    async def _until_back(self, stop: Stop) -> bool:
        """Wait until the scheduler answers and every place has its worker; False where that took too long."""
        began, away = time.monotonic(), False
        while not await stop.within(min(_PAUSE_S, self.patience_s)):
            try:
                await self._reach(_KNOCK_S)
                await self._start(stop)
            except (InvalidRequest, FarmFailed):
                for number in [i for i, nanny in self._working.items() if not _runs(nanny)]:
                    await _ended(self._working.pop(number))
                if time.monotonic() - began > self.patience_s:
                    return False
                if not away:
                    self.say(f"the scheduler at {self.address} does not answer: waiting for it")
                    away = True
                continue
            if not stop.asked.is_set():
                self.say(f"workers for {self.address} are there again")
            return True
        return False

    async def _reach(self, timeout_s: float) -> None:
        await reach(self.address, self.security, "worker", tls=self.tls, timeout_s=timeout_s)

    async def _end(self) -> None:
        """End every worker."""
        from distributed import Status

        for nanny in self._working.values():  # it closes them at once; without this it would start them again
            if nanny.status == Status.running:
                nanny.close_gracefully(reason="drfarm worker ends")
        await asyncio.gather(*(_ended(nanny) for nanny in self._working.values()))


async def _started(nanny: "Nanny") -> None:
    await nanny


def _runs(nanny: "Nanny") -> bool:
    from distributed import Status

    return bool(nanny.status == Status.running)


async def _ended(nanny: "Nanny") -> None:
    from distributed import Status

    if nanny.pid is not None and nanny.process is not None and nanny.process.status != Status.running:
        kill(nanny.pid)  # it may hang while it starts, and would be waited for
    with contextlib.suppress(Exception):  # it may not even have begun
        await nanny.close()
