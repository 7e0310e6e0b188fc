r"""Confidence limits for the crossing, by inverting paired t tests (Fieller 1954). Pure (no I/O).

The ratio T(k) / T(whole) reaches delta exactly where E z >= 0 with z_s = T_s(k) - delta T_s(whole), s = 1 .. n seeds.
A linear statistic of paired values has an ordinary t interval, mean(z) +- t_{n-1}(1 - alpha/2) sd(z) / sqrt(n),
which is Fieller's argument for a ratio (https://doi.org/10.1111/j.2517-6161.1954.tb00159.x), one size at a time:
var z = var T(k) - 2 delta cov(T(k), T(whole)) + delta^2 var T(whole). Call its ends lower(k) and upper(k).

Accept a point x as the crossing unless the band excludes 0 there. At the true crossing E z = 0, so it is rejected with
probability alpha: no correction for the number of sizes is needed, because only the test at the truth matters, and
nothing is asked of the dependence between sizes (nested subsets are as good as independent ones). The limits are the
hull of the accepted points, the band being interpolated linearly between sizes.

*Fine grids.* The hull of many tests that err one by one is too long: with a fresh error at every size its ends are the
furthest of many. Where the hull holds six sizes or more, each seed's z_s is first replaced by its own parabola over
them (`_local_fit`), and the tests are made on that. The fit is linear in z_s, so the t interval is as exact as before,
and it is a line that is smooth on the scale of the hull, so that hull and accepted set are the same.

*Strict.* k* of Eq. 1 is a whole number, and a measured one. Its limits are those of the crossing, rounded up to whole
neurons, and opened to hold the bracket (k_below, k*]: what a coarse grid leaves open, the seeds can't close.
*Interpolated.* The limits of the crossing, opened to hold the estimate.

*Edges.* At k = width the ratio is 1 >= delta without error, so the crossing lies at or below it: its lower end is
raised to 0. A grid that ends below the width with lower(last) < 0 leaves the crossing open: the limit is the width
(DR 0). A size with one seed has an infinite band and excludes nothing. T(whole) of other or fewer seeds than T(k) is
taken as fixed: the interval is then for DR relative to that very run.
"""

from dataclasses import dataclass

import numpy as np

from aggregate._crossing import (
    TOLERANCE,
    Crossing,
    first_in_cell,
    interpolate_zero,
    interpolated_size,
    last_in_cell,
    pick,
)
from aggregate._curves import Curves
from aggregate._local_fit import local_fit
from aggregate._runs import Flags, Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Confidence limits of the crossing, in neurons; NaN where there are too few seeds. Arrays of shape (n_cells,)."""

    strict_low: Floats
    """Smallest size not rejected as k*."""
    strict_high: Floats
    """Largest size not rejected as k*; the width where the crossing may lie beyond the grid."""
    interpolated_low: Floats
    """Smallest point not rejected as the crossing, or the interpolated one if that is smaller."""
    interpolated_high: Floats
    """Largest point not rejected as the crossing, or the interpolated one if that is larger."""
    n_seeds: Integers
    """Seeds behind the mean at k*; where k* is the whole layer, or none, at the measured size below."""


def find_limits(curves: Curves, crossing: Crossing, *, delta: float, confidence: float) -> Limits:
    """Invert the tests of every size of every cell at one delta.

    Parameters
    ----------
    confidence
        1 - alpha, in (0, 1).
    """
    smooth = smoothed(curves, crossing, delta=delta, confidence=confidence)
    low, high = hull(curves, *band(curves, smooth, t_quantile(_degrees(curves), confidence)))

    sizes, width = curves.size.astype(np.float64), curves.width.astype(np.float64)
    star = pick(sizes, crossing.star, np.nan)
    estimate = interpolated_size(curves, crossing)
    from_below = pick(sizes, crossing.below, 0.0) + 1
    behind = size_behind(curves, crossing)
    known = has_limits(curves, crossing, smooth)
    # fmin and fmax: a censored cell has no estimate, and its limits stay as they are.
    return Limits(
        strict_low=np.where(known, np.fmin(np.ceil(low * (1 - TOLERANCE)), from_below), np.nan),
        strict_high=np.where(known, np.minimum(np.fmax(np.ceil(high * (1 - TOLERANCE)), star), width), np.nan),
        interpolated_low=np.where(known, np.fmin(low, estimate), np.nan),
        interpolated_high=np.where(known, np.fmax(high, estimate), np.nan),
        n_seeds=pick(curves.n_seeds, behind, 0).astype(np.int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """z(k) at every size, smoothed seed by seed where the grid is fine (`_local_fit`)."""

    z: Floats
    """z_s(k) of each seed, shape (r,)."""
    mean: Floats
    """Their mean, shape (m,)."""
    error: Floats
    """Standard error of the mean, shape (m,); NaN below two seeds."""


def smoothed(curves: Curves, crossing: Crossing, *, delta: float, confidence: float) -> Smoothed:
    """Return z of every size, each seed's smoothed over the sizes that the tests at this confidence leave open."""
    n_cells, cell = curves.whole.size, curves.cell
    z = curves.excess_of_seeds(delta)
    raw = Smoothed(z=z, mean=crossing.excess, error=curves.standard_error(z))
    lower, upper = band(curves, raw, t_quantile(_degrees(curves), confidence))
    fit = local_fit(curves, z, first_in_cell(upper >= -TOLERANCE, cell, n_cells), _last_open(curves, lower))
    if not fit.changed.any():
        return raw
    moved = curves.mean_of_seeds(fit.z) - curves.mean_of_seeds(z)
    return Smoothed(z=fit.z, mean=crossing.excess + moved, error=curves.standard_error(fit.z))


def has_limits(curves: Curves, crossing: Crossing, smooth: Smoothed) -> Flags:
    """Whether the crossing of each cell has limits: two seeds at least, and a k* that is not known to be none."""
    known = np.isfinite(pick(smooth.error, size_behind(curves, crossing), np.nan)) & np.isfinite(curves.whole)
    # A mixture of all neurons can stay below delta: then there is no k*, and nothing to have limits.
    below = pick(curves.size.astype(np.float64), crossing.below, 0.0)
    return known & ((crossing.star >= 0) | (below < curves.width))


def _degrees(curves: Curves) -> Floats:
    """Return the degrees of freedom of the seeds at each size, shape (m,)."""
    return np.maximum(curves.n_seeds - 1, 1).astype(np.float64)


def _last_open(curves: Curves, lower: Floats) -> Integers:
    """Return the last size of each cell that is not significantly at delta, shape (n_cells,); -1: there is none."""
    return last_in_cell(lower < -TOLERANCE, curves.cell, curves.whole.size)


def hull(curves: Curves, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Return the smallest and largest point at which the interpolated band holds 0, shape (n_cells,) each."""
    n_cells, cell = curves.whole.size, curves.cell
    everywhere = np.ones(cell.size, dtype=np.bool_)
    sizes, width = curves.size.astype(np.float64), curves.width.astype(np.float64)
    last = last_in_cell(everywhere, cell, n_cells)
    rise = first_in_cell(upper >= -TOLERANCE, cell, n_cells)
    low = np.where(rise >= 0, zero_before(curves, upper, rise), pick(sizes, last, np.nan))
    dip = _last_open(curves, lower)
    after = np.where((dip >= 0) & (dip < last), dip + 1, -1)
    end = np.where(after >= 0, zero_before(curves, lower, after), width)
    smallest = pick(sizes, first_in_cell(everywhere, cell, n_cells), np.nan)
    return low, np.where(dip >= 0, end, smallest)


def t_quantile(degrees: Floats, confidence: float) -> Floats:
    """Return the two-sided quantile of Student's t at each size, shape (m,), given its degrees of freedom."""
    # Not scipy.stats: that takes a second to import.
    from scipy.special import stdtrit

    distinct, at = np.unique(degrees, return_inverse=True)
    quantile: Floats = stdtrit(distinct, (1 + confidence) / 2)[at]
    return quantile


def band(curves: Curves, smooth: Smoothed, quantile: Floats) -> tuple[Floats, Floats]:
    """Return lower and upper end of the t interval for E z at every size, shape (m,) each."""
    half = quantile * smooth.error
    half = np.where(np.isnan(half), np.where(curves.is_whole, 0.0, np.inf), half)
    lower, upper = smooth.mean - half, smooth.mean + half
    return np.where(curves.is_whole, np.maximum(lower, 0.0), lower), upper


def zero_before(curves: Curves, band: Floats, index: Integers) -> Floats:
    """Return where `band` rises through 0 between the size before `index` and `index` itself."""
    before = pick(curves.previous, index, -1).astype(np.int64)
    left, right = pick(curves.size, before, np.nan), pick(curves.size, index, np.nan)
    low, high = pick(band, before, np.nan), pick(band, index, np.nan)
    return np.where(before >= 0, interpolate_zero(left, right, low, high), right)


def size_behind(curves: Curves, crossing: Crossing) -> Integers:
    """Return k*; where that is the whole layer (often a single run) or there is none, the measured size below."""
    star_is_whole = pick(curves.size, crossing.star, -1) == curves.width
    use_below = (crossing.star < 0) | (star_is_whole & (crossing.below >= 0))
    return np.where(use_below, crossing.below, crossing.star)
