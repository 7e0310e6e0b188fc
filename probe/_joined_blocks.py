"""Blocks of few rows joined to blocks of many. Pure (no I/O).

A chunk of a huge layer has a handful of rows; the few columns of a subset make a small block of it, and what a solver
does for each block would cost more than its products.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Block = tuple[NDArray[Any], NDArray[np.int64]]
"""Features, shape (n, r), and labels, shape (n,)."""

LEAST_ROWS = 1024
"""Rows up to which blocks are joined ..."""
LEAST_BYTES = 32 * 2**20
"""... or bytes of features: rows of many columns are fewer."""


def joined(blocks: Iterable[Block], *, least: int = LEAST_ROWS, least_bytes: int = LEAST_BYTES) -> Iterator[Block]:
    """Yield the same rows in the same order, in blocks of at least so many rows or bytes; the last one may have fewer.

    A block beyond that is passed on as it is.
    """
    held: list[Block] = []
    n = n_bytes = 0
    for block in blocks:
        held.append(block)
        n += len(block[1])
        n_bytes += block[0].nbytes
        if n >= least or n_bytes >= least_bytes:
            yield _one(held)
            held, n, n_bytes = [], 0, 0
    if held:
        yield _one(held)


def _one(held: list[Block]) -> Block:
    if len(held) == 1:
        return held[0]
    return np.concatenate([x for x, _ in held]), np.concatenate([y for _, y in held])
