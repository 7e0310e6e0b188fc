"""DuckDB in memory over the store's files: the views that `query` offers."""

from datetime import datetime
from typing import Any

import pyarrow as pa

from store._catalogue import RepresentationInfo
from store.features import FeatureStore
from store.results import ResultStore
from store.schema import KINDS, REPRESENTATIONS, SCHEMAS

FAILURES = pa.schema(
    [
        ("study", pa.string()),
        ("stage", pa.string()),
        ("what", pa.string()),
        ("error", pa.string()),
        ("attempts", pa.int64()),
        ("failed_at", pa.timestamp("us", tz="UTC")),
        ("log", pa.string()),
        ("batch_id", pa.string()),
    ]
)
"""One row for each batch or representation that failed and has not succeeded since."""

_SHUT: dict[str, Any] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    # In memory, DuckDB would otherwise spill into a folder below wherever the caller stands.
    "temp_directory": "",
}
"""No file, network or variable of the caller can be reached from SQL."""
_DEFAULTS = {"estimator": "coalesce(estimator, 'biased') AS estimator"}
"""Columns that files of earlier versions do not have."""


def representation_row(info: RepresentationInfo) -> dict[str, Any]:
    """Return one line of the catalogue with the columns of the ``representations`` view."""
    return {
        "model": info.key.model,
        "layer": info.key.layer,
        "dataset": info.key.dataset,
        "split": info.key.split,
        "width": info.width,
        "n_samples": info.n_samples,
        "n_views": info.key.n_views,
        "dtype": info.key.dtype,
        "bytes": info.stored_bytes,
        "complete": info.complete,
        "id": info.key.id,
        "created_at": info.created_at,
        "layer_width": info.layer_width,
        "gathered": info.gathered,
    }


def representations_table(features: FeatureStore) -> pa.Table:
    """Return the catalogue with the columns of the ``representations`` view."""
    return pa.Table.from_pylist([representation_row(i) for i in features.catalogue()], schema=REPRESENTATIONS)


def failures_table(results: ResultStore) -> pa.Table:
    """Return what failed, as the columns of `FAILURES`; what a record does not say is null."""
    rows = []
    for record in results.failures():
        at = record.get("at")
        rows.append(
            {name: record.get(name) for name in FAILURES.names} | {"failed_at": at and datetime.fromisoformat(str(at))}
        )
    return pa.Table.from_pylist(rows, schema=FAILURES)


def connect(features: FeatureStore, results: ResultStore) -> Any:
    """Return an in-memory DuckDB connection with the views ``representations``, ``probes`` and ``cka``.

    Results are read lazily from the files, only the columns a query needs. A job that two batches hold (two studies at
    once, say) is shown once. The connection can't touch files: external access is off and locked, and what does not fit
    in memory is an error, never a file.
    """
    import duckdb

    con = duckdb.connect(":memory:", config=_SHUT)
    con.execute("SET TimeZone = 'UTC'")
    con.register("representations", representations_table(features))
    for kind in KINDS:
        con.register(f"_{kind}_files", results.dataset(kind))
        columns = ", ".join(_DEFAULTS.get(name, name) for name in SCHEMAS[kind].names)
        doubled = con.sql(f"SELECT count(*) > count(DISTINCT job_id) FROM _{kind}_files").fetchall()[0][0]
        once = "" if not doubled else " QUALIFY row_number() OVER (PARTITION BY job_id ORDER BY batch_id) = 1"
        con.execute(f"CREATE VIEW {kind} AS SELECT {columns} FROM _{kind}_files{once}")
    con.execute("SET lock_configuration = true")
    return con
