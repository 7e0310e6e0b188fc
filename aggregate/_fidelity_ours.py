"""What a store itself measured of the paper's networks: cells by role, never two of them mixed. Pure (no I/O)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._curves import curves
from aggregate._fidelity_rows import DELTA
from aggregate._redundancy import redundancy
from aggregate._runs import CELL_TYPES, Measure, read_runs
from aggregate.errors import InvalidOption
from aggregate.published import published_accuracies
from aggregate.recipes.cast import DATASETS, MODELS
from store.errors import UnknownName

IMPORTED: Final = "imported"
"""Protocol of accuracies that were measured elsewhere: the authors' own, say."""
LAYER: Final = "penultimate"
"""The layer that every published number is of."""


class Point(NamedTuple):
    """One measured size."""

    mean: float
    """Over seeds, or pairs of them."""
    std: float
    """Standard deviation, ddof 0."""
    n_seeds: int
    """Distinct seeds."""


class Rules(NamedTuple):
    """DR of a cell; None where no measured size reaches delta or the whole layer is missing."""

    nearest: float | None
    """By the authors' rule, on the sizes that they measured."""
    strict: float | None
    """By Eq. 1, on all measured sizes."""
    n_seeds: int | None
    """Seeds behind Eq. 1's k*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OurCell:
    """One curve of the store that a published one is held against."""

    key: dict[str, Any]
    """The cell: names, solver, protocol, method, ids, width."""
    points: dict[int, Point]
    """Size to what was measured."""
    rules: Rules | None
    """DR at the published level; None for CKA."""

    @property
    def order(self) -> tuple[bool, tuple[str, ...]]:
        """Sort the paper's own solver first."""
        return self.key["solver"] != "sgd", tuple(str(value) for value in self.key.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """The curves of a store by (measure, role of the model, role of the data set, method)."""

    cells: dict[tuple[str, str, str, str], list[OurCell]]
    """The method is that of the paper: `pca` holds its variants too."""
    notes: tuple[str, ...]
    """What was left out, and why."""


class _Roles(NamedTuple):
    models: dict[str, str]
    datasets: dict[str, str]


def our_cells(probes: pa.Table | None, cka: pa.Table | None, roles: Mapping[str, str]) -> Ours:
    """Read the curves of the paper's networks out of the views `probes` and `cka`."""
    chosen = _chosen(roles)
    _check_names(chosen, [table for table in (probes, cka) if table is not None])
    cells: defaultdict[tuple[str, str, str, str], list[OurCell]] = defaultdict(list)
    notes: list[str] = []
    sources: tuple[tuple[Measure, pa.Table | None], ...] = (("accuracy", probes), ("cka", cka), ("cka_pair", cka))
    for measure, table in sources:
        if table is None or not table.num_rows:
            continue
        mine, told = _of_the_paper(table, measure, chosen)
        notes += told
        for cell in _read(mine, measure, chosen):
            model, dataset = _role(cell.key, chosen)
            cells[measure, model, dataset, str(cell.key["method"]).split(":", 1)[0]].append(cell)
    for found in cells.values():
        found.sort(key=lambda cell: cell.order)
    return Ours(cells=dict(cells), notes=tuple(dict.fromkeys(notes)))


def _chosen(roles: Mapping[str, str]) -> _Roles:
    """Return a store's name to role, for models and data sets, of those that were told apart by hand."""
    for role in roles:
        if role not in MODELS and role not in DATASETS:
            raise UnknownName.among("role", role, [*MODELS, *DATASETS], where="a network or data set of the paper")
    for kind in (MODELS, DATASETS):
        names = [name for role, name in roles.items() if role in kind]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise InvalidOption(f"a name of the store has one role, got several for {', '.join(doubled)}")
    return _Roles(
        models={name: role for role, name in roles.items() if role in MODELS},
        datasets={name: role for role, name in roles.items() if role in DATASETS},
    )


def _check_names(chosen: _Roles, tables: list[pa.Table]) -> None:
    for column, names in (("model", chosen.models), ("dataset", chosen.datasets)):
        there = sorted({str(name) for table in tables for name in pc.unique(table[column]).to_pylist()})
        for name in names:
            if name not in there:
                raise UnknownName.among(column, name, there, where="the results that were given")


def _role(key: Mapping[str, Any], chosen: _Roles) -> tuple[str, str]:
    """Return the roles of a cell's model and data set; empty for one that has none.

    A role that was given to a name of the store is not taken by another name.
    """
    model = next((role for role, cast in MODELS.items() if key["model"] in cast.names), "")
    dataset = next((role for role, cast in DATASETS.items() if key["dataset"] in cast.names), "")
    model = "" if model in chosen.models.values() else model
    dataset = "" if dataset in chosen.datasets.values() else dataset
    return chosen.models.get(key["model"], model), chosen.datasets.get(key["dataset"], dataset)


def _of_the_paper(table: pa.Table, measure: Measure, chosen: _Roles) -> tuple[pa.Table, list[str]]:
    """Keep the rows of the paper's networks and data sets that were measured here, at the paper's width."""
    names = ["model", "dataset", "layer", "width"]
    notes: list[str] = []
    if measure == "accuracy":
        n_rows = table.num_rows
        table = table.filter(pc.fill_null(pc.not_equal(table["protocol"], IMPORTED), fill_value=True))
        if table.num_rows < n_rows:
            notes.append(
                f"{n_rows - table.num_rows:,} imported accuracies are not compared: they were measured elsewhere."
            )
    else:
        kind = "part_whole" if measure == "cka" else "pair"
        table = table.filter(pc.equal(table["kind"], kind))
    keep, strangers = [], set()
    for group in table.select(names).group_by(names).aggregate([]).to_pylist():
        model, dataset = _role(group, chosen)
        if not model:
            strangers.add(str(group["model"]))
        elif group["layer"] != LAYER or not dataset:
            continue
        elif group["width"] != MODELS[model].width:
            notes.append(
                f"{group['model']} is not compared: its layer has {group['width']} neurons, that of the paper's "
                f"{model} has {MODELS[model].width}."
            )
        else:
            keep.append(group)
    if strangers:
        notes.append(
            f"None of the paper's networks: {', '.join(sorted(strangers))}. One that is may be named as such: "
            f"--as ROLE=NAME, with a role such as {next(iter(MODELS))}."
        )
    wanted = pa.Table.from_pylist(keep, table.select(names).schema)
    index = pa.array(np.arange(table.num_rows))
    matched = table.select(names).append_column("_row", index).join(wanted, keys=names, join_type="left semi")
    return table.take(matched["_row"].combine_chunks().sort()), notes


def _read(table: pa.Table, measure: Measure, chosen: _Roles) -> Iterator[OurCell]:
    runs = read_runs(table, measure=measure)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    rules = _rules(table, chosen) if measure == "accuracy" else {}
    bounds = curve.cell.searchsorted(range(runs.keys.num_rows + 1))
    for cell, key in enumerate(runs.keys.to_pylist()):
        part = range(int(bounds[cell]), int(bounds[cell + 1]))
        points = {
            int(curve.size[i]): Point(float(curve.mean[i]), float(curve.std[i]), int(curve.n_seeds[i])) for i in part
        }
        yield OurCell(key=key, points=points, rules=rules.get(_identity(key)))


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in CELL_TYPES)


def _rules(probes: pa.Table, chosen: _Roles) -> dict[tuple[Any, ...], Rules]:
    """Compute DR of every cell: Eq. 1 on what is measured, the authors' rule on the sizes that they measured.

    Their rule depends on the grid: with every size measured it is the size nearest to the crossing, which no grid of
    theirs has.
    """
    strict = redundancy(probes, None, deltas=[DELTA], rules=["strict"]).to_pylist()
    nearest = redundancy(_on_their_sizes(probes, chosen), None, deltas=[DELTA], rules=["nearest"]).to_pylist()
    theirs = {_identity(row): row["dr"] for row in nearest}
    return {
        _identity(row): Rules(nearest=theirs.get(_identity(row)), strict=row["dr"], n_seeds=row["n_seeds"])
        for row in strict
    }


def _on_their_sizes(probes: pa.Table, chosen: _Roles) -> pa.Table:
    """Keep the sizes that the authors print for a network; all sizes where none of its accuracies is carried."""
    sizes: defaultdict[str, set[int]] = defaultdict(set)
    for row in published_accuracies().to_pylist():
        sizes[row["model"]].add(row["n_neurons"])
    names = ["model", "dataset", "n_neurons"]
    groups = probes.select(names).group_by(names).aggregate([]).to_pylist()
    keep = [g for g in groups if g["n_neurons"] in sizes.get(_role(g, chosen)[0], {g["n_neurons"]})]
    wanted = pa.Table.from_pylist(keep, probes.select(names).schema)
    index = pa.array(np.arange(probes.num_rows))
    matched = probes.select(names).append_column("_row", index).join(wanted, keys=names, join_type="left semi")
    return probes.take(matched["_row"].combine_chunks().sort())
