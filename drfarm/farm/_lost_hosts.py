"""Workers whose host can't be reached any more: the scheduler gives them up, so that others do their work.

A worker that is silent may be busy with what lets nothing else run, or be stopped; the system of its host still answers
for it then. Where not even that answers, the host is gone or cut off. The library would wait minutes for either.
"""

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from distributed import Scheduler

SILENT_S = 4.0
"""A worker that has not been heard of for so long is looked after; more where so many workers report more rarely."""
_CONNECT_S = 3.0
"""A host that does not answer for so long can't be reached."""
_LOOK_S = 1.0
_log = logging.getLogger("drfarm.farm")


async def give_up_lost_hosts(scheduler: "Scheduler") -> None:
    """Remove workers that are silent and whose hosts do not answer; runs in the scheduler's loop until cancelled."""
    from distributed.scheduler import heartbeat_interval

    while True:
        await asyncio.sleep(_LOOK_S)
        patience = max(SILENT_S, 1.5 * heartbeat_interval(len(scheduler.workers)))
        now = time.time()
        silent = [w.address for w in scheduler.workers.values() if now - w.last_seen > patience]
        answers = await asyncio.gather(*(_host_answers(address) for address in silent))
        for address, answered in zip(silent, answers, strict=True):
            if not answered:
                try:
                    await scheduler.remove_worker(address, stimulus_id=f"host-lost-{now}")
                except Exception:  # noqa: BLE001 - the next look tries again
                    _log.exception("worker %s can't be given up", address)


async def _host_answers(address: str) -> bool:
    """Say whether a connection to a worker's port comes about; the system makes it even for a stopped process."""
    parts = urlsplit(address)
    if parts.port is None:  # in the scheduler's own process
        return True
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
