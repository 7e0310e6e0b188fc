"""Taking in accuracies that were measured elsewhere, in the columns of the ``probes`` view."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from probe import batch_id
from store import Conflict, InvalidRequest, UnknownName, content_id, open_store
from store.schema import PROBES

NEEDED = ("model", "layer", "dataset", "solver", "method", "seed", "n_neurons", "width", "accuracy")
OPTIONAL = ("fraction", "n_test", "val_accuracy")
PROTOCOL = "imported"
"""What the ``protocol`` column of such rows says."""


def import_results(file: str | Path, store_url: str | Path) -> int:
    """Read a CSV file of accuracies into a store, making the store where there is none.

    Parameters
    ----------
    file
        Columns model, layer, dataset, solver, method, seed, n_neurons, width, accuracy; fraction, n_test and
        val_accuracy where they are known. The same file again changes nothing.
    store_url
        Where the results go.

    Returns
    -------
    int
        Rows that are new.

    Raises
    ------
    InvalidRequest
        If a column is missing or unknown, or a value can't be right; the row is named.
    Conflict
        If the store has another accuracy for the same probe; nothing is replaced.
    """
    table = _read(Path(file))
    rows = [_row(r, i + 2, str(file)) for i, r in enumerate(table.to_pylist())]
    ids = [r["job_id"] for r in rows]
    if len(set(ids)) < len(ids):
        double = next(i for i, j in enumerate(ids) if j in ids[:i])
        raise InvalidRequest(f"{file}, line {double + 2}: this probe stands in the file twice.")
    store = open_store(store_url, create=True)
    there = store.results.table("probes", columns=["job_id", "accuracy"])
    known = dict(zip(there["job_id"].to_pylist(), there["accuracy"].to_pylist(), strict=True))
    for line, row in enumerate(rows, 2):
        if known.get(row["job_id"], row["accuracy"]) != row["accuracy"]:
            raise Conflict(
                f"{file}, line {line}: the store has accuracy {known[row['job_id']]} for this probe, the file "
                f"{row['accuracy']}. Import it into another store, or give it another model name."
            )
    new = [r for r in rows if r["job_id"] not in known]
    if new:
        batch = batch_id(r["job_id"] for r in new)
        store.results.write("probes", batch, [r | {"batch_id": batch} for r in new])
    return len(new)


def _read(file: Path) -> pa.Table:
    try:
        with file.open("rb") as f:
            table = pa_csv.read_csv(f)
    except OSError as e:
        raise InvalidRequest(f"{file} can't be read: {e.strerror}. Give the path of a CSV file.") from e
    except pa.ArrowInvalid as e:
        raise InvalidRequest(f"{file} is not a CSV file: {str(e).splitlines()[0]}") from e
    for name in table.column_names:
        if name not in NEEDED + OPTIONAL:
            raise UnknownName.among("column", name, NEEDED + OPTIONAL, where=str(file))
    missing = [n for n in NEEDED if n not in table.column_names]
    if missing:
        raise InvalidRequest(f"{file}: these columns are needed and are not there: {', '.join(missing)}.")
    if not table.num_rows:
        raise InvalidRequest(f"{file}: there is no row in it.")
    return table


def _row(given: dict[str, Any], line: int, file: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = dict.fromkeys(PROBES.names) | _checked(given)
    except InvalidRequest as e:
        raise InvalidRequest(f"{file}, line {line}: {e}. Correct the file; nothing of it was taken in.") from e
    row |= {"protocol": PROTOCOL, "study": PROTOCOL, "fraction": row["n_neurons"] / row["width"]}
    # There are no features behind these rows; the names stand for the pair, so that different networks never mix.
    pair = content_id({"imported": [row["model"], row["layer"], row["dataset"], row["width"]]})
    row |= {"train_id": pair, "test_id": pair}
    identity = [pair, row["solver"], row["method"], row["seed"], row["n_neurons"]]
    return row | {"job_id": content_id({"imported": identity})[:32]}


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a row as what they are meant to be; what is optional may be missing."""
    row = given.copy()
    for name in ("model", "layer", "dataset", "solver", "method"):
        if row[name] in (None, ""):
            raise InvalidRequest(f"{name} is empty; every row needs one")
        row[name] = str(row[name])
    for name in ("seed", "n_neurons", "width", "n_test"):
        if name in NEEDED or row.get(name) is not None:
            row[name] = _whole(name, row[name])
    for name in ("accuracy", "val_accuracy"):
        if name in NEEDED or row.get(name) is not None:
            row[name] = _number(name, row[name])
            if not 0 <= row[name] <= 1:
                raise InvalidRequest(f"{name} lies in [0, 1], got {row[name]:g}")
    if not 1 <= row["n_neurons"] <= row["width"]:
        raise InvalidRequest(f"n_neurons runs from 1 to the width {row['width']}, got {row['n_neurons']}")
    return row


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if value in (None, ""):
        raise InvalidRequest(f"{name} is empty or NaN")
    if not math.isfinite(number):
        raise InvalidRequest(f"{name} is a number, got {value!r}")
    return number


def _whole(name: str, value: object) -> int:
    number = _number(name, value)
    if number != int(number):
        raise InvalidRequest(f"{name} is a whole number, got {value!r}")
    return int(number)
