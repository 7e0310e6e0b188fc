"""Where a curve reaches delta: the three rules, for all cells at once. Pure (no I/O).

Everything works on the excess e(k) = mean T(k) - delta T(whole): the ratio is >= delta exactly where e >= 0. Excesses
within 1e-12 of 0 count as 0, so that accuracies that equal delta T(whole) in decimals are reached whatever way their
binary sums were rounded.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from aggregate._curves import Curves
from aggregate._runs import Flags, Floats, Integers

TOLERANCE: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The size k* at which each cell reaches one delta, and its neighbours. Arrays have shape (n_cells,)."""

    star: Integers
    """Index into the curves of the smallest measured size that reaches delta; -1 where none does (censored)."""
    below: Integers
    """Index of the measured size just below it; for a censored cell, of its largest; -1 where there is none."""
    excess: Floats
    """mean T(k) - delta T(whole) of every measured size, shape (m,); NaN where T(whole) is unknown."""

    @property
    def censored(self) -> Flags:
        """No measured size reaches delta, or T(whole) is unknown."""
        return self.star < 0


def find_crossing(curves: Curves, delta: float) -> Crossing:
    """Find k* of Eq. 1 in every cell: the *smallest* measured size that reaches delta, whatever comes after it."""
    n_cells = curves.whole.size
    excess = curves.mean - delta * curves.whole[curves.cell]
    star = first_in_cell(excess >= -TOLERANCE, curves.cell, n_cells)
    last = last_in_cell(np.ones(curves.cell.size, dtype=np.bool_), curves.cell, n_cells)
    below = np.where(star >= 0, pick(curves.previous, star, -1).astype(np.int64), last)
    return Crossing(star=star, below=below, excess=excess)


def nearest_size(curves: Curves, crossing: Crossing, delta: float) -> Floats:
    """Return the size whose ratio is nearest to delta, above or below, the smallest among equals; NaN if censored.

    This is `estimate_dr` of the authors' notebooks. Distances are compared to 12 decimals: ties are ties.
    """
    ratio = curves.mean / curves.whole[curves.cell]
    distance = np.round(np.abs(ratio - delta), 12)
    least = np.full(curves.whole.size, np.inf)
    np.minimum.at(least, curves.cell, np.where(np.isnan(distance), np.inf, distance))
    chosen = first_in_cell(distance == least[curves.cell], curves.cell, curves.whole.size)
    return np.where(crossing.censored, np.nan, pick(curves.size, chosen, -1))


def interpolated_size(curves: Curves, crossing: Crossing) -> Floats:
    """Return where the straight line from the size below k* to k* reaches delta, in neurons; NaN if censored.

    A curve that reaches delta at its first size has no left neighbour: k* itself is returned, for nothing is known of
    the accuracy of fewer neurons (it is not 0 at k = 0 but chance).
    """
    star, below = crossing.star, crossing.below
    right = pick(curves.size.astype(np.float64), star, np.nan)
    left = pick(curves.size.astype(np.float64), below, np.nan)
    low, high = pick(crossing.excess, below, np.nan), pick(crossing.excess, star, np.nan)
    between = (star >= 0) & (below >= 0)
    return np.where(between, interpolate_zero(left, right, low, high), right)


def interpolate_zero(left: Floats, right: Floats, low: Floats, high: Floats) -> Floats:
    """Return the zero of the line through (left, low) and (right, high), low < 0 <= high, within [left, right].

    An infinite `low` puts the zero at `right`, an infinite `high` at `left`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(-low / (high - low), 0.0, 1.0)
    share = np.where(np.isneginf(low), 1.0, np.where(np.isposinf(high), 0.0, share))
    return left + share * (right - left)


def first_in_cell(mask: Flags, cell: Integers, n_cells: int) -> Integers:
    """Return the first index of each cell where `mask` holds, shape (n_cells,), -1 where it never does."""
    found = np.full(n_cells, -1, dtype=np.int64)
    index = np.flatnonzero(mask)
    # Assignment with repeated indices keeps the last value written: reversed, that is the first of each cell.
    found[cell[index[::-1]]] = index[::-1]
    return found


def last_in_cell(mask: Flags, cell: Integers, n_cells: int) -> Integers:
    """Return the last index of each cell where `mask` holds, shape (n_cells,), -1 where it never does."""
    found = np.full(n_cells, -1, dtype=np.int64)
    index = np.flatnonzero(mask)
    found[cell[index]] = index
    return found


def pick(values: Floats | Integers, index: Integers, missing: float) -> Floats:
    """Return `values[index]` as float64, `missing` where the index is negative."""
    picked = np.full(index.shape, missing, dtype=np.float64)
    there = index >= 0
    picked[there] = values[index[there]]
    return picked
