"""Debiased linear CKA at chosen sizes with a confidence interval over rows. Pure (no I/O).

The interval is a grouped jackknife: rows are dealt at random into G groups, the estimate is computed again without each
group, and the spread of the G values gives a standard error (Busing, Meijer and van der Leeden 1999, "Delete-m
Jackknife for Unequal m") and a t interval with G - 1 degrees of freedom, on the scale of Fisher's z. No leave-out
estimate is approximated: each is what the remaining rows alone would give, from sums over all rows less those of the
group (`cka_sums`). In simulations with rectified features the 95 % interval covered the true value in 92-96 % of draws
at n = 1000 and in 89-96 % at n = 300; least near 0, where CKA is skewed (`tests/probe/test_cka_interval.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace, on_device
from probe.cka_parts import Comparison, Part, check_request
from probe.cka_sums import Plan, added, estimates, row_mean, row_sums
from probe.errors import InvalidProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Debiased CKA at every size that was asked for, with its interval; NaN where undefined."""

    value: NDArray[np.float64]
    """Shape (sizes,)."""
    low: NDArray[np.float64]
    """Lower end of the interval, shape (sizes,)."""
    high: NDArray[np.float64]
    """Upper end of the interval, shape (sizes,)."""
    n: int
    """Rows."""
    n_groups: int
    """Groups of rows that were left out in turn; 0: no interval was asked for."""


def debiased(
    rows: NDArray[Any],
    parts: Sequence[Part],
    comparisons: Sequence[Comparison],
    sizes: Sequence[int],
    *,
    level: float = 0.95,
    n_groups: int = 20,
    seed: int = 0,
    device: str | None = None,
) -> tuple[Estimate, ...]:
    """Return debiased CKA of several comparisons at chosen sizes, and the interval of each.

    Parameters
    ----------
    rows
        Features, shape (n, d), any float dtype, in memory; a row is one independent sample.
    parts
        Neurons in order or directions, see `Part`. Parts are shared: 10 pairs of 5 parts cost little more than 5.
    comparisons
        Which part against which, or against the whole layer (None).
    sizes
        Sizes k, rising. Cost grows with their number; for every size use `probe.cka_debiased`.
    level
        Coverage of the interval.
    n_groups
        Groups of the jackknife, at least 2; with fewer rows than that, each row is a group. 0: no interval.
    seed
        Deals the rows into groups. Rows that are sorted by class are thus no clusters.
    device
        ``cpu`` or ``cuda``; None: where the rows are.

    Returns
    -------
    tuple of Estimate
        One for each comparison. The value is NaN with fewer than 4 rows and where HSIC(S, S) is 0 (a constant part);
        the interval where that holds without one of the groups.

    Raises
    ------
    InvalidProbe
        If parts, sizes, rows, level or groups don't fit, or a value is not finite.
    """
    check_request(rows, parts, comparisons, sizes)
    if not 0 < level < 1 or n_groups == 1 or n_groups < 0:
        raise InvalidProbe(f"an interval has a level in (0, 1) and 2 groups or more, got {level} and {n_groups}.")
    n = rows.shape[0]
    if n < 4:
        return _valued(np.full((len(comparisons), len(sizes)), np.nan), n)
    x = rows if device is None else on_device(rows, device)
    plan = Plan.of(namespace(x), parts, comparisons, sizes, rows.shape[1])
    mean = row_mean(x)
    groups = _deal(n, n_groups, seed)
    sums = (row_sums(plan, x, group, mean) for group in groups)
    total = added(sums) if groups else row_sums(plan, x, np.arange(n), mean)
    value = estimates(plan, total)
    if n_groups == 0:
        return _valued(value, n)
    without = np.stack([estimates(plan, total.plus(row_sums(plan, x, group, mean), -1)) for group in groups])
    low, high = _interval(value, without, np.array([len(g) for g in groups]), n, level)
    return tuple(
        Estimate(value=v, low=a, high=b, n=n, n_groups=len(groups)) for v, a, b in zip(value, low, high, strict=True)
    )


def _valued(value: NDArray[np.float64], n: int) -> tuple[Estimate, ...]:
    none = np.full(value.shape[1:], np.nan)
    return tuple(Estimate(value=v, low=none, high=none, n=n, n_groups=0) for v in value)


def _deal(n: int, n_groups: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the rows of each group: dealt at random, the same on every platform, sizes apart by one at most."""
    keys = np.random.PCG64(seed).random_raw(n)  # the stream of a bit generator never changes, a shuffle may
    shuffled = np.argsort(keys, kind="stable")
    count = min(n_groups, n)
    return [np.sort(shuffled[i::count]) for i in range(count)]


_INSIDE = 1 - 1e-12
"""Fisher's z is taken of values up to here: beyond, a value is 1 but for rounding."""


def _interval(
    value: NDArray[np.float64], without: NDArray[np.float64], sizes: NDArray[np.int64], n: int, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both ends of the interval of ``value`` from ``without``, shape (groups, ...): the values without a group.

    CKA is a correlation, bounded and skewed near 1, so the interval is symmetric in z = artanh(CKA) where the value and
    all leave-outs have one, and symmetric in CKA elsewhere.
    """
    with np.errstate(invalid="ignore"):  # NaN where undefined
        curved = (np.abs(value) < _INSIDE) & (np.abs(without) < _INSIDE).all(0)
    z, z_without = (np.arctanh(np.where(curved, v, 0.0)) for v in (value, without))
    quantile = _t_quantile(level, len(sizes) - 1)
    half_z = quantile * _jackknife_error(z, z_without, sizes, n)
    half = quantile * _jackknife_error(value, without, sizes, n)
    low, high = np.tanh(z - half_z), np.tanh(z + half_z)
    return np.where(curved, low, value - half), np.where(curved, high, value + half)


def _jackknife_error(
    value: NDArray[np.float64], without: NDArray[np.float64], sizes: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    """Return the standard error of ``value`` from ``without``, shape (groups, ...): the value without each group.

    With h_j = n / m_j: pseudo-values h_j v - (h_j - 1) v_(j), and var = mean of (pseudo-value - v_J)^2 / (h_j - 1) with
    v_J = G v - sum of (1 - m_j / n) v_(j), the estimate without its bias of order 1 / n (Busing et al. 1999).
    """
    h = (n / sizes).reshape(-1, *[1] * value.ndim)
    pseudo = h * value - (h - 1) * without
    centre = len(sizes) * value - ((1 - 1 / h) * without).sum(0)
    return np.sqrt(((pseudo - centre) ** 2 / (h - 1)).mean(0))


def _t_quantile(level: float, freedom: int) -> float:
    """Return the half-width of a t interval in standard errors."""
    from scipy.special import stdtrit  # not scipy.stats: that takes a second to import

    return float(stdtrit(freedom, (1 + level) / 2))
