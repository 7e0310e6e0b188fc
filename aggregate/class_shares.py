"""How the classes share the accuracy, for every subset size in a probes table. Pure (no I/O)."""

from typing import Any, Final

import numpy as np
import pyarrow as pa

from aggregate._class_rows import SIZE_KEYS, read_class_rows, stack_seeds
from aggregate._runs import CELL_TYPES
from aggregate.concentration import coefficient_of_variation, coefficient_of_variation_of_seeds, gini, gini_of_seeds

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
    rows = read_class_rows(probes, what="class shares")
    return pa.Table.from_pylist([_row(key, seeds) for key, seeds in rows.items()], schema=CLASS_SHARES_SCHEMA)


def _row(key: tuple[Any, ...], seeds: dict[int, tuple[float, list[float | None]]]) -> dict[str, Any]:
    named = dict(zip(SIZE_KEYS, key, strict=True))
    shares = stack_seeds(key, seeds)
    of_seeds, cv_of_seeds = gini_of_seeds(shares), coefficient_of_variation_of_seeds(shares)
    return {
        **named,
        "fraction": named["n_neurons"] / named["width"],
        "n_seeds": len(seeds),
        "n_classes": int((~np.isnan(shares)).any(axis=0).sum()),
        "accuracy": float(np.mean([seeds[seed][0] for seed in sorted(seeds)])),
        "gini": gini(shares),
        "cv": coefficient_of_variation(shares),
        "gini_seed_mean": float(np.mean(of_seeds)),
        "cv_seed_mean": float(np.mean(cv_of_seeds)),
        "seeds": sorted(seeds),
        "gini_per_seed": of_seeds,
        "cv_per_seed": cv_of_seeds,
    }
