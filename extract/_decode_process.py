"""Processes that decode into shared memory: how they begin, what one task does there, and how they end."""

import multiprocessing
import os
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import shared_memory
from threading import Thread

import numpy as np

from extract._buffers import Shape, SharedBuffers, array_over
from extract._decode_part import Part, decode_part
from extract.datasets import Samples
from extract.transforms import Transform
from store.orphans import lifeline, tie

_here: tuple[Samples, Transform, bool] | None = None
"""What this decoding process decodes."""
_blocks: dict[str, shared_memory.SharedMemory] = {}
"""Blocks that this decoding process has seen."""


@contextmanager
def decoding_processes(
    n_workers: int, samples: Samples, transform: Transform, *, mask: bool
) -> Iterator[ProcessPoolExecutor]:
    """Run a block with a pool of processes for `part_in_process`; what still waits at its end is dropped.

    What they decode reaches them through shared memory. As an argument it would go through a pipe, and Python writes to
    that of a process that died at its start for ever: where a script has no ``if __name__ == "__main__":``, each does.
    """
    content = np.frombuffer(pickle.dumps((samples, transform, mask)), dtype=np.uint8)
    with SharedBuffers(len(content)) as shared:
        block = shared.take()
        array_over(block, content.shape)[:] = content
        del content
        pool = ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"), _begin, (block.name, lifeline()))
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def part_in_process(name: str, shape: Shape, rows: range, first: int, views: Sequence[int]) -> Part:
    """Decode a few rows into a shared block: see `decode_part`.

    Parameters
    ----------
    name, shape
        Of the block, and of the array over it: (views, rows, height, width, channels).
    rows, views
        Which.
    first
        Where the rows begin in the array.
    """
    assert _here is not None  # `_begin` has run
    samples, transform, mask = _here
    if name not in _blocks:
        _blocks[name] = shared_memory.SharedMemory(name=name)
    out = array_over(_blocks[name], shape)[:, first : first + len(rows)]
    return decode_part(samples, transform, rows, views, out, mask=mask)


def _begin(name: str, line: str) -> None:
    """Set a decoding process up."""
    global _here
    tie(line)
    Thread(target=_end_with_parent, name="drfarm-orphan", daemon=True).start()
    block = shared_memory.SharedMemory(name=name)
    _here = pickle.loads(array_over(block, (block.size,)).data)  # what our own parent process put there
    block.close()


def _end_with_parent() -> None:
    """End this process when the one that began it is gone: killed, it could tell nobody, and we would wait for ever.

    Where there is no kernel to see to it.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child
    parent.join()
    os._exit(1)
