"""What a farm says on a person's screen: nothing of connections that end with it, and everything else."""

import asyncio
import gc

from distributed.comm.core import CommClosedError

from drfarm.farm._settings import silenced


async def nobody_waits_for(error: Exception) -> None:
    async def fails() -> None:
        raise error

    task = asyncio.ensure_future(fails())
    await asyncio.sleep(0.01)
    assert task.done()
    del task
    gc.collect()


def test_only_closed_connections_are_not_told_of(caplog):
    with silenced():
        pass
    asyncio.run(nobody_waits_for(CommClosedError("in <TCP (closed) log_event>: Stream is closed")))
    assert not caplog.records
    asyncio.run(nobody_waits_for(ValueError("told")))
    assert [r.getMessage().splitlines()[0] for r in caplog.records] == ["Task exception was never retrieved"]
