"""Every published number beside its recomputation, Eq. 1, and what a store measured itself. Pure (no I/O)."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from aggregate._fidelity_ours import OurCell, Ours, our_cells
from aggregate._fidelity_rows import Row, published_rows

FIDELITY_SCHEMA: Final = pa.schema(
    [
        ("table", pa.string()),
        ("model", pa.string()),
        ("dataset", pa.string()),
        ("method", pa.string()),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("fraction", pa.float64()),
        ("delta", pa.float64()),
        ("published", pa.float64()),
        ("precision", pa.string()),
        ("source", pa.string()),
        ("nearest", pa.float64()),
        ("strict", pa.float64()),
        ("interpolated", pa.float64()),
        ("recomputed_from", pa.string()),
        ("ours", pa.float64()),
        ("ours_strict", pa.float64()),
        ("difference", pa.float64()),
        ("n_seeds", pa.int64()),
        ("our_model", pa.string()),
        ("our_dataset", pa.string()),
        ("our_method", pa.string()),
        ("solver", pa.string()),
        ("protocol", pa.string()),
        ("train_id", pa.string()),
        ("test_id", pa.string()),
        ("deviations", pa.list_(pa.string())),
    ]
)
NOTES: Final = b"notes"
"""Key of the table's metadata: a JSON list of what was left out, and why."""

_MEASURES: Final = {
    "table1": "accuracy",
    "redundancy": "accuracy",
    "accuracy": "accuracy",
    "spread": "accuracy",
    "read_off": "accuracy",
    "cka_part_whole": "cka",
    "cka_pair": "cka_pair",
}


def fidelity(
    probes: pa.Table | None = None, cka: pa.Table | None = None, *, roles: Mapping[str, str] | None = None
) -> pa.Table:
    """Hold every published number that is carried against its recomputation and against what a store measured.

    - `table`: `table1` and `redundancy` (DR at delta 0.9), `imagenet` (top-1 of the network's own head, which drfarm
      does not measure), `accuracy`, `spread` (standard deviation over seeds, ddof 0), `read_off` (accuracies that are
      known about only), `cka_part_whole`, `cka_pair`.
    - `published`: what the paper or a notebook prints; null for a DR that is only a curve in the paper. `precision`:
      `printed`, `about`, `below`, or `curve`. `source`: a key of `aggregate.published.sources()`.
    - `nearest`, `strict`, `interpolated`: DR from the authors' accuracies by their rule, by Eq. 1, and interpolated;
      null for what is not a DR. `recomputed_from`: `accuracies` where they are carried and the computation is made
      here, `notebooks` where it was made once and only its result is carried.
    - `ours`: what the store measured: the same size, or DR by the rule nearest on the authors' sizes. `ours_strict`: DR
      by Eq. 1 on all measured sizes. `difference`: ours less published (less `nearest` where nothing was printed).
    - `our_model` ... `test_id`: which cell that is. Where several cells match (solvers, protocols, representations),
      the number has a row for each; nothing is averaged.
    - `deviations`: ids of the disagreements between text and code that touch the number.

    A store's curve matches by name: the model's and data set's name here or in the zoo (`aggregate.published`), the
    layer `penultimate`, the method, and the width. Imported accuracies and probes of random labels are not ours. The
    store does not say which weights a name stands for; its ids and descriptions do.

    Parameters
    ----------
    probes
        View `probes`; None where there is none.
    cka
        View `cka`; None where there is none.
    roles
        A store's name for networks and data sets of the paper, by their names in `aggregate.published`.

    Returns
    -------
    pa.Table
        `FIDELITY_SCHEMA`; what was left out stands in the metadata of its schema.

    Raises
    ------
    store.errors.UnknownName
        If a role is none.
    InvalidOption
        If a name is given two roles.
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    ours = our_cells(probes, cka, roles or {})
    rows = [with_ours for row in published_rows() for with_ours in _beside(row, ours)]
    table = pa.Table.from_pylist(rows, FIDELITY_SCHEMA)
    return table.replace_schema_metadata({NOTES: json.dumps(ours.notes)})


def _beside(row: Row, ours: Ours) -> list[Row]:
    measure = _MEASURES.get(row["table"])
    cells = ours.cells.get((str(measure), row["model"], row["dataset"], row["method"]), [])
    found = [row | values for cell in cells if (values := _values(row, cell))]
    return found or [row]


def _values(row: Row, cell: OurCell) -> Row:
    """Return the columns about a cell of the store; empty where it did not measure the number."""
    values: Row
    if row["table"] in ("table1", "redundancy"):
        if cell.rules is None or (cell.rules.nearest is None and cell.rules.strict is None):
            return {}
        against = row["nearest"] if row["published"] is None else row["published"]
        values = {"ours": cell.rules.nearest, "ours_strict": cell.rules.strict, "n_seeds": cell.rules.n_seeds}
    else:
        point = cell.points.get(row["n_neurons"])
        if point is None:
            return {}
        against = row["published"]
        values = {"ours": point.std if row["table"] == "spread" else point.mean, "n_seeds": point.n_seeds}
    difference = None if values["ours"] is None else values["ours"] - against
    return values | _names(cell.key) | {"difference": difference}


def _names(key: dict[str, Any]) -> Row:
    names = {name: key[name] for name in ("solver", "protocol", "train_id", "test_id")}
    return names | {"our_model": key["model"], "our_dataset": key["dataset"], "our_method": key["method"]}
