"""What a finished study is shown as: its DR table and its figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

import aggregate
from drfarm.planning import StudyPlan
from store import InvalidRequest, Store, open_store
from store.schema import CKA, PROBES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    probes, cka = _tables(store)
    test_ids = pa.array({t.test_id for t in plan.targets}, pa.string())
    settings = {(s.train_id, s.test_id, s.label) for t in plan.targets for s in t.settings}
    probes = probes.filter(
        pc.and_(
            pc.is_in(probes["test_id"], test_ids),
            pc.and_(
                pc.is_in(probes["train_id"], pa.array({s[0] for s in settings}, pa.string())),
                pc.is_in(probes["protocol"], pa.array({s[2] for s in settings}, pa.string())),
            ),
        )
    )
    cka = cka.filter(pc.is_in(cka["test_id"], test_ids))
    if not probes.num_rows and not cka.num_rows:
        raise InvalidRequest(
            f"the store {store.url} has no results of study {plan.study.study!r} yet: `drfarm run` it first."
        )
    probes, cka = _named(probes, plan), _named(cka, plan)
    return StudyResults(
        probes=probes, cka=cka, redundancy=aggregate.redundancy(probes, cka, deltas=list(plan.study.deltas))
    )


def store_results(store: Store, deltas: tuple[float, ...]) -> StudyResults:
    """Collect everything in a store."""
    probes, cka = _tables(store)
    if not probes.num_rows and not cka.num_rows:
        raise InvalidRequest(f"the store {store.url} has no results yet: `drfarm run` a study first.")
    return StudyResults(probes=probes, cka=cka, redundancy=aggregate.redundancy(probes, cka, deltas=list(deltas)))


def write_outputs(results: StudyResults, folder: Path) -> list[Path]:
    """Write the DR table as csv, md and tex, and the figures as PNG and PDF; return the files."""
    _make(folder)
    files = []
    for fmt in FORMATS:
        files.append(write_text(folder / f"redundancy.{fmt}", aggregate.redundancy_table(results.redundancy, fmt)))
    return files + write_figures(results, folder)


def write_figures(results: StudyResults, folder: Path) -> list[Path]:
    """Write accuracy and CKA against fraction, as far as there are results; return the files."""
    _make(folder)
    files: list[Path] = []
    for stem, figure in figures(results).items():
        files += aggregate.save_figure(figure, folder / stem)
    return files


def figures(results: StudyResults) -> "dict[str, Figure]":
    """Return the figures that the results have data for, by name."""
    found: dict[str, Figure] = {}
    if results.probes.num_rows:
        found["accuracy"] = aggregate.accuracy_figure(results.probes)
    if results.cka.num_rows:
        found["cka"] = aggregate.cka_figure(results.cka)
    return found


def write_text(file: Path, text: str) -> Path:
    """Write a file at once: a reader sees the old one or the new one."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except OSError as e:
        raise InvalidRequest(f"{file} can't be written: {e.strerror}. Choose another place with -o.") from e
    return file


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InvalidRequest(f"the folder {folder} can't be made: {e.strerror}. Choose another place with -o.") from e


def _tables(store: Store) -> tuple[pa.Table, pa.Table]:
    probes = store.results.table("probes", columns=[c for c in PROBES.names if c not in _WIDE])
    return probes, store.results.table("cka", columns=CKA.names)


def _named(table: pa.Table, plan: StudyPlan) -> pa.Table:
    """Give rows the study's names: another study may have measured the same representation under others."""
    names = {t.test_id: t.names for t in plan.targets}
    test_ids = table["test_id"].to_pylist()
    for column in ("model", "layer", "dataset"):
        values = pa.array([getattr(names[i], column) for i in test_ids], pa.string())
        table = table.set_column(table.schema.get_field_index(column), column, values)
    return table
