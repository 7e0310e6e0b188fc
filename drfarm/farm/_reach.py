"""Whether a scheduler answers at an address; asked before anything is made that would not end well if it does not."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from drfarm.farm.security import why_not_joined
from store import InvalidRequest

if TYPE_CHECKING:
    from distributed import Security

_REFUSALS = (OSError, TimeoutError, ValueError, TypeError, RuntimeError)
"""What the library raises where nobody answers, or certificates do not fit."""


async def reach(address: str, security: "Security", role: str, *, tls: Path | None, timeout_s: float) -> None:
    """Connect to a scheduler and leave.

    Raises
    ------
    InvalidRequest
        If it can't be reached in time, or the two do not accept each other's certificates.
    """
    from distributed.comm.core import connect

    try:
        comm = await connect(address, timeout=timeout_s, **security.get_connection_args(role))
    except _REFUSALS as e:
        raise InvalidRequest(why_not_joined(e, address, tls=tls)) from e
    await comm.close()


async def workers_of(address: str, security: "Security", *, timeout_s: float) -> frozenset[str]:
    """Return the addresses of the workers that a scheduler knows.

    Raises
    ------
    InvalidRequest
        If it does not answer in time.
    """
    from distributed import rpc

    try:
        async with rpc(address, connection_args=security.get_connection_args("worker")) as scheduler:
            return frozenset(await asyncio.wait_for(scheduler.ncores(), timeout_s))
    except _REFUSALS as e:
        raise InvalidRequest(why_not_joined(e, address, tls=None)) from e


def check_reached(address: str, security: "Security", role: str, *, tls: Path | None, timeout_s: float) -> None:
    """Do `reach` from a thread of its own: the caller's may run a loop already, as in a notebook.

    A client of the library that fails to connect may hang the next one in the same process; this leaves nothing.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, reach(address, security, role, tls=tls, timeout_s=timeout_s)).result()
