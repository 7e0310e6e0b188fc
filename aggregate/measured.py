"""What is measured of each curve so far, for whoever plans what to measure next. Pure (no I/O)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from aggregate._curves import curves
from aggregate._runs import Measure, read_runs


class CellKey(NamedTuple):
    """What one redundancy curve is made of; None where the measure, or an imported row, has no such."""

    model: str | None
    layer: str | None
    dataset: str | None
    solver: str | None
    protocol: str | None
    """For CKA the estimator, None for the biased one."""
    method: str | None
    train_id: str | None
    test_id: str | None
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCurve:
    """One curve of mean ratios, as `redundancy` sees it."""

    sizes: tuple[int, ...]
    """Measured sizes, rising."""
    mean_ratios: tuple[float | None, ...]
    """mean T(k) / T(whole) of each; None where a value is undefined (a probe diverged), or T(whole) unknown or 0."""
    n_seeds: tuple[int, ...]
    """Seeds with a row at each size, undefined ones among them."""


def measured_curves(table: pa.Table, *, measure: Measure = "accuracy") -> dict[CellKey, MeasuredCurve]:
    """Return the curve of every cell in a results table, ready for `next_sizes`.

    T(whole), controls and repeats are treated as in `redundancy`; so T(whole) of PCA may come from rows of `random`:
    the table must hold them.

    Parameters
    ----------
    table
        View `probes` (for `accuracy`) or `cka` (for `cka` and `cka_pair`).

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    runs = read_runs(table, measure=measure)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    ratio = curve.mean / curve.whole[curve.cell]
    defined = dict(zip(zip(curve.cell.tolist(), curve.size.tolist(), strict=True), ratio.tolist(), strict=True))
    starts = np.flatnonzero((np.diff(runs.cell, prepend=-1) != 0) | (np.diff(runs.size, prepend=-1) != 0))
    counts = np.diff(starts, append=runs.cell.size)
    points: dict[int, list[tuple[int, float | None, int]]] = {cell: [] for cell in range(runs.keys.num_rows)}
    for start, n in zip(starts.tolist(), counts.tolist(), strict=True):
        cell, size = int(runs.cell[start]), int(runs.size[start])
        value = defined.get((cell, size), np.nan)
        if measure == "cka_pair":
            n = np.unique([runs.seed[start : start + n], runs.seed_b[start : start + n]]).size
        points[cell].append((size, value if np.isfinite(value) else None, n))
    return {
        CellKey(**key): MeasuredCurve(
            sizes=tuple(size for size, _, _ in points[cell]),
            mean_ratios=tuple(value for _, value, _ in points[cell]),
            n_seeds=tuple(n for _, _, n in points[cell]),
        )
        for cell, key in enumerate(runs.keys.to_pylist())
    }
