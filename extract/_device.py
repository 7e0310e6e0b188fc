"""Where a network runs, and with how many threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from store.errors import InvalidRequest

if TYPE_CHECKING:
    import torch

_MOST_DECODE_WORKERS = 16


def choose_device(asked: str) -> "torch.device":
    """Return the device that ``auto``, ``cpu`` or ``cuda`` means here.

    Raises
    ------
    InvalidRequest
        If CUDA is asked for and torch sees no device.
    """
    import torch

    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise InvalidRequest("device cuda: torch sees no CUDA device here. Use device: auto or cpu, or another node.")
    return torch.device("cuda" if asked == "cuda" or (asked == "auto" and available) else "cpu")


def default_decode_workers() -> int:
    """Return as many threads as this process has cores, at most 16."""
    return min(_MOST_DECODE_WORKERS, _n_cores())


def workers_beside(device: str, n_workers: int, n_threads: int) -> int:
    """Return how many of the decode workers go on while a network runs.

    On the CPU those that the network leaves a core: one more would take turns with it for the interpreter's lock and a
    core of its own. Where it leaves none, or runs elsewhere, all go on.

    Parameters
    ----------
    device
        ``cpu`` or ``cuda``.
    n_workers
        Decode workers.
    n_threads
        Threads of the network on the CPU.
    """
    spare = _n_cores() - n_threads
    return min(n_workers, spare) if device == "cpu" and spare > 0 else n_workers


def _n_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def torch_threads(n: int | None) -> Iterator[None]:
    """Run a block with ``n`` threads per operation on the CPU; None leaves torch's setting."""
    import torch

    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        if n is not None:
            torch.set_num_threads(before)
