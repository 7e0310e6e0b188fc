"""What a store has measured, read once for all recipes: curves of every cell, and which sizes have class lists. Pure.

The tables are the views `probes` and `cka`, in memory.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._curves import curves
from aggregate._runs import CELL_TYPES, Floats, Integers, Measure, read_runs
from aggregate.measured import CellKey


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCurve:
    """One curve of a store: mean and spread over seeds (over pairs of seeds) at each measured size."""

    key: CellKey
    """What was measured; the protocol of CKA is its estimator, None for the biased one."""
    size: Integers
    """Neurons, rising, shape (m,); sizes with an undefined value are left out."""
    mean: Floats
    """Shape (m,)."""
    std: Floats
    """Standard deviation, ddof 0, shape (m,)."""
    n_seeds: Integers
    """Distinct seeds, shape (m,)."""
    whole: float
    """T(whole); NaN where it is unknown."""
    n_values: Mapping[int, int]
    """Values (seeds, or pairs) at each size, undefined ones among them."""

    @property
    def has_spread(self) -> bool:
        """Whether some size has more than one value."""
        return max(self.n_values.values(), default=0) > 1


class MeasuredCells:
    """Curves of all cells of a store, by measure; made once, asked by every recipe."""

    def __init__(self, probes: pa.Table | None, cka: pa.Table | None) -> None:
        """Keep the tables; nothing is read before it is asked for.

        Parameters
        ----------
        probes
            View `probes`, or None. Class heat-maps and inequality need its column `class_accuracy`.
        cka
            View `cka`, or None.
        """
        self.probes = probes if probes is not None and probes.num_rows else None
        self.cka = cka if cka is not None and cka.num_rows else None

    @cached_property
    def accuracy(self) -> tuple[CellCurve, ...]:
        """Curves of accuracy, in order of names."""
        return () if self.probes is None else read_curves(self.probes, measure="accuracy")

    @cached_property
    def part_whole(self) -> tuple[CellCurve, ...]:
        """Curves of CKA of a part and the whole."""
        return () if self.cka is None else read_curves(self.cka, measure="cka")

    @cached_property
    def pairs(self) -> tuple[CellCurve, ...]:
        """Curves of CKA of two parts."""
        return () if self.cka is None else read_curves(self.cka, measure="cka_pair")

    def of(self, measure: Measure) -> tuple[CellCurve, ...]:
        """Return the curves of a measure."""
        if measure == "accuracy":
            return self.accuracy
        return self.part_whole if measure == "cka" else self.pairs

    @property
    def has_class_lists(self) -> bool:
        """Whether the table of probes has a column of class accuracies at all."""
        return self.probes is not None and "class_accuracy" in self.probes.column_names

    @cached_property
    def class_values(self) -> Mapping[CellKey, Mapping[int, int]]:
        """Seeds with class accuracies at each size of each cell."""
        if self.probes is None or not self.has_class_lists:
            return {}
        names = [*CELL_TYPES, "n_neurons"]
        rows = self.probes.filter(pc.is_valid(self.probes["class_accuracy"])).select([*names, "seed"])
        counted = rows.group_by(names).aggregate([("seed", "count_distinct")]).to_pylist()
        found: dict[CellKey, dict[int, int]] = {}
        for row in counted:
            key = CellKey(**{name: row[name] for name in CELL_TYPES})
            found.setdefault(key, {})[row["n_neurons"]] = row["seed_count_distinct"]
        return found

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the models that have results, sorted."""
        return self._names("model")

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets that have results, sorted."""
        return self._names("dataset")

    def _names(self, column: str) -> tuple[str, ...]:
        found: set[str] = set()
        for table in (self.probes, self.cka):
            if table is not None:
                found |= {name for name in table[column].unique().to_pylist() if name is not None}
        return tuple(sorted(found))

    def layers(self, model: str) -> tuple[str, ...]:
        """Return the layers of a model that have results, in natural order of names, the penultimate last."""
        found = {c.key.layer for m in ("accuracy", "cka", "cka_pair") for c in self.of(m) if c.key.model == model}
        return tuple(sorted((name for name in found if name is not None), key=_natural))

    def n_test(self, keys: list[CellKey]) -> dict[str, tuple[int, ...]]:
        """Return the test samples of each data set among the cells of accuracy, by name of the data set."""
        if self.probes is None or "n_test" not in self.probes.column_names:
            return {}
        wanted = {(key.model, key.dataset, key.test_id) for key in keys}
        names = ["model", "dataset", "test_id", "n_test"]
        rows = self.probes.select(names).group_by(names).aggregate([]).to_pylist()
        found: dict[str, set[int]] = {}
        for row in rows:
            if row["n_test"] is not None and (row["model"], row["dataset"], row["test_id"]) in wanted:
                found.setdefault(row["dataset"], set()).add(row["n_test"])
        return {dataset: tuple(sorted(sizes)) for dataset, sizes in sorted(found.items())}


def read_curves(table: pa.Table, *, measure: Measure) -> tuple[CellCurve, ...]:
    """Read the curve of every cell of one measure, in order of names.

    Parameters
    ----------
    table
        View `probes` (for `accuracy`) or `cka` (for `cka` and `cka_pair`).

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    runs = read_runs(table, measure=measure)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    bounds = curve.cell.searchsorted(np.arange(runs.keys.num_rows + 1))
    starts = np.flatnonzero((np.diff(runs.cell, prepend=-1) != 0) | (np.diff(runs.size, prepend=-1) != 0))
    counts = np.diff(starts, append=runs.cell.size)
    values: dict[int, dict[int, int]] = {}
    for cell, size, n in zip(runs.cell[starts].tolist(), runs.size[starts].tolist(), counts.tolist(), strict=True):
        values.setdefault(cell, {})[size] = n
    found = []
    for cell, key in enumerate(runs.keys.to_pylist()):
        part = slice(bounds[cell], bounds[cell + 1])
        found.append(
            CellCurve(
                key=CellKey(**key),
                size=curve.size[part],
                mean=curve.mean[part],
                std=curve.std[part],
                n_seeds=curve.n_seeds[part],
                whole=float(curve.whole[cell]),
                n_values=values.get(cell, {}),
            )
        )
    return tuple(found)


def _natural(name: str) -> tuple[bool, list[tuple[bool, int, str]]]:
    """Sort `layer2` before `layer10`, and the penultimate layer last."""
    parts = re.findall(r"\d+|\D+", name)
    return name == "penultimate", [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts]
