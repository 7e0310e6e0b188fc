"""A scheduler that a person or a batch system starts, and what such processes share: being asked to end."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from drfarm.farm._lost_hosts import give_up_lost_hosts
from drfarm.farm._settings import METHOD, ONE_THREAD, configured
from drfarm.farm.security import check_listens, is_loopback, security_of
from store import InvalidRequest

Say = Callable[[str], None]
"""What is told to people."""


def serve_scheduler(
    host: str,
    port: int,
    say: Say,
    *,
    tls: Path | None = None,
    insecure: bool = False,
    dashboard: str | None = None,
) -> None:
    """Run a scheduler until it is interrupted or terminated.

    Parameters
    ----------
    host, port
        Where it listens; port 0 takes a free one.
    say
        Told its address.
    tls
        Folder of certificates: only who has one of the same authority may join.
    insecure
        Whether it may listen beyond this machine without certificates.
    dashboard
        Where it shows itself as plain HTTP, with its metrics: HOST:PORT; by default nowhere.

    Raises
    ------
    InvalidRequest
        If it can't or must not listen there.
    """
    check_listens(host, tls=tls, insecure=insecure)
    shown = None if dashboard is None else _dashboard_address(dashboard)
    with configured(ONE_THREAD, METHOD):
        asyncio.run(_scheduler(host, port, say, tls, shown))


async def _scheduler(host: str, port: int, say: Say, tls: Path | None, dashboard: tuple[str, int] | None) -> None:
    from distributed import Scheduler

    stop = Stop()
    security = security_of(tls, "scheduler")
    try:
        scheduler = await Scheduler(
            host=host,
            port=port,
            protocol="tls://" if tls is not None else None,
            security=security,
            dashboard=dashboard is not None,
            # Without one, a server of plain HTTP would else take a well-known port beside the scheduler's address.
            dashboard_address="127.0.0.1:0" if dashboard is None else "{}:{}".format(*dashboard),
        )
    except (OSError, ValueError) as e:
        raise InvalidRequest(
            f"no scheduler can listen at {host}:{port} ({e}). Choose another --port (0 takes a free one), or an "
            "address of this machine as --host."
        ) from e
    async with scheduler:
        say(f"scheduler at {scheduler.address}")
        if tls is None and not is_loopback(host):
            say(
                f"anyone who can reach {scheduler.address} can run programs as you: keep it inside a network that you "
                "trust."
            )
        if dashboard is not None:
            at = f"{dashboard[0]}:{scheduler.http_server.port}"
            say(f"dashboard at http://{at}/status, metrics at http://{at}/metrics")
            if not is_loopback(dashboard[0]):
                say(f"http://{at} is open to anyone who can reach it, whatever --tls says: it shows what runs here.")
        watching = asyncio.create_task(give_up_lost_hosts(scheduler))
        await stop.asked.wait()
        watching.cancel()
    stop.leave()


def _dashboard_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidRequest(f"--dashboard {text!r}: expected HOST:PORT, such as 127.0.0.1:8787 (0 takes a free port).")
    return host, int(port)


class Stop:
    """Being asked to end: by Ctrl-C, or by SIGTERM, which a batch system sends."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._interrupted = False
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # where signals are not the loop's
                loop.add_signal_handler(number, self._ask, number)

    async def within(self, seconds: float) -> bool:
        """Wait for being asked, at most so long; say whether it was."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.asked.wait(), seconds)
        return self.asked.is_set()

    def leave(self) -> None:
        """Raise `KeyboardInterrupt` where it was Ctrl-C: everything is closed by then."""
        if self._interrupted:
            raise KeyboardInterrupt

    def _ask(self, number: int) -> None:
        self._interrupted = number == signal.SIGINT
        self.asked.set()
