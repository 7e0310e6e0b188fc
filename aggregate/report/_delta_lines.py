"""The lines of DR against the threshold, ready to be drawn. Pure (no I/O)."""

from typing import Final

import numpy as np
import pyarrow as pa

from aggregate._redundancy import redundancy
from aggregate._runs import Measure
from aggregate.report._measured_lines import line_order, name_lines
from aggregate.report._pool import Line, Pool, as_float32, panels_of

DELTAS: Final = (*(round(0.5 + 0.02 * i, 2) for i in range(25)), 0.99, 1.0)
"""Thresholds that are drawn: below one half nearly every layer is redundant."""
_KEYS: Final = ("model", "layer", "dataset", "solver", "protocol", "method", "train_id", "test_id", "width")


def delta_lines(table: pa.Table, *, measure: Measure) -> Pool:
    """Return DR by Eq. 1 and its interval at every threshold of `DELTAS`, one line per curve, a panel per data set.

    A threshold that no size reaches has no point.
    """
    probes, cka = (table, None) if measure == "accuracy" else (None, table)
    rows = redundancy(probes, cka, deltas=DELTAS, rules=("strict",))
    rows = rows.filter(pa.compute.equal(rows["measure"], measure))
    keys = rows.select(list(_KEYS)).take(pa.array(np.arange(0, rows.num_rows, len(DELTAS)))).to_pylist()
    names = name_lines(keys, measure, "dataset")
    dr, low, high = (rows[name].to_numpy().reshape(-1, len(DELTAS)) for name in ("dr", "ci_low", "ci_high"))
    seeds = rows["n_seeds"].fill_null(0).to_numpy().reshape(-1, len(DELTAS))
    lines, chosen = [], []
    n_points = 0
    for cell in line_order(names, [str(key["method"]) for key in keys], "dataset"):
        known = np.flatnonzero(np.isfinite(dr[cell]))
        if not known.size:
            continue
        panel, label, about = names[cell]
        chosen.append(cell * len(DELTAS) + known)
        lines.append(
            Line(
                label=label,
                about=about,
                panel=panel,
                width=keys[cell]["width"],
                whole=np.nan,
                points=(n_points, n_points + known.size),
                dots=(0, 0),
            )
        )
        n_points += known.size
    at = np.concatenate([np.empty(0, dtype=np.int64), *chosen])
    mean = dr.ravel()[at]
    interval = [np.where(np.isfinite(ends.ravel()[at]), ends.ravel()[at], mean) for ends in (low, high)]
    return Pool(
        lines=tuple(lines),
        panels=panels_of([line.panel for line in lines]),
        points={
            "x": np.tile(np.array(DELTAS), len(keys))[at],
            "mean": as_float32(mean),
            "low": as_float32(interval[0]),
            "high": as_float32(interval[1]),
            "seeds": seeds.ravel()[at].astype(np.int32),
        },
        dots={},
        texts={},
        thinned=False,
    )
