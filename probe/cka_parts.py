"""Parts of a layer as the estimators of CKA that see rows take them: neurons in order, or directions. Pure (no I/O)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace
from probe.cka import CANCELLED, ROUNDING
from probe.errors import InvalidProbe

Part = NDArray[Any]
"""Neurons in order, shape (r,), integers, or directions as columns, shape (d, r), floats.

The part of size k is the first k of them.
"""

Comparison = tuple[int, int | None]
"""(a, b): part a against part b, both of one size; (a, None): part a against the whole layer."""


def check_request(
    rows: NDArray[Any], parts: Sequence[Part], comparisons: Sequence[Comparison], sizes: Sequence[int]
) -> None:
    """Refuse parts, comparisons or sizes that these rows don't have.

    Raises
    ------
    InvalidProbe
        If rows are no matrix, a part is neither neurons nor directions of this layer, a comparison names no part, or
        sizes don't rise from 1 to at most the shortest part.
    """
    if rows.ndim != 2:
        raise InvalidProbe(f"CKA takes rows of shape (n, d), got shape {tuple(rows.shape)}.")
    width = rows.shape[1]
    for i, part in enumerate(parts):
        _check_part(part, f"part {i}", width)
    for a, b in comparisons:
        if not all(0 <= i < len(parts) for i in (a, a if b is None else b)):
            raise InvalidProbe(f"comparison ({a}, {b}) is of parts that are not there: they are 0 to {len(parts) - 1}.")
    shortest = min((p.shape[-1] for p in parts), default=0)
    if not sizes or sizes[0] < 1 or sizes[-1] > shortest or any(a >= b for a, b in pairwise(sizes)):
        raise InvalidProbe(
            f"sizes rise, without repetition, from at least 1 to at most {shortest} (the shortest part), "
            f"got {list(sizes)[:10]}{' ...' if len(sizes) > 10 else ''}."
        )


def _check_part(part: Part, name: str, width: int) -> None:
    if part.ndim == 1 and np.issubdtype(part.dtype, np.integer):
        if part.min(initial=0) < 0 or part.max(initial=-1) >= width or len(np.unique(part)) != len(part):
            raise InvalidProbe(f"{name} is not a choice of neurons 0 to {width - 1} without repetition.")
    elif part.ndim == 2 and np.issubdtype(part.dtype, np.floating) and part.shape[0] == width:
        if not np.isfinite(part).all():
            raise InvalidProbe(f"{name} has directions with values that are not finite.")
    else:
        raise InvalidProbe(
            f"{name} is neither neurons (integers, shape (r,)) nor directions (floats, shape ({width}, r)): "
            f"got {part.dtype}, shape {part.shape}."
        )


def in_float64(block: Any) -> Any:
    """Return rows in float64.

    Raises
    ------
    InvalidProbe
        If a value is not finite.
    """
    xp = namespace(block)
    x = xp.astype(block, xp.float64)
    if not bool(xp.all(xp.isfinite(x))):
        raise InvalidProbe("CKA of features with NaN or infinite values: leave such rows or neurons out.")
    return x


def row_blocks(n: int, size: int) -> list[slice]:
    """Return n rows cut into blocks of ``size``, the last one shorter."""
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def coordinates(x: Any, part: Part, k: int) -> Any:
    """Return the coordinates of rows along the first k neurons or directions of a part, shape (n, k)."""
    xp = namespace(x)
    if part.ndim == 1:
        return xp.take(x, xp.asarray(part[:k]), axis=1)
    return x @ xp.asarray(part[:, :k].astype(np.float64))


def reach(part: Part) -> float:
    """Return the squared length of a part's longest direction; 1 for neurons."""
    return 1.0 if part.ndim == 1 else float((part.astype(np.float64) ** 2).sum(0).max(initial=0.0))


def least(part: Any, whole: Any, reach: Any) -> Any:
    """Return what HSIC(S, S) of a part is above unless it is rounding.

    From the trace of the part's scatter, that of the layer's, and the part's `reach`.
    """
    return CANCELLED * part**2 + (ROUNDING * whole * reach) ** 2
