"""What part of the whole layer's value a part of its neurons keeps, with an interval over seeds. Pure (no I/O)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from aggregate._curves import Curves, curves
from aggregate._runs import Floats, Measure, read_runs
from aggregate.measured import CellKey

_NEAR = 0.1
"""A measured size stands for a fraction if it is within so much of it, relatively."""
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One curve at one fraction."""

    key: CellKey
    """What was measured."""
    n_neurons: int
    """Measured size, the nearest to the fraction asked for."""
    ratio: float
    """Mean over seeds of T(part) / T(whole); T(whole) is 1 for CKA."""
    value: float
    """Mean over seeds of T(part)."""
    low: float
    """Lower end of the 95 % interval of the ratio over seeds; NaN below two seeds."""
    high: float
    """Upper end."""
    n_seeds: int
    """Seeds behind the mean."""


def kept_at(table: pa.Table, fraction: float, *, measure: Measure) -> list[Kept]:
    """Return every curve's ratio at a fraction of its neurons, for the curves that have a size near to it.

    With z_s = T_s(k) - r T_s(whole), r the ratio of the means, the interval is r -+ t_{n-1} se(z) / T(whole): Fieller's
    to first order, which is what it is where T(whole) is known far better than to its own size. Seeds are paired where
    the whole layer was run for all of them.
    """
    runs = read_runs(table, measure=measure)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    keys = [CellKey(**key) for key in runs.keys.to_pylist()]
    bounds = curve.cell.searchsorted(np.arange(len(keys) + 1))
    found = []
    for cell, key in enumerate(keys):
        part = slice(bounds[cell], bounds[cell + 1])
        sizes = curve.size[part]
        wanted = fraction * key.width
        if not sizes.size or not np.isfinite(curve.whole[cell]):
            continue
        at = int(np.argmin(np.abs(sizes - wanted)))
        if abs(sizes[at] - wanted) <= max(_NEAR * wanted, 0.5):
            found.append(_kept(curve, int(bounds[cell]) + at, cell, key))
    return found


def _kept(curve: Curves, at: int, cell: int, key: CellKey) -> Kept:
    whole = float(curve.whole[cell])
    ratio = float(curve.mean[at]) / whole
    end = int(curve.starts[at + 1]) if at + 1 < curve.starts.size else curve.seed.size
    values = slice(int(curve.starts[at]), end)
    z = curve.seed_value[values] - ratio * curve.seed_whole[values]
    half = _half_width(z) / whole
    return Kept(
        key=key,
        n_neurons=int(curve.size[at]),
        ratio=ratio,
        value=float(curve.mean[at]),
        low=ratio - half,
        high=ratio + half,
        n_seeds=int(curve.n_seeds[at]),
    )


def _half_width(z: Floats) -> float:
    n = z.size
    if n < 2 or not np.isfinite(z).all():
        return float("nan")
    return _quantile(n - 1) * float(z.std(ddof=1)) / n**0.5


@lru_cache
def _quantile(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf((1 + _CONFIDENCE) / 2, degrees))
