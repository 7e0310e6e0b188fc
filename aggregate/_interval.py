r"""Confidence limits for the crossing, by inverting paired t tests (Fieller 1954). Pure (no I/O).

The ratio T(k) / T(whole) reaches delta exactly where E z >= 0 with z_s = T_s(k) - delta T_s(whole), s = 1 .. n seeds.
A linear statistic of paired values has an ordinary t interval, mean(z) +- t_{n-1}(1 - alpha/2) sd(z) / sqrt(n),
which is Fieller's argument for a ratio (https://doi.org/10.1111/j.2517-6161.1954.tb00159.x), one size at a time:
var z = var T(k) - 2 delta cov(T(k), T(whole)) + delta^2 var T(whole). Call its ends lower(k) and upper(k).

*Strict.* Let k0 be the size at which the *expected* curve first reaches delta on the measured grid and k' the size
below it: E z(k0) >= 0 and E z(k') < 0. Accept k as the crossing unless upper(k) < 0 (it is significantly below delta)
or lower(k') >= 0 (a smaller size is significantly there). Each error has probability <= alpha/2 when k = k0, so k0 is
accepted with probability >= 1 - alpha: no correction for the number of sizes is needed, because only the two tests at
the truth matter, and nothing is asked of the dependence between sizes (nested subsets are as good as independent
ones). The limits are the hull of the accepted sizes. For a truth that is not monotone k0 is still the first crossing
and the same argument holds.

*Interpolated.* The truth is the first zero of the piecewise linear expected curve. Accept a point x unless the band,
interpolated linearly between sizes, excludes 0 there. A standard deviation is convex, so the interpolated band
contains the exact one and its coverage is at least the nominal one.

*Edges.* At k = width the ratio is 1 >= delta without error, so the crossing lies at or below it: its lower end is
raised to 0. A grid that ends below the width with lower(last) < 0 leaves the crossing open: the limit is the width
(DR 0). A size with one seed has an infinite band and excludes nothing. T(whole) of other or fewer seeds than T(k) is
taken as fixed: the interval is then for DR relative to that very run.
"""

from dataclasses import dataclass

import numpy as np

from aggregate._crossing import TOLERANCE, Crossing, first_in_cell, interpolate_zero, last_in_cell, pick
from aggregate._curves import Curves
from aggregate._runs import Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Confidence limits of the crossing, in neurons; NaN where there are too few seeds. Arrays of shape (n_cells,)."""

    strict_low: Floats
    """Smallest size not rejected as k*."""
    strict_high: Floats
    """Largest size not rejected as k*; the width where the crossing may lie beyond the grid."""
    interpolated_low: Floats
    """Smallest point not rejected as the interpolated crossing."""
    interpolated_high: Floats
    """Largest point not rejected as the interpolated crossing."""
    n_seeds: Integers
    """Seeds behind the mean at k*; where k* is the whole layer, or none, at the measured size below."""


def find_limits(curves: Curves, crossing: Crossing, *, delta: float, confidence: float) -> Limits:
    """Invert the tests of every size of every cell at one delta.

    Parameters
    ----------
    confidence
        1 - alpha, in (0, 1).
    """
    n_cells, cell, previous = curves.whole.size, curves.cell, curves.previous
    error = curves.standard_error(delta)
    lower, upper = _band(curves, crossing, error, confidence=confidence)
    not_below = upper >= -TOLERANCE
    not_above = lower < -TOLERANCE
    last = last_in_cell(np.ones(cell.size, dtype=np.bool_), cell, n_cells)
    sizes, width = curves.size.astype(np.float64), curves.width.astype(np.float64)
    largest = pick(sizes, last, np.nan)

    accepted = not_below & ((previous < 0) | not_above[previous])
    first = first_in_cell(accepted, cell, n_cells)
    final = last_in_cell(accepted, cell, n_cells)
    beyond = (last >= 0) & (largest < width) & (pick(lower, last, np.nan) < -TOLERANCE)
    strict_low = np.where(first >= 0, pick(sizes, first, np.nan), largest)
    strict_high = np.where(beyond, width, pick(sizes, final, np.nan))

    rise = first_in_cell(not_below, cell, n_cells)
    interpolated_low = np.where(rise >= 0, _zero_before(curves, upper, rise), largest)
    dip = last_in_cell(not_above, cell, n_cells)
    after = np.where((dip >= 0) & (dip < last), dip + 1, -1)
    smallest = pick(sizes, first_in_cell(np.ones(cell.size, dtype=np.bool_), cell, n_cells), np.nan)
    end = np.where(after >= 0, _zero_before(curves, lower, after), width)
    interpolated_high = np.where(dip >= 0, end, smallest)

    behind = _size_behind(curves, crossing)
    n_seeds = pick(curves.n_seeds, behind, 0).astype(np.int64)
    known = np.isfinite(pick(error, behind, np.nan)) & np.isfinite(curves.whole)
    limits = (np.where(known, x, np.nan) for x in (strict_low, strict_high, interpolated_low, interpolated_high))
    low, high, interpolated_low, interpolated_high = limits
    return Limits(
        strict_low=low,
        strict_high=high,
        interpolated_low=interpolated_low,
        interpolated_high=interpolated_high,
        n_seeds=n_seeds,
    )


def _band(curves: Curves, crossing: Crossing, error: Floats, *, confidence: float) -> tuple[Floats, Floats]:
    """Return lower and upper end of the t interval for E z at every size, shape (m,) each."""
    # Not scipy.stats: that takes a second to import.
    from scipy.special import stdtrit

    is_whole = curves.size == curves.width[curves.cell]
    distinct, at = np.unique(np.maximum(curves.n_seeds - 1, 1), return_inverse=True)
    half = stdtrit(distinct.astype(np.float64), (1 + confidence) / 2)[at] * error
    half = np.where(np.isnan(half), np.where(is_whole, 0.0, np.inf), half)
    lower, upper = crossing.excess - half, crossing.excess + half
    return np.where(is_whole, np.maximum(lower, 0.0), lower), upper


def _zero_before(curves: Curves, band: Floats, index: Integers) -> Floats:
    """Return where `band` rises through 0 between the size before `index` and `index` itself."""
    before = pick(curves.previous, index, -1).astype(np.int64)
    left, right = pick(curves.size, before, np.nan), pick(curves.size, index, np.nan)
    low, high = pick(band, before, np.nan), pick(band, index, np.nan)
    return np.where(before >= 0, interpolate_zero(left, right, low, high), right)


def _size_behind(curves: Curves, crossing: Crossing) -> Integers:
    """Return k*; where that is the whole layer (often a single run) or there is none, the measured size below."""
    star_is_whole = pick(curves.size, crossing.star, -1) == curves.width
    use_below = (crossing.star < 0) | (star_is_whole & (crossing.below >= 0))
    return np.where(use_below, crossing.below, crossing.star)
