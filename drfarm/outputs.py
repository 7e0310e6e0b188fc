"""What a finished study is shown as: its DR table and its figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import aggregate
from aggregate.save import FigureFormat
from drfarm.asking import nothing_measured, nothing_of_study
from drfarm.planning import StudyPlan
from drfarm.targets import Target
from store import InvalidRequest, Store, open_store
from store.schema import CKA, PROBES
from store.whole_file import whole_file

FORMATS: tuple[aggregate.Format, ...] = ("csv", "md", "tex")
_WIDE = ("class_accuracy", "predicted_count")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    """The results that belong to a study, under the study's own names."""

    probes: pa.Table
    """Probe rows, without the per-class lists."""
    cka: pa.Table
    """CKA rows."""
    redundancy: pa.Table
    """DR of every cell, for the study's thresholds and all rules."""


def study_results(plan: StudyPlan) -> StudyResults:
    """Collect what the store has of a study: all results on its representations under its protocols.

    Raises
    ------
    InvalidRequest
        If there is nothing yet.
    """
    store = open_store(plan.store_url)
    probes, cka = rows_of_study(plan, *_tables(store))
    if not probes.num_rows and not cka.num_rows:
        raise InvalidRequest(nothing_of_study(store, plan.study.study))
    return StudyResults(
        probes=probes, cka=cka, redundancy=aggregate.redundancy(probes, cka, deltas=list(plan.study.deltas))
    )


def rows_of_study(plan: StudyPlan, probes: pa.Table, cka: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Keep what belongs to a study, under its own names; tables have no list columns (Arrow joins none)."""
    probes = _named(
        probes,
        {
            _Row(*_names(t), test_id=s.test_id, train_id=s.train_id, solver=s.solver, protocol=s.label)
            for t in plan.targets
            for s in t.settings
        },
        by=["test_id", "train_id", "solver", "protocol"],
    )
    return probes, _named(cka, {_Row(*_names(t), test_id=t.test_id) for t in plan.targets}, by=["test_id"])


def store_results(store: Store, deltas: tuple[float, ...]) -> StudyResults:
    """Collect everything in a store."""
    probes, cka = _tables(store)
    if not probes.num_rows and not cka.num_rows:
        raise InvalidRequest(nothing_measured(store) or f"{store.url}: no result of the store can be shown.")
    return StudyResults(probes=probes, cka=cka, redundancy=aggregate.redundancy(probes, cka, deltas=list(deltas)))


def write_outputs(results: StudyResults, folder: Path) -> list[Path]:
    """Write the DR table as csv, md and tex, and the figures as PNG and PDF; return the files."""
    make_folder(folder)
    files = []
    for fmt in FORMATS:
        files.append(write_text(folder / f"redundancy.{fmt}", aggregate.redundancy_table(results.redundancy, fmt)))
    return files + write_figures(results, folder)


def write_figures(results: StudyResults, folder: Path, formats: Sequence[FigureFormat] = ("png", "pdf")) -> list[Path]:
    """Write accuracy and CKA against fraction, as far as there are results; return the files."""
    make_folder(folder)
    files: list[Path] = []
    for stem, figure in figures(results).items():
        files += aggregate.save_figure(figure, folder / stem, formats)
    return files


def figures(results: StudyResults) -> dict[str, Any]:
    """Return the figures (matplotlib's) that the results have data for, by name."""
    found: dict[str, Any] = {}
    if results.probes.num_rows:
        found["accuracy"] = aggregate.accuracy_figure(results.probes)
        if len(results.probes["method"].unique()) > 1:
            found["methods"] = aggregate.methods_figure(results.probes)
    if results.cka.num_rows:
        found["cka"] = aggregate.cka_figure(results.cka)
    return found


def write_text(file: Path, text: str) -> Path:
    """Write a text file at once: a reader sees the old one or the new one."""
    return write_bytes(file, text.encode())


def write_bytes(file: Path, data: bytes) -> Path:
    """Write a file at once: a reader sees the old one or the new one."""
    try:
        with whole_file(file) as partial:
            partial.write_bytes(data)
    except OSError as e:
        raise InvalidRequest(f"{file} can't be written: {e.strerror}. Choose another place with -o.") from e
    return file


def make_folder(folder: Path) -> None:
    """Make a folder that files go to; raise `InvalidRequest` where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InvalidRequest(f"the folder {folder} can't be made: {e.strerror}. Choose another place with -o.") from e


def _tables(store: Store) -> tuple[pa.Table, pa.Table]:
    probes = store.results.table("probes", columns=[c for c in PROBES.names if c not in _WIDE])
    return probes, store.results.table("cka", columns=CKA.names)


class _Row(NamedTuple):
    """Names of a target, and what its results are known by."""

    model: str
    layer: str
    dataset: str
    test_id: str
    train_id: str | None = None
    solver: str | None = None
    protocol: str | None = None


def _names(target: Target) -> tuple[str, str, str]:
    return target.names.model, target.names.layer, target.names.dataset


def _named(table: pa.Table, targets: set[_Row], *, by: list[str]) -> pa.Table:
    """Keep what belongs to targets, under the study's names.

    Another study may have measured the same representation under other names, and two targets may share results: two
    data sets with one test split, say. Then they are there for each.
    """
    columns = ["model", "layer", "dataset", *by]
    names = pa.table({c: pa.array([getattr(t, c) for t in sorted(targets)], pa.string()) for c in columns})
    found = table.drop_columns(columns[:3]).join(names, keys=by, join_type="inner")
    return found.select(table.column_names)
