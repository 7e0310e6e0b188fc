"""DuckDB in memory over the store's files: the views that `query` offers."""

from typing import Any

import pyarrow as pa

from store.features import FeatureStore
from store.results import ResultStore
from store.schema import KINDS, REPRESENTATIONS, SCHEMAS

_DEFAULTS = {"estimator": "coalesce(estimator, 'biased') AS estimator"}
"""Columns that files of earlier versions do not have."""


def representations_table(features: FeatureStore) -> pa.Table:
    """Return the catalogue with the columns of the ``representations`` view."""
    rows = [
        {
            "model": i.key.model,
            "layer": i.key.layer,
            "dataset": i.key.dataset,
            "split": i.key.split,
            "width": i.width,
            "n_samples": i.n_samples,
            "n_views": i.key.n_views,
            "dtype": i.key.dtype,
            "bytes": i.stored_bytes,
            "complete": i.complete,
            "id": i.key.id,
            "created_at": i.created_at,
            "layer_width": i.layer_width,
            "gathered": i.gathered,
        }
        for i in features.catalogue()
    ]
    return pa.Table.from_pylist(rows, schema=REPRESENTATIONS)


def connect(features: FeatureStore, results: ResultStore) -> Any:
    """Return an in-memory DuckDB connection with the views ``representations``, ``probes`` and ``cka``.

    Results are read lazily from the files, only the columns a query needs. A job that two batches hold (two studies at
    once, say) is shown once. The connection can't touch files: external access is off and locked.
    """
    import duckdb

    con = duckdb.connect(":memory:", config={"enable_external_access": "false", "python_enable_replacements": "false"})
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
