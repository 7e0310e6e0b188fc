"""Worker processes that are stopped where no scheduler sees it: ended, replaced, and never waited for."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from drfarm.farm import _hanging, _local, serve_workers
from drfarm.farm._settings import METHOD, ONE_THREAD, configured
from drfarm.farm.gpus import Place

LOCAL = {"networks": False}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(_hanging, "UNKNOWN_S", 8.0)  # a start takes half of it where others keep the cores busy
    for module in (_local, serve_workers):
        monkeypatch.setattr(module, "LOOK_S", 0.5)


def until(found, *, timeout_s: float = 90):
    end = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return value


def workers_below(pid: int | None = None) -> list[psutil.Process]:
    """Return worker processes: children of the process that forks them."""
    own = psutil.Process(pid)
    return [c for child in own.children() if "forkserver" in " ".join(child.cmdline()) for c in child.children()]


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_only_who_is_unknown_for_long_is_ended():
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        nanny = SimpleNamespace(pid=sleeper.pid, worker_address="tcp://127.0.0.1:1")
        none = SimpleNamespace(pid=None, worker_address=None)
        hanging, long = _hanging.Hanging(), _hanging.UNKNOWN_S + 1
        for now, known in ((0, {nanny.worker_address}), (long, set()), (2 * long - 2, set()), (2 * long, {"x"})):
            if now == 2 * long - 2:
                hanging.forget()  # the scheduler was away
            hanging.end([nanny, none], known, now)
            assert sleeper.poll() is None
        hanging.end([nanny], set(), 3 * long)
        assert sleeper.wait(10) == -signal.SIGKILL
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.slow
def test_one_that_is_stopped_while_it_starts_is_replaced(impatient):
    with _local.local_farm((Place(),) * 2, 0, **LOCAL) as farm:
        stopped = until(workers_below)[0]
        stopped.suspend()
        assert not farm.workers()
        until(lambda: len(farm.workers()) == 2)
        assert gone(stopped)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["work is done", "a fault"])
def test_one_that_hangs_in_its_start_is_not_waited_for(how):
    began = time.monotonic()
    expected = pytest.raises(KeyError, match=how) if how == "a fault" else contextlib.nullcontext()
    with expected, _local.local_farm((Place(),) * 2, 0, **LOCAL):
        stopped = until(workers_below)[0]
        stopped.suspend()
        if how == "a fault":
            raise KeyError(how)
    assert gone(stopped)
    assert time.monotonic() - began < _hanging.UNKNOWN_S / 2


@pytest.mark.slow
def test_one_that_its_new_scheduler_never_saw_is_replaced(impatient):
    async def scene() -> None:
        from distributed import Scheduler, Security

        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            crew = serve_workers._Crew(
                address=scheduler.address,
                places=(Place(),),
                memory_limit=0,
                security=Security(),
                tls=None,
                patience_s=60,
                say=lambda _: None,
            )
            working = asyncio.ensure_future(crew.work())
            try:
                first = await one_of(scheduler)
                (nanny,) = crew._working.values()
                process = psutil.Process(nanny.pid)
                process.suspend()
                await scheduler.remove_worker(first, close=False, stimulus_id="as if it were another one")
                assert await one_of(scheduler) != first
                assert gone(process)
            finally:
                working.cancel()
                await asyncio.wait([working], timeout=60)

    async def one_of(scheduler) -> str:
        for _ in range(600):
            if scheduler.workers:
                return next(iter(scheduler.workers))
            await asyncio.sleep(0.1)
        raise AssertionError("no worker came")

    with configured(ONE_THREAD, METHOD):
        asyncio.run(scene())
    assert os.getpid() not in {p.pid for p in workers_below()}
    assert not workers_below()
