"""Who works for a farm now, and how much memory each takes: asked of the scheduler every two seconds."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from drfarm.farm.gpus import RESOURCE
from drfarm.progress import WorkerState

if TYPE_CHECKING:
    from distributed import Client

EVERY_S = 2.0
"""The scheduler is asked so often; more seldom where its answer takes long."""
MOST_SHARE = 0.1
"""Share of the time that asking may take: with thousands of workers the answer is megabytes ..."""
_MOST_S = 20.0
"""... but it is asked at least so often."""
_LEAVE_S = 1.0

Crew = Callable[[Sequence[WorkerState]], None]
"""What is told of the workers, in a thread of its own."""


@contextlib.contextmanager
def watched_crew(client: Callable[[], "Client"], tell: Crew | None) -> Iterator[None]:
    """Tell of the workers every two seconds inside, from a thread of its own: whoever feeds them never waits for it.

    Parameters
    ----------
    client
        Returns the client of the farm, which may be another one after its scheduler was started again. A scheduler that
        does not answer is asked again later; to notice that is not our part.
    tell
        Told of the workers that live; None watches nothing.
    """
    if tell is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(client, tell, over), name="drfarm-crew", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LEAVE_S)


def worker_states(workers: Mapping[str, Mapping[str, Any]]) -> tuple[WorkerState, ...]:
    """Return the workers of a scheduler's description of itself, by address."""
    return tuple(
        WorkerState(
            address=address,
            memory_bytes=int((info.get("metrics") or {}).get("memory") or 0),
            memory_limit_bytes=int(info.get("memory_limit") or 0),
            gpu=(info.get("resources") or {}).get(RESOURCE, 0) >= 1,
        )
        for address, info in sorted(workers.items())
    )


def _watch(client: Callable[[], "Client"], tell: Crew, over: threading.Event) -> None:
    pause = 0.0
    while not over.wait(pause):
        began = time.monotonic()
        try:
            workers = client().scheduler_info(n_workers=-1)["workers"]
        except Exception:  # noqa: BLE001 - whatever the library says of a connection that is lost or being closed
            workers = None
        if over.is_set():
            return
        if workers is not None:
            tell(worker_states(workers))
        pause = max(EVERY_S, min(_MOST_S, (time.monotonic() - began) / MOST_SHARE))
