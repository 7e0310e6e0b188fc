"""Farm processes that a person or a batch system starts: a scheduler, and the workers of a node."""

import asyncio
import contextlib
import ipaddress
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any

from drfarm.errors import FarmFailed
from drfarm.farm._settings import METHOD, ONE_THREAD, SAFE_PATH, configured, deaf_to_interrupts
from drfarm.farm.gpus import RESOURCE, Place, gpu_places
from drfarm.farm.options import FarmOptions, check_address
from store import InvalidRequest

_CONNECT_S = 15.0
Say = Callable[[str], None]
"""What is told to people."""


def serve_scheduler(host: str, port: int, say: Say) -> None:
    """Run a scheduler until it is interrupted or terminated.

    Parameters
    ----------
    host, port
        Where it listens; port 0 takes a free one.
    say
        Told its address.

    Raises
    ------
    InvalidRequest
        If it can't listen there.
    """
    with configured(ONE_THREAD, METHOD):
        asyncio.run(_scheduler(host, port, say))


def serve_workers(address: str, *, gpu: bool, n_workers: int | None, memory_limit_bytes: int | None, say: Say) -> None:
    """Run the workers of a node until they are interrupted or terminated, or the scheduler ends.

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

    Raises
    ------
    InvalidRequest
        If nothing answers at the address, or there are fewer GPUs than asked for.
    FarmFailed
        If workers can't be started.
    """
    check_address(address)
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
        asyncio.run(_workers(address, places, limit, say))


async def _scheduler(host: str, port: int, say: Say) -> None:
    from distributed import Scheduler

    stop = _Stop()
    try:
        scheduler = await Scheduler(host=host, port=port, dashboard=False)
    except (OSError, ValueError) as e:
        raise InvalidRequest(
            f"no scheduler can listen at {host}:{port} ({e}). Choose another --port (0 takes a free one), or an "
            "address of this machine as --host."
        ) from e
    async with scheduler:
        say(f"scheduler at {scheduler.address}")
        if not _is_loopback(host):
            say(
                f"anyone who can reach {scheduler.address} can run programs as you: keep it inside a network that you "
                "trust."
            )
        await stop.asked.wait()
    stop.leave()


async def _workers(address: str, places: Sequence[Place], memory_limit: int, say: Say) -> None:
    from distributed import Nanny, Status

    await _check_answers(address)
    stop = _Stop()
    async with contextlib.AsyncExitStack() as stack:
        with deaf_to_interrupts():
            nannies = [
                Nanny(
                    address,
                    nthreads=1,
                    memory_limit=memory_limit,
                    resources=dict(place.resources),
                    env=dict(place.environment),
                    silence_logs=logging.CRITICAL,
                    dashboard=False,
                )
                for place in places
            ]
            try:
                await asyncio.gather(*(stack.enter_async_context(n) for n in nannies))
            except Exception as e:
                raise FarmFailed(f"workers for {address} can't be started: {type(e).__name__}: {e}") from e
        what = f"one {RESOURCE} each" if RESOURCE in places[0].resources else "one thread each"
        say(f"{len(nannies)} {'worker' if len(nannies) == 1 else 'workers'} for {address}, {what}")
        ended = asyncio.ensure_future(asyncio.gather(*(n.finished() for n in nannies)))
        asked = asyncio.ensure_future(stop.asked.wait())
        waited_for: set[asyncio.Future[Any]] = {ended, asked}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        if not stop.asked.is_set():
            asked.cancel()
            say(f"the scheduler at {address} has ended, and so have its workers")
            return
        for nanny in nannies:  # it closes them at once; without this it would start them again
            if nanny.status == Status.running:
                nanny.close_gracefully(reason="drfarm worker ends")
    stop.leave()


async def _check_answers(address: str) -> None:
    from distributed.comm.core import connect
    from distributed.security import Security

    try:
        comm = await connect(address, timeout=_CONNECT_S, **Security().get_connection_args("client"))
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as e:
        raise InvalidRequest(
            f"no scheduler answers at {address} ({type(e).__name__}). Start one with `drfarm scheduler`, or check the "
            "address."
        ) from e
    await comm.close()


class _Stop:
    """Being asked to end: by Ctrl-C, or by SIGTERM, which a batch system sends."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._interrupted = False
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # where signals are not the loop's
                loop.add_signal_handler(number, self._ask, number)

    def leave(self) -> None:
        """Raise `KeyboardInterrupt` where it was Ctrl-C: everything is closed by then."""
        if self._interrupted:
            raise KeyboardInterrupt

    def _ask(self, number: int) -> None:
        self._interrupted = number == signal.SIGINT
        self.asked.set()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
