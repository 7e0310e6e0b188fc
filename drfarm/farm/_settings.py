"""What farm processes are like: their environment, the library's settings, what is quiet and deaf while they start."""

import contextlib
import logging
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from multiprocessing import forkserver, resource_tracker
from typing import Any

from drfarm.farm._exit_codes import read_codes_once
from store.orphans import lifeline

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""No process imports what happens to lie in the folder that it was started in."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "BLOSC_NTHREADS": "1",
    **SAFE_PATH,
}
"""One worker process a core, one thread each: cores are used once."""

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How workers start that fit probes; those that run networks are spawned, as each has an environment of its own."""

LIFELINE = "DRFARM_LIFELINE"
"""The variable in which a worker finds the lifeline of the process that started it."""
_TIED = "drfarm.farm._tied"
_IMPORTED_ONCE = [_TIED, "distributed", "probe", "torch"]
"""Workers are forked from one process that has imported these and done nothing else: they start at once."""

_TRACKER = "resource_tracker"
"""How Python's process begins that removes what killed workers leave behind; it, and who misses it, would warn."""
_SLOW_FOLDERS = "Creating scratch directories is taking"
"""The library warns a person where that takes a second, as on a busy machine; nothing of ours is kept there."""


def settings(environment: Mapping[str, str], method: str) -> dict[str, Any]:
    """Return the library's settings of schedulers and workers.

    Parameters
    ----------
    environment
        Variables of the worker processes, beside those of this one.
    method
        How worker processes start: ``forkserver`` or ``spawn``.
    """
    return {
        "distributed.nanny.pre-spawn-environ": dict(environment),
        "distributed.scheduler.allowed-failures": 0,
        "distributed.scheduler.work-stealing": False,
        # One that sends nothing for so long is stopped, or hangs in foreign code: its nanny starts another.
        "distributed.scheduler.worker-ttl": "40s",
        "distributed.deploy.lost-worker-timeout": "1h",  # on a slow disk a worker needs long to come back
        "distributed.worker.multiprocessing-method": method,
        # A worker that runs networks decodes in processes, and a daemon may have none.
        "distributed.worker.daemon": method == METHOD,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.pause": False,
        "distributed.admin.low-level-log-length": 100,
        "distributed.admin.tick.limit": "1h",
    }


def _preloads() -> dict[str, Any]:
    """Return what workers load as they start: ours, for those that were not forked, and what a person has set."""
    import dask

    modules = dask.config.get("distributed.worker.preload", None) or []
    words = dask.config.get("distributed.worker.preload-argv", None) or []
    if isinstance(modules, str):
        modules = [modules]
    if _TIED not in modules:
        modules = [_TIED, *modules]
        if words and not isinstance(words[0], str):  # a list for each
            words = [[], *words]
    return {"distributed.worker.preload": modules, "distributed.worker.preload-argv": words}


@contextlib.contextmanager
def configured(environment: Mapping[str, str], method: str) -> Iterator[None]:
    """Start schedulers and workers with our settings inside, and keep the library quiet."""
    import dask
    from distributed.utils import get_mp_context

    environment = _of_workers(environment)
    with contextlib.ExitStack() as stack:
        stack.enter_context(silenced())
        stack.enter_context(dask.config.set({**settings(environment, method), **_preloads()}))
        stack.enter_context(_environment(environment))
        if method == "forkserver":
            get_mp_context().set_forkserver_preload(_IMPORTED_ONCE)
            read_codes_once()
        yield


def prepare_workers() -> None:
    """Begin to load what workers need, in the process that they are forked from; returns at once.

    Loading takes seconds: called while something else is still to be done, workers are there when it is.
    """
    if METHOD != "forkserver":
        return
    multiprocessing.get_context(METHOD).set_forkserver_preload(_IMPORTED_ONCE)
    with _environment(_of_workers(ONE_THREAD)), deaf_to_interrupts():
        forkserver.ensure_running()


def start_tracker() -> None:
    """Start the process that removes what killed workers leave behind, before anything else in this process does.

    It is Python's own; for each killed worker it would warn on a person's screen that it has done so.
    """
    with _environment(_unwarned(_TRACKER)):
        resource_tracker.ensure_running()


def _of_workers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of worker processes."""
    return {**environment, LIFELINE: lifeline(), **_unwarned(_SLOW_FOLDERS, _TRACKER)}


def _unwarned(*messages: str) -> dict[str, str]:
    """Return the variable that keeps a process from warnings that begin so, beside what is set already."""
    given = os.environ.get("PYTHONWARNINGS")
    quiet = (f"ignore:{message}:UserWarning" for message in messages)
    return {"PYTHONWARNINGS": ",".join([*([given] if given else []), *quiet])}


class _ClosedConnections(logging.Filter):
    """Takes out what tells of a connection that ended while the library still wrote to it, with the farm's end.

    Such tasks are nobody's to wait for, and Python tells of them when it clears them away: any time later.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        from distributed.comm.core import CommClosedError

        return record.exc_info is None or not isinstance(record.exc_info[1], CommClosedError)


_CLOSED_CONNECTIONS = _ClosedConnections()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep the library quiet to the very end: its own switch is back before the last connections have closed."""
    logging.getLogger("asyncio").addFilter(_CLOSED_CONNECTIONS)  # stays; the same one is added once
    warnings.filterwarnings("ignore", _SLOW_FOLDERS, UserWarning)  # stays too
    loggers = [
        logging.getLogger(name) for name in ("distributed", "distributed.client")
    ]  # both have levels of their own
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside; the library lets a user's own win."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Start threads, and through them processes, that Ctrl-C passes by: it is for this thread, which ends the others.

    A terminal sends it to every process; blocked signals are inherited, and workers would print their tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    start_tracker()  # its start would unblock the signal in the thread that starts workers
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
