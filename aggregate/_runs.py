"""From a results table to sorted arrays: one row per (cell, size, seed or pair of seeds), each counted once.

A *cell* is what one redundancy curve is made of: model, layer, dataset, solver, protocol, method, width, train_id and
test_id all equal. The ids are content addresses of the representations, so two transforms, two checkpoints or two
protocols under one name are two cells and are never averaged.

Two kinds of rows need a word. Probes of random labels (protocols that end with `+random-labels`) are controls: they are
no measure of the layer and are left out. CKA has several estimators: those other than the biased one of the paper are
named where probes have their protocol, so that they are cells of their own.

Strings are turned into ranks (Arrow dictionaries) and ranks into one integer per row, so a million rows are one integer
sort; the order of the input rows cannot matter afterwards, not even in the last bit of a sum.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aggregate.errors import ConflictingResults, InvalidTable

Measure: TypeAlias = Literal["accuracy", "cka", "cka_pair"]
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

CELL_TYPES: Final[dict[str, pa.DataType]] = {
    "model": pa.string(),
    "layer": pa.string(),
    "dataset": pa.string(),
    "solver": pa.string(),
    "protocol": pa.string(),
    "method": pa.string(),
    "train_id": pa.string(),
    "test_id": pa.string(),
    "width": pa.int64(),
}
_ONLY_PROBES = ("solver", "protocol", "train_id")

CONTROL: Final = "+random-labels"
"""End of the protocol of a control: a probe of labels drawn at random."""
_DEFAULT_ESTIMATOR: Final = "biased"

# Two routes to one job (a whole curve at once, one size at a time) may break a near-tie of two classes differently, and
# exact repeats are common. What is further apart than this was not measured under one identity.
CONFLICT = 0.02

# Above this, the product of cardinalities could leave int64.
_DENSIFY = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Measured values sorted by (cell, size, seed, seed_b), each such combination once. Made by `read_runs` only."""

    keys: pa.Table
    """One row per cell, in the order of the names, columns as in `CELL_TYPES`; null where the measure has no such. The
    protocol of CKA is its estimator, null for the biased one."""
    cell: Integers
    """Row of `keys`, shape (n,), non-decreasing."""
    size: Integers
    """Neurons in the subset, shape (n,), 1 <= size <= width."""
    seed: Integers
    """Rank of the seed among all seeds of the table, shape (n,)."""
    seeds: Integers
    """Seed that each rank stands for, shape (n_ranks,), rising; the first entry stands for null."""
    seed_b: Integers
    """Rank of the second seed, shape (n,), larger than `seed`; -1 where the measure has no second subset."""
    value: Floats
    """Accuracy or CKA, shape (n,); NaN where it is undefined."""

    @property
    def width(self) -> Integers:
        """Width of the layer of each cell, shape (n_cells,)."""
        return _integers(self.keys["width"])


def read_runs(table: pa.Table, *, measure: Measure) -> Runs:
    """Read the rows of one measure out of a `probes` or `cka` table.

    Only the columns that are needed are touched; list columns never are. Rows that repeat a (cell, size, seed) count
    once; where their values differ by rounding the middle of the extremes stands for them. Null, NaN and infinite
    values become NaN, and one such repeat makes the value NaN. Controls are left out.

    Parameters
    ----------
    table
        View `probes` (for `accuracy`) or `cka` (for `cka` and `cka_pair`), in any row order.

    Raises
    ------
    InvalidTable
        If a column is missing, a size lies outside 1 .. width, or a pair is not a pair.
    ConflictingResults
        If repeats of one row differ by more than 0.02.
    """
    value_name = "accuracy" if measure == "accuracy" else "value"
    if measure != "accuracy":
        table = _estimator_as_protocol(table)
    names = [name for name in CELL_TYPES if measure == "accuracy" or name not in _ONLY_PROBES or name == "protocol"]
    needed = [*names, "n_neurons", "seed", value_name]
    if measure != "accuracy":
        needed.append("kind")
    if measure == "cka_pair":
        needed.append("seed_b")
    missing = sorted(set(needed) - set(table.column_names))
    if missing:
        view = "probes" if measure == "accuracy" else "cka"
        raise InvalidTable(
            f"{measure} needs the columns {', '.join(needed)} of the view `{view}`; missing: {', '.join(missing)}. "
            f"Got: {', '.join(table.column_names)}. Select the whole view, or add the columns"
        )
    table = table.select(needed)
    if measure == "accuracy":
        table = table.filter(pc.invert(is_control(table)))
    else:
        table = table.filter(pc.equal(table["kind"], "part_whole" if measure == "cka" else "pair"))
    first, cell = _cells(table, names)
    keys = _key_table(table.select(names).take(pa.array(first)))
    size = _integers(table["n_neurons"])
    _check_sizes(keys, cell, size)
    seed, seed_b, seeds = _seeds(table, pairs=measure == "cka_pair")
    value = table[value_name].cast(pa.float64()).to_numpy()
    value = np.where(np.isfinite(value), value, np.nan)
    return _sorted_once(keys, cell, size, seed, seed_b, seeds, value)


def is_control(probes: pa.Table) -> pa.ChunkedArray:
    """Return which rows of the view `probes` are controls, never null."""
    return pc.fill_null(pc.ends_with(probes["protocol"].cast(pa.string()), CONTROL), fill_value=False)


def _estimator_as_protocol(cka: pa.Table) -> pa.Table:
    """Add the column `protocol`: the estimator, null for the biased one (also: none given, as in older files)."""
    if "estimator" in cka.column_names:
        estimator = cka["estimator"].cast(pa.string())
        biased = pc.equal(estimator, _DEFAULT_ESTIMATOR)
        estimator = pc.if_else(biased, pa.scalar(None, pa.string()), estimator)
    else:
        estimator = pa.nulls(cka.num_rows, pa.string())
    return cka.select([name for name in cka.column_names if name != "protocol"]).append_column("protocol", estimator)


def _cells(table: pa.Table, names: list[str]) -> tuple[Integers, Integers]:
    """Return a row of each cell, shape (n_cells,), and the cell of each row, shape (n,); cells in order of names."""
    code = np.zeros(table.num_rows, dtype=np.int64)
    cardinality = 1
    for name in names:
        ranks, count = _ranks(table[name].cast(CELL_TYPES[name]))
        if cardinality * count > _DENSIFY:
            distinct, code = np.unique(code, return_inverse=True)
            cardinality = distinct.size
        code = code * count + ranks
        cardinality *= count
    _, first, cell = np.unique(code, return_index=True, return_inverse=True)
    return first, cell


def _ranks(column: pa.ChunkedArray) -> tuple[Integers, int]:
    """Return each entry's rank among the sorted distinct values (0 is null), shape (n,), and one above the largest."""
    encoded = column.combine_chunks().dictionary_encode()
    distinct = len(encoded.dictionary)
    rank = np.zeros(distinct + 1, dtype=np.int64)
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(1, distinct + 1)
    # Nulls point at the last entry of `rank`, which stays 0.
    return rank[encoded.indices.fill_null(distinct).to_numpy(zero_copy_only=False)], distinct + 1


def _key_table(keys: pa.Table) -> pa.Table:
    columns = {
        name: keys[name].cast(kind) if name in keys.column_names else pa.nulls(keys.num_rows, kind)
        for name, kind in CELL_TYPES.items()
    }
    return pa.table(columns)


def _integers(column: pa.ChunkedArray) -> Integers:
    return column.cast(pa.int64()).fill_null(-1).to_numpy()


def _check_sizes(keys: pa.Table, cell: Integers, size: Integers) -> None:
    width = _integers(keys["width"])[cell]
    wrong = np.flatnonzero((size < 1) | (size > width))
    if wrong.size:
        row = wrong[0]
        raise InvalidTable(
            f"n_neurons must lie in 1 .. width, got {size[row]} of {width[row]} in {wrong.size} row(s), first for "
            f"{describe_cell(keys, int(cell[row]))}: correct or leave out these rows"
        )


def _seeds(table: pa.Table, *, pairs: bool) -> tuple[Integers, Integers, Integers]:
    """Return the ranks of both seeds, the smaller first, for (a, b) and (b, a) are one pair; and the seed of a rank."""
    if not pairs:
        column = table["seed"].cast(pa.int64())
        seed, _ = _ranks(column)
        return seed, np.full(seed.size, -1, dtype=np.int64), _distinct(column)
    n = table.num_rows
    chunks = [*table["seed"].cast(pa.int64()).chunks, *table["seed_b"].cast(pa.int64()).chunks]
    column = pa.chunked_array(chunks, type=pa.int64())
    both, _ = _ranks(column)
    a, b = both[:n], both[n:]
    wrong = np.flatnonzero((a == b) | (a == 0) | (b == 0))
    if wrong.size:
        row = table.slice(int(wrong[0]), 1).to_pylist()[0]
        raise InvalidTable(
            f"a row of kind `pair` must hold two different seeds, got seed {row['seed']} and seed_b {row['seed_b']} "
            f"for model {row['model']!r}, dataset {row['dataset']!r}, k = {row['n_neurons']} ({wrong.size} such row(s))"
        )
    return np.minimum(a, b), np.maximum(a, b), _distinct(column)


def _distinct(column: pa.ChunkedArray) -> Integers:
    return np.concatenate([[-1], np.sort(pc.unique(column.drop_null()).to_numpy(zero_copy_only=False))]).astype(
        np.int64
    )


def _sorted_once(
    keys: pa.Table,
    cell: Integers,
    size: Integers,
    seed: Integers,
    seed_b: Integers,
    seeds: Integers,
    value: Floats,
) -> Runs:
    order = _order(cell, size, seed, seed_b)
    cell, size, seed, seed_b = (array[order] for array in (cell, size, seed, seed_b))
    value = value[order]
    new = np.ones(cell.size, dtype=np.bool_)
    new[1:] = (np.diff(cell) != 0) | (np.diff(size) != 0) | (np.diff(seed) != 0) | (np.diff(seed_b) != 0)
    if not new.all():
        starts = np.flatnonzero(new)
        low, high = np.minimum.reduceat(value, starts), np.maximum.reduceat(value, starts)
        cell, size, seed, seed_b = (array[starts] for array in (cell, size, seed, seed_b))
        wrong = np.flatnonzero(high - low > CONFLICT)
        if wrong.size:
            row = wrong[0]
            raise ConflictingResults(
                f"one subset must have one result, got {low[row]:.6g} and {high[row]:.6g} at k = {size[row]} of "
                f"{describe_cell(keys, int(cell[row]))} ({wrong.size} such subset(s)): results of different protocols "
                "were stored under one name; remove one, or store them under protocols of their own"
            )
        value = (low + high) / 2
    return Runs(keys=keys, cell=cell, size=size, seed=seed, seeds=seeds, seed_b=seed_b, value=value)


def _order(cell: Integers, size: Integers, seed: Integers, seed_b: Integers) -> Integers:
    """Return the order by (cell, size, seed, seed_b); one integer sort where the product fits, else a lexical one."""
    counts = [int(array.max(initial=0)) + 2 for array in (cell, size, seed, seed_b)]
    if counts[0] * counts[1] * counts[2] * counts[3] >= 2**62:
        return np.lexsort((seed_b, seed, size, cell))
    return np.argsort(((cell * counts[1] + size) * counts[2] + seed) * counts[3] + seed_b + 1, kind="stable")


def describe_cell(keys: pa.Table, cell: int) -> str:
    """Name a cell in an error message: every key that is not null."""
    row = keys.slice(cell, 1).to_pylist()[0]
    return ", ".join(f"{name}={value!r}" for name, value in row.items() if value is not None)
