r"""Confidence limits for DR_A - DR_B from the limits of each (MOVER), paired by seed. Pure (no I/O).

`_interval` inverts t tests to limits [l, u] for one DR, around the zero c of the smoothed mean curve. For the
difference of two they are put together by the method of variance estimates recovery (Zou and Donner 2008,
https://doi.org/10.1002/sim.3095; Zou 2007 for dependent estimates, https://doi.org/10.1037/1082-989X.12.4.399):

    low  = c_A - c_B - sqrt((c_A - l_A)^2 + (u_B - c_B)^2 - 2 r (c_A - l_A)(u_B - c_B))
    high = c_A - c_B + sqrt((u_A - c_A)^2 + (c_B - l_B)^2 - 2 r (u_A - c_A)(c_B - l_B))

r is the correlation over seeds of z_A and z_B at their crossings. Where curves are straight, the distances are
t s_A / sqrt(n) and t s_B / sqrt(n) in units of DR, and the root is t times the standard error of the mean of the
differences of seeds: the paired t interval, exactly. Where they bend, each distance keeps the length that its own
tests gave it, and nothing is divided by a slope.

*Paired* where both crossings have the same seeds: n - 1 degrees of freedom. *Unpaired* otherwise: r = 0 and, as in
Welch's test, Satterthwaite's degrees of freedom of the two variances, for both sides' limits. *One fixed*: a method
that draws no subsets (`first`, `ranked`, `pca`, `pca_least`) and was run once has no spread over seeds: the interval
is then for DR relative to that very curve, as with a whole layer that was run once.

*Grid.* DR_A lies in its bracket and DR_B in its own, so that the difference can be anything between the ends of these.
The limits of `strict` are opened to hold that; those of `interpolated` are not.

*Censored.* Where one side never reaches delta there is no crossing to have a distance from. Its DR lies below a bound,
and the limits are those of the worst case, l_A - u_B and u_A - l_B of the limits of `strict`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from aggregate._crossing import TOLERANCE, Crossing, find_crossing, first_in_cell, interpolated_size, pick
from aggregate._curves import Curves
from aggregate._interval import Smoothed, band, has_limits, hull, size_behind, smoothed, t_quantile, zero_before
from aggregate._paired_curves import PairedCurves
from aggregate._runs import Flags, Floats, Integers
from aggregate._whole import method_name

DRAWS_NOTHING: Final = ("first", "ranked", "pca", "pca_least")
"""Methods whose subsets are the same for every seed."""
LEAST_P: Final = 1e-8
"""Smaller p-values are not told apart."""
_HALVINGS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceLimits:
    """What the seeds and the grid leave open of DR_A - DR_B. Arrays of shape (n_pairs,); NaN where nothing is known."""

    low: Floats
    """Lower limit."""
    high: Floats
    """Upper limit."""
    seeds_low: Floats
    """Lower limit without the grid's part; NaN for a censored pair."""
    seeds_high: Floats
    """Upper limit without the grid's part."""
    p_value: Floats
    """Smallest error probability at which the interval excludes 0; 1 where the grid alone leaves 0 open."""
    pairing: tuple[str, ...]
    """`paired`, `unpaired`, `a fixed`, `b fixed`, or `none` where there is no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crossings:
    """All that does not depend on the level of the interval. Arrays of shape (2 n,) unless said otherwise."""

    curves: Curves
    smooth: Smoothed
    centre: Floats
    """DR at the crossing of the smoothed mean; NaN if censored."""
    bracket_low: Floats
    bracket_high: Floats
    fixed: Flags
    """Taken as known without error."""
    known: Flags
    """Has limits, or is fixed."""
    censored: Flags
    holds_bracket: bool
    """Whether the limits are those of `strict`."""
    estimate: Floats
    """DR at the crossing of the plain mean, interpolated; NaN if censored."""


def difference_limits(
    pairs: PairedCurves, *, methods: Sequence[str], delta: float, confidence: float, holds_bracket: bool
) -> DifferenceLimits:
    """Return the limits of DR_A - DR_B of every pair at one delta.

    Parameters
    ----------
    methods
        Method of each cell, shape (2 n,).
    holds_bracket
        Open the limits for what the grids leave open (`strict`), or not (`interpolated`).
    """
    found = find_crossing(pairs.both, delta)
    at = _crossings(pairs.both, found, methods, delta=delta, confidence=confidence, holds_bracket=holds_bracket)
    n = pairs.n_pairs
    correlation, paired, n_seeds = _seeds_at_crossings(pairs.both, at.smooth, found, n)
    degrees = _degrees(at, paired, n_seeds, confidence)
    usable = at.known[:n] & at.known[n:] & ~(at.fixed[:n] & at.fixed[n:])
    found_limits = _limits(at, correlation, t_quantile(degrees, confidence))
    low, high, seeds_low, seeds_high = (np.where(usable, x, np.nan) for x in found_limits)
    return DifferenceLimits(
        low=low,
        high=high,
        seeds_low=seeds_low,
        seeds_high=seeds_high,
        p_value=np.where(usable, _p_values(at, correlation, degrees, (low > 0) | (high < 0), confidence), np.nan),
        pairing=tuple(
            "none" if not use else "a fixed" if a else "b fixed" if b else "paired" if together else "unpaired"
            for use, a, b, together in zip(usable, at.fixed[:n], at.fixed[n:], paired, strict=True)
        ),
    )


def _crossings(
    curves: Curves, found: Crossing, methods: Sequence[str], *, delta: float, confidence: float, holds_bracket: bool
) -> _Crossings:
    n_cells = curves.whole.size
    smooth = smoothed(curves, found, delta=delta, confidence=confidence)
    width, sizes = curves.width.astype(np.float64), curves.size.astype(np.float64)
    rise = first_in_cell(smooth.mean >= -TOLERANCE, curves.cell, n_cells)
    centre = np.where(rise >= 0, zero_before(curves, smooth.mean, rise), np.nan)
    draws = np.array([method_name(method) not in DRAWS_NOTHING for method in methods], dtype=np.bool_)
    once = pick(curves.n_seeds, size_behind(curves, found), 0) == 1
    fixed = ~draws & once & (found.star >= 0) & np.isfinite(curves.whole)
    return _Crossings(
        curves=curves,
        smooth=smooth,
        centre=1 - centre / width,
        bracket_low=np.where(found.censored, 0.0, 1 - pick(sizes, found.star, np.nan) / width),
        bracket_high=1 - pick(sizes, found.below, 0.0) / width,
        fixed=fixed,
        known=fixed | has_limits(curves, found, smooth),
        censored=found.censored | (rise < 0),
        holds_bracket=holds_bracket,
        estimate=1 - interpolated_size(curves, found) / width,
    )


def _of_each(at: _Crossings, quantile: Floats) -> tuple[Floats, Floats]:
    """Return the limits of DR of each cell by its seeds, shape (2 n,) each; the centre where it is fixed."""
    low, high = hull(at.curves, *band(at.curves, at.smooth, quantile))
    width = at.curves.width.astype(np.float64)
    lower, upper = np.fmin(1 - high / width, at.centre), np.fmax(1 - low / width, at.centre)
    return np.where(at.fixed, at.centre, lower), np.where(at.fixed, at.centre, upper)


def _limits(at: _Crossings, correlation: Floats, quantile: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the limits of the difference, then those by the seeds alone, shape (n,) each."""
    n = correlation.size
    lower, upper = _of_each(at, quantile)
    centre = at.centre
    down, up = centre - lower, upper - centre
    middle = centre[:n] - centre[n:]
    seeds_low = middle - _root(down[:n], up[n:], correlation)
    seeds_high = middle + _root(up[:n], down[n:], correlation)
    low, high = seeds_low, seeds_high
    if at.holds_bracket:
        low = np.fmin(low, at.bracket_low[:n] - at.bracket_high[n:])
        high = np.fmax(high, at.bracket_high[:n] - at.bracket_low[n:])
    else:
        estimate = at.estimate[:n] - at.estimate[n:]
        low, high = np.fmin(low, estimate), np.fmax(high, estimate)
    widest_low, widest_high = np.fmin(lower, at.bracket_low), np.fmax(upper, at.bracket_high)
    censored = at.censored[:n] | at.censored[n:]
    low = np.where(censored, widest_low[:n] - widest_high[n:], low)
    high = np.where(censored, widest_high[:n] - widest_low[n:], high)
    return low, high, np.where(censored, np.nan, seeds_low), np.where(censored, np.nan, seeds_high)


def _root(x: Floats, y: Floats, correlation: Floats) -> Floats:
    return np.sqrt(np.maximum(x * x + y * y - 2 * correlation * x * y, 0.0))


def _p_values(at: _Crossings, correlation: Floats, degrees: Floats, excluded: Flags, confidence: float) -> Floats:
    """Return the error probability at which each interval begins to exclude 0, by halving its logarithm.

    With a strong correlation and curves that bend, intervals of rising confidence need not be nested to the last bit:
    whether 0 is excluded at `confidence` itself is given, and p-values keep to that side of it.
    """
    from scipy.special import stdtrit

    n, alpha = correlation.size, 1 - confidence
    low, high = np.full(n, np.log(alpha)), np.zeros(n)
    low[excluded], high[excluded] = np.log(LEAST_P), np.log(alpha)
    # Each pair is at a level of its own. Degrees of freedom are those of few kinds in a cell, quantiles are dear.
    kinds, kind = np.unique(np.stack([at.curves.cell.astype(np.float64), degrees]), axis=1, return_inverse=True)
    pair = kinds[0].astype(np.int64) % n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        quantile = stdtrit(kinds[1], 1 - np.exp(middle[pair]) / 2)[kind]
        first, last, *_ = _limits(at, correlation, quantile)
        inside = (first <= 0) & (last >= 0)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(excluded, np.minimum(np.exp(high), alpha), np.exp(high))


def _seeds_at_crossings(curves: Curves, smooth: Smoothed, found: Crossing, n: int) -> tuple[Floats, Flags, Integers]:
    """Return the correlation of z at both crossings, shape (n,), whether seeds are paired, and how many, (2 n,)."""
    rise = first_in_cell(smooth.mean >= -TOLERANCE, curves.cell, curves.whole.size)
    behind = size_behind(curves, found)
    values = [_values(curves, smooth, int(r), int(b)) for r, b in zip(rise, behind, strict=True)]
    n_seeds = np.array([seeds.size for seeds, _ in values], dtype=np.int64)
    correlation, paired = np.zeros(n), np.zeros(n, dtype=np.bool_)
    for pair, ((seeds_a, z_a), (seeds_b, z_b)) in enumerate(zip(values[:n], values[n:], strict=True)):
        paired[pair] = seeds_a.size >= 2 and np.array_equal(seeds_a, seeds_b)
        if paired[pair]:
            z_a, z_b = z_a - z_a.mean(), z_b - z_b.mean()
            norm = np.sqrt((z_a @ z_a) * (z_b @ z_b))
            correlation[pair] = np.clip(z_a @ z_b / norm, -1, 1) if norm > 0 else 0.0
    return correlation, paired, n_seeds


def _values(curves: Curves, smooth: Smoothed, rise: int, behind: int) -> tuple[Integers, Floats]:
    """Return the seeds at the crossing and their z there, interpolated as the mean is; else at the size behind k*."""
    before = int(curves.previous[rise]) if rise >= 0 else -1
    if rise >= 0 and before >= 0 and not curves.is_whole[rise]:
        seeds, right = _at(curves, smooth, rise)
        others, left = _at(curves, smooth, before)
        if np.array_equal(seeds, others):
            low, high = smooth.mean[before], smooth.mean[rise]
            share = float(np.clip(-low / (high - low), 0, 1)) if high > low else 1.0
            return seeds, (1 - share) * left + share * right
    return _at(curves, smooth, behind) if behind >= 0 else (np.empty(0, dtype=np.int64), np.empty(0))


def _at(curves: Curves, smooth: Smoothed, size: int) -> tuple[Integers, Floats]:
    rows = slice(int(curves.starts[size]), int(curves.starts[size]) + int(curves.n_seeds[size]))
    return curves.seed[rows], smooth.z[rows]


def _degrees(at: _Crossings, paired: Flags, n_seeds: Integers, confidence: float) -> Floats:
    """Return the degrees of freedom of the t quantile at each size, shape (m,): of its seeds, or Satterthwaite's."""
    from scipy.special import stdtrit

    n, own = paired.size, np.maximum(at.curves.n_seeds - 1, 1).astype(np.float64)
    lower, upper = _of_each(at, t_quantile(own, confidence))
    of_cell = np.maximum(n_seeds - 1, 1).astype(np.float64)
    variance = np.where(at.fixed, 0.0, ((upper - lower) / 2 / stdtrit(of_cell, (1 + confidence) / 2)) ** 2)
    # Squares of lengths of 1e-9 would do; exact zeros (no spread at all) are what is kept from dividing.
    weight = variance**2 / of_cell
    total, weights = variance[:n] + variance[n:], weight[:n] + weight[n:]
    both = of_cell[:n] + of_cell[n:]
    welch = np.divide(total**2, weights, out=both.copy(), where=np.isfinite(weights) & (weights > 0))
    # A side whose crossing is not known to have limits tells nothing of the other's degrees of freedom.
    use = ~paired & np.isfinite(total)
    return np.where(np.tile(use, 2)[at.curves.cell], np.tile(welch, 2)[at.curves.cell], own)
