"""DR computed again from the accuracies that are carried, on the fractions that the authors print. Pure (no I/O)."""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from aggregate._redundancy import RULES, redundancy
from aggregate.published.numbers import published_accuracies

_PARTS = 20_000
"""Every fraction that is carried is a whole number of these parts: a layer of this width has them as sizes, exactly."""


@cache
def recomputed_redundancy(delta: float) -> pa.Table:
    """Compute DR of every published curve by the three rules.

    The authors' DR stands on nominal fractions: 0.2 counts as 0.2 where 409 of 2,048 neurons were probed. So the sizes
    here are nominal too.

    Parameters
    ----------
    delta
        Level of T(part) / T(whole).

    Returns
    -------
    pa.Table
        Columns model, method, dataset, nearest, strict, interpolated, source; one row per curve.
    """
    carried = published_accuracies()
    rows = carried.num_rows
    sizes = pc.cast(pc.round(pc.multiply(carried["fraction"], float(_PARTS))), pa.int64())
    constant = {"layer": "penultimate", "solver": "sgd", "protocol": "imported", "train_id": None, "test_id": None}
    probes = pa.table(
        {
            **{name: carried[name] for name in ("model", "dataset", "method", "accuracy")},
            **{name: pa.repeat(pa.scalar(value, pa.string()), rows) for name, value in constant.items()},
            "width": pa.repeat(_PARTS, rows),
            "seed": pa.repeat(1, rows),
            "n_neurons": sizes,
        }
    )
    found: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for row in redundancy(probes, None, deltas=[delta]).to_pylist():
        found.setdefault((row["model"], row["method"], row["dataset"]), {})[row["rule"]] = _rounded(row["dr"])
    sources = {(r["model"], r["method"], r["dataset"]): r["source"] for r in carried.to_pylist()}
    columns = [
        {"model": m, "method": how, "dataset": d, **values, "source": sources[m, how, d]}
        for (m, how, d), values in found.items()
    ]
    kinds = {"nearest": pa.float64(), "strict": pa.float64(), "interpolated": pa.float64()}
    names = ("model", "method", "dataset", *RULES, "source")
    return pa.Table.from_pylist(columns, pa.schema([(name, kinds.get(name, pa.string())) for name in names]))


def _rounded(dr: float | None) -> float | None:
    """Take off what binary fractions add to decimals: 0.2 is what the authors print, 1 - 0.8 is a little less."""
    return None if dr is None else round(dr, 12)
