"""Mean and centred second moments of a representation, streamed block by block in float64, mergeable in any order."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What CKA needs of n rows."""

    n: int
    """Rows."""
    mean: NDArray[np.float64]
    """Mean of each neuron, shape (d,)."""
    scatter: NDArray[np.float64]
    """Centred second moments, Xc' Xc, shape (d, d)."""


def chunk_moments(block: NDArray[Any]) -> Moments:
    """Return the moments of one block of rows, shape (n, d)."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(block)).to(torch.float64)
    mean = x.mean(0)
    centred = x - mean
    return Moments(n=len(block), mean=mean.numpy(), scatter=(centred.t() @ centred).numpy())


def combine(a: Moments, b: Moments) -> Moments:
    """Merge the moments of two sets of rows.

    Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances":
    S = S_a + S_b + (n_a n_b / n) delta delta', delta = mean_b - mean_a.
    """
    n = a.n + b.n
    delta = b.mean - a.mean
    scatter = a.scatter + b.scatter
    scatter += np.outer(delta * (a.n * b.n / n), delta)
    return Moments(n=n, mean=a.mean + delta * (b.n / n), scatter=scatter)


def moments(blocks: Iterable[NDArray[Any]]) -> Moments:
    """Return the moments of all rows of a stream of blocks.

    Raises
    ------
    InvalidProbe
        If there are fewer than two rows.
    """
    total: Moments | None = None
    for block in blocks:
        if len(block):
            part = chunk_moments(block)
            total = part if total is None else combine(total, part)
    if total is None or total.n < 2:
        raise InvalidProbe(f"CKA needs at least two rows, got {0 if total is None else total.n}.")
    return total
