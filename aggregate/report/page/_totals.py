"""What a report is about, in numbers. Pure (no I/O)."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from aggregate.report._content import ReportInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """One number under the title."""

    name: str
    """What is counted, in the number that it has."""
    value: str
    """How many."""


def totals(report: ReportInput) -> tuple[Total, ...]:
    """Return how many models, layers, data sets, probes and CKA values a report is about, and how much failed."""
    tables = [t for t in (report.probes, report.cka) if t is not None]
    counts = [
        (_distinct(tables, ["model"]), "model", "models"),
        (_distinct(tables, ["model", "layer"]), "layer", "layers"),
        (_distinct(tables, ["dataset"]), "data set", "data sets"),
        (0 if report.probes is None else report.probes.num_rows, "probe", "probes"),
        (0 if report.cka is None else report.cka.num_rows, "CKA value", "CKA values"),
    ]
    counts.append((len(report.failures), "failure", "failures"))
    return tuple(Total(name=one if n == 1 else many, value=f"{n:,}") for n, one, many in counts if n)


def _distinct(tables: list[pa.Table], columns: list[str]) -> int:
    if not tables:
        return 0
    names = pa.concat_tables(
        [t.select(columns).group_by(columns).aggregate([]) for t in tables], promote_options="default"
    )
    if len(columns) == 1:
        return len(pc.unique(names[columns[0]]))
    return names.group_by(columns).aggregate([]).num_rows
