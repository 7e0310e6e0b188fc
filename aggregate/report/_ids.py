"""Which stored result is behind each measured value: the batch and job ids beside `Runs`. Pure (no I/O)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._runs import CELL_TYPES, Integers, Runs

_SHORT = 8
_BIASED = "biased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Shortened ids of the results of each run, in the order of `Runs`."""

    batch: Integers
    """Position in `batches`, shape (n,); 0 where the table has no batch."""
    batches: tuple[str, ...]
    """First characters of the ids; the first is empty."""
    job: list[str]
    """First characters of the job ids, length n; empty where the table has none."""


def ids_of_runs(table: pa.Table, runs: Runs) -> Ids:
    """Find the result of each run; of repeats, the one whose job id comes first.

    Parameters
    ----------
    table
        The view that `runs` was read from, with or without `batch_id` and `job_id`. Pairs of subsets get no ids.
    """
    rows = _keyed(table)
    names = [name for name in CELL_TYPES if name in rows.column_names]
    cells = pa.table({name: _filled(runs.keys[name]) for name in names} | {"cell": np.arange(runs.keys.num_rows)})
    found = rows.join(cells, keys=names, join_type="inner").sort_by([("job_id", "descending")])
    n_sizes, n_seeds = int(runs.size.max(initial=0)) + 1, runs.seeds.size
    seed = np.searchsorted(runs.seeds, found["seed"].to_numpy())
    theirs = (found["cell"].to_numpy() * n_sizes + found["n_neurons"].to_numpy()) * n_seeds + seed
    ours = (runs.cell * n_sizes + runs.size) * n_seeds + runs.seed
    at = np.searchsorted(ours, theirs)
    # Ascending job ids are written last, so that the first stays.
    batches = found["batch_id"].combine_chunks().dictionary_encode()
    batch = np.zeros(ours.size, dtype=np.int64)
    batch[at] = batches.indices.to_numpy(zero_copy_only=False) + 1
    job = np.full(ours.size, "", dtype=object)
    job[at] = found["job_id"].to_numpy(zero_copy_only=False)
    return Ids(batch=batch, batches=("", *batches.dictionary.to_pylist()), job=job.tolist())


def _keyed(table: pa.Table) -> pa.Table:
    """Return the rows that runs are made of: keys without nulls, and shortened ids."""
    if "kind" in table.column_names:
        table = table.filter(pc.equal(table["kind"], "part_whole"))
    names = [name for name in CELL_TYPES if name in table.column_names]
    columns = {name: _filled(table[name].cast(CELL_TYPES[name])) for name in names}
    if "estimator" in table.column_names:
        estimator = _filled(table["estimator"].cast(pa.string()))
        columns["protocol"] = pc.if_else(pc.equal(estimator, _BIASED), "", estimator)
    columns |= {name: _filled(table[name].cast(pa.int64())) for name in ("n_neurons", "seed")}
    for name in ("batch_id", "job_id"):
        known = name in table.column_names
        ids = _filled(table[name].cast(pa.string())) if known else pa.repeat("", table.num_rows)
        columns[name] = pc.utf8_slice_codeunits(ids, 0, _SHORT)
    return pa.table(columns)


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(column, -1 if pa.types.is_integer(column.type) else "")
