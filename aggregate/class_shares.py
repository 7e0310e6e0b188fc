"""How the classes share the accuracy, for every subset size in a probes table. Pure (no I/O)."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._runs import CELL_TYPES, is_control
from aggregate.concentration import coefficient_of_variation, coefficient_of_variation_of_seeds, gini, gini_of_seeds
from aggregate.errors import InvalidTable

CLASS_SHARES_SCHEMA: Final = pa.schema(
    [
        *((name, kind) for name, kind in CELL_TYPES.items() if name != "width"),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("fraction", pa.float64()),
        ("n_seeds", pa.int64()),
        ("n_classes", pa.int64()),
        ("accuracy", pa.float64()),
        ("gini", pa.float64()),
        ("cv", pa.float64()),
        ("gini_seed_mean", pa.float64()),
        ("cv_seed_mean", pa.float64()),
        ("seeds", pa.list_(pa.int64())),
        ("gini_per_seed", pa.list_(pa.float64())),
        ("cv_per_seed", pa.list_(pa.float64())),
    ]
)


def class_shares(probes: pa.Table) -> pa.Table:
    """Compute Gini index and coefficient of variation of the class accuracies, at every size that has them.

    `gini` and `cv` are those of the mean over seeds, as in the paper; `gini_per_seed` and `cv_per_seed` those of each
    seed, in the order of `seeds`, and `gini_seed_mean`, `cv_seed_mean` their means. A class that no test sample belongs
    to (NaN or null in the list) is left out.

    Rows without a list (sizes off the study's grid) are left out, and so are controls (random labels). A size at which
    any accuracy is undefined (a probe diverged) has no row. A (cell, size, seed) counts once.

    Parameters
    ----------
    probes
        View `probes` with `class_accuracy`, in any row order.

    Returns
    -------
    pa.Table
        `CLASS_SHARES_SCHEMA`, one row per cell and size, in order of names and size.

    Raises
    ------
    InvalidTable
        If a column is missing, the seeds of a size differ in their number of classes, or a class accuracy is negative
        or infinite.
    """
    names = [*CELL_TYPES, "n_neurons"]
    needed = [*names, "seed", "accuracy", "class_accuracy"]
    missing = sorted(set(needed) - set(probes.column_names))
    if missing:
        raise InvalidTable(
            f"class shares need the columns {', '.join(needed)} of the view `probes`; missing: {missing}"
        )
    table = probes.select(needed).filter(pc.invert(is_control(probes)))
    accuracy = pc.fill_null(table["accuracy"].cast(pa.float64()), np.nan)
    diverged = _keys(table.filter(pc.invert(pc.is_finite(accuracy))), names)
    table = table.filter(pc.and_(pc.is_finite(accuracy), pc.is_valid(table["class_accuracy"])))
    groups: dict[tuple[Any, ...], dict[int, tuple[float, list[float | None]]]] = {}
    keys = _keys(table, names)
    for key, row in zip(keys, table.select(["seed", "accuracy", "class_accuracy"]).to_pylist(), strict=True):
        seeds = groups.setdefault(key, {})
        found = (row["accuracy"], row["class_accuracy"])
        # Repeats of a job differ by rounding at most: which one counts must not depend on the order of the rows.
        if row["seed"] not in seeds or _order(found) < _order(seeds[row["seed"]]):
            seeds[row["seed"]] = found
    for key in set(diverged) & set(groups):
        del groups[key]
    ordered = sorted(groups, key=lambda key: tuple((part is not None, part) for part in key))
    return pa.Table.from_pylist(
        [_row(dict(zip(names, key, strict=True)), groups[key]) for key in ordered], schema=CLASS_SHARES_SCHEMA
    )


def _keys(table: pa.Table, names: list[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def _order(found: tuple[float, list[float | None]]) -> tuple[float, list[float]]:
    return found[0], [-1.0 if x is None or np.isnan(x) else x for x in found[1]]


def _row(key: dict[str, Any], seeds: dict[int, tuple[float, list[float | None]]]) -> dict[str, Any]:
    ordered = sorted(seeds)
    lists = [seeds[seed][1] for seed in ordered]
    if len({len(values) for values in lists}) > 1:
        raise InvalidTable(
            f"the seeds of one size must have the same classes, got {sorted({len(v) for v in lists})} at k = "
            f"{key['n_neurons']} of model {key['model']!r}, dataset {key['dataset']!r}: results of different label sets"
        )
    shares = np.array(lists, dtype=np.float64)
    of_seeds, cv_of_seeds = gini_of_seeds(shares), coefficient_of_variation_of_seeds(shares)
    return {
        **key,
        "fraction": key["n_neurons"] / key["width"],
        "n_seeds": len(ordered),
        "n_classes": int((~np.isnan(shares)).any(axis=0).sum()),
        "accuracy": float(np.mean([seeds[seed][0] for seed in ordered])),
        "gini": gini(shares),
        "cv": coefficient_of_variation(shares),
        "gini_seed_mean": float(np.mean(of_seeds)),
        "cv_seed_mean": float(np.mean(cv_of_seeds)),
        "seeds": ordered,
        "gini_per_seed": of_seeds,
        "cv_per_seed": cv_of_seeds,
    }
