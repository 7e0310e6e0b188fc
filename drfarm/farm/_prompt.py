"""Sending each message at once.

The library keeps messages back for some milliseconds, so that many go together. A worker here has one task, and waits
for the next one: with the library's 10 ms at the client and 5 ms at the scheduler two workers get 180 tasks a second,
without 340.
"""

from typing import Any


def send_at_once(client: Any, scheduler: Any = None, worker: str = "") -> None:
    """Let a client's messages to its scheduler go at once, and those of a scheduler of this process to a worker.

    Both are new after a connection was lost: this is said before each task.

    Parameters
    ----------
    client
        The client that hands out tasks.
    scheduler
        Its scheduler, where that is in this process.
    worker
        Address of the worker that is handed one.
    """
    streams = [client.scheduler_comm]
    if scheduler is not None:
        streams.append(scheduler.stream_comms.get(worker))
    for stream in streams:
        if stream is not None:
            stream.interval = 0.0
