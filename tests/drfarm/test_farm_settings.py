"""What a farm says on a person's screen: nothing of connections that end with it, and everything else."""

import asyncio
import gc
import subprocess
import sys
import warnings

import pytest
from distributed.comm.core import CommClosedError
from distributed.utils import warn_on_duration

from drfarm.farm._settings import METHOD, ONE_THREAD, configured, silenced

SLOW = "Creating scratch directories is taking a surprisingly long time. ({duration:.2f}s) Consider another disk."
"""As the library has it, of `Server.__init__`."""


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


def test_nobody_is_told_that_folders_were_slow_here():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with silenced():
            pass
        for message in (SLOW, "Something else is slow {duration}"):
            with warn_on_duration("0 s", message):
                pass
    assert len(told) == 1
    assert "Something else" in str(told[0].message)


@pytest.mark.parametrize("given", [None, "ignore:mine"])
def test_nor_in_workers(monkeypatch, given):
    if given is None:
        monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    else:
        monkeypatch.setenv("PYTHONWARNINGS", given)
    code = f"import warnings; warnings.warn({SLOW!r}); warnings.warn('other'); warnings.warn('mine')"
    with configured(ONE_THREAD, METHOD):
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert "scratch" not in done.stderr.replace(code, "")
    assert "UserWarning: other" in done.stderr
    assert ("UserWarning: mine" in done.stderr) == (given is None)


def test_the_library_still_has_these_words():
    import inspect

    from distributed.core import Server

    assert "Creating scratch directories is taking" in inspect.getsource(Server)


@pytest.mark.parametrize(
    ("modules", "words", "expected"),
    [
        ([], [], []),
        ("site", ["--a"], ["--a"]),
        (["site", "more"], [["--a"], ["--b"]], [[], ["--a"], ["--b"]]),
    ],
)
def test_what_a_person_has_workers_load_is_loaded_after_ours(modules, words, expected):
    import dask

    given = {"distributed.worker.preload": modules, "distributed.worker.preload-argv": words}
    with dask.config.set(given), configured(ONE_THREAD, METHOD), configured(ONE_THREAD, METHOD):
        loaded = dask.config.get("distributed.worker.preload")
        assert loaded[0] == "drfarm.farm._tied"
        assert loaded[1:] == ([modules] if isinstance(modules, str) else modules)
        assert dask.config.get("distributed.worker.preload-argv") == expected
