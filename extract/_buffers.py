"""Memory that decoded pixels are written to: page-locked, plain, or shared with decoding processes."""

import contextlib
from collections import deque
from multiprocessing import shared_memory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]


class SharedBuffers:
    """A few blocks of shared memory that are used again and again; a context manager that gives them back.

    Parameters
    ----------
    n_bytes
        Size of each block.
    """

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._free: deque[shared_memory.SharedMemory] = deque()
        self._all: list[shared_memory.SharedMemory] = []

    def __enter__(self) -> "SharedBuffers":
        return self

    def __exit__(self, *exc: object) -> None:
        for block in self._all:
            with contextlib.suppress(BufferError):  # somebody still looks at it: the system takes it back at the end
                block.close()
            block.unlink()

    def take(self) -> shared_memory.SharedMemory:
        """Return a block that nobody uses."""
        if not self._free:
            block = shared_memory.SharedMemory(create=True, size=self._n_bytes)
            self._all.append(block)
            return block
        return self._free.popleft()

    def give_back(self, block: shared_memory.SharedMemory) -> None:
        """Let a block be used again."""
        self._free.append(block)


def array_over(block: shared_memory.SharedMemory, shape: Shape) -> NDArray[np.uint8]:
    """Return a uint8 array over the beginning of a block."""
    return np.ndarray(shape, dtype=np.uint8, buffer=block.buf)


def host_tensor(shape: Shape, *, pinned: bool) -> "torch.Tensor":
    """Return a new uint8 tensor, page-locked where a CUDA device is to copy from it by itself."""
    import torch

    return torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
