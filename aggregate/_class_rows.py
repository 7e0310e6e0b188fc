"""The class accuracies of every subset size in a probes table, each seed once. Pure (no I/O)."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._runs import CELL_TYPES, Floats, is_control
from aggregate.errors import InvalidTable

SIZE_KEYS: Final = (*CELL_TYPES, "n_neurons")
"""What a size of a cell is known by."""

ClassRows = dict[tuple[Any, ...], dict[int, tuple[float, list[float | None]]]]
"""Values of `SIZE_KEYS` to seed to (accuracy, class accuracies)."""


def read_class_rows(probes: pa.Table, *, what: str) -> ClassRows:
    """Read the class accuracies out of the view `probes`, in order of names and size.

    Rows without a list (sizes off the study's grid) are left out, and so are controls (random labels). A size at which
    any accuracy is undefined (a probe diverged) is left out. A (cell, size, seed) counts once.

    Parameters
    ----------
    what
        What needs them, for the error.

    Raises
    ------
    InvalidTable
        If a column is missing.
    """
    names = list(SIZE_KEYS)
    needed = [*names, "seed", "accuracy", "class_accuracy"]
    missing = sorted(set(needed) - set(probes.column_names))
    if missing:
        raise InvalidTable(f"{what} need the columns {', '.join(needed)} of the view `probes`; missing: {missing}")
    table = probes.select(needed).filter(pc.invert(is_control(probes)))
    accuracy = pc.fill_null(table["accuracy"].cast(pa.float64()), np.nan)
    diverged = _keys(table.filter(pc.invert(pc.is_finite(accuracy))), names)
    table = table.filter(pc.and_(pc.is_finite(accuracy), pc.is_valid(table["class_accuracy"])))
    groups: ClassRows = {}
    keys = _keys(table, names)
    for key, row in zip(keys, table.select(["seed", "accuracy", "class_accuracy"]).to_pylist(), strict=True):
        seeds = groups.setdefault(key, {})
        found = (row["accuracy"], row["class_accuracy"])
        # Repeats of a job differ by rounding at most: which one counts must not depend on the order of the rows.
        if row["seed"] not in seeds or _order(found) < _order(seeds[row["seed"]]):
            seeds[row["seed"]] = found
    for key in set(diverged) & set(groups):
        del groups[key]
    return {key: groups[key] for key in sorted(groups, key=lambda key: tuple((part is not None, part) for part in key))}


def stack_seeds(key: tuple[Any, ...], seeds: dict[int, tuple[float, list[float | None]]]) -> Floats:
    """Return the class accuracies of one size, shape (n_seeds, n_classes), seeds rising; NaN where a class has none.

    Raises
    ------
    InvalidTable
        If the seeds differ in their number of classes.
    """
    lists = [seeds[seed][1] for seed in sorted(seeds)]
    if len({len(values) for values in lists}) > 1:
        row = dict(zip(SIZE_KEYS, key, strict=True))
        raise InvalidTable(
            f"the seeds of one size must have the same classes, got {sorted({len(v) for v in lists})} at k = "
            f"{row['n_neurons']} of model {row['model']!r}, dataset {row['dataset']!r}: results of different label sets"
        )
    return np.array(lists, dtype=np.float64)


def _keys(table: pa.Table, names: list[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def _order(found: tuple[float, list[float | None]]) -> tuple[float, list[float]]:
    return found[0], [-1.0 if x is None or np.isnan(x) else x for x in found[1]]
