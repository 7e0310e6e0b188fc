"""The fidelity table as Markdown for people, as CSV and JSON for machines. Pure (no I/O)."""

import json
from dataclasses import asdict
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from aggregate._fidelity_markdown import markdown
from aggregate._text_table import csv_text
from aggregate.errors import InvalidOption
from aggregate.fidelity import NOTES
from aggregate.fidelity_summary import FidelitySummary, fidelity_summary
from aggregate.published import deviations, sources
from store.errors import UnknownName

FidelityFormat: TypeAlias = Literal["md", "csv", "json"]
FORMATS: Final = ("md", "csv", "json")

PARTS: Final[dict[str, tuple[str, ...]]] = {
    "table1": ("table1", "imagenet", "redundancy"),
    "accuracy": ("accuracy", "spread", "read_off"),
    "cka": ("cka_part_whole", "cka_pair"),
    "claims": (),
}
"""What `only` may name, and which tables that is; the sentences have no rows."""


def fidelity_text(table: pa.Table, fmt: FidelityFormat = "md", *, only: str | None = None) -> str:
    """Write the table of `fidelity`.

    `md` has a summary, the sentences of the paper with their verdicts, then table by table; curves are one line each.
    `csv` has a line for every row, deviations joined by spaces; for `only="claims"` a line for every sentence. `json`
    has all: summary, claims, rows, notes, deviations and sources.

    Parameters
    ----------
    table
        As `aggregate.fidelity` returns it.
    fmt
        `md`, `csv` or `json`.
    only
        `table1`, `accuracy`, `cka` or `claims`; None for all of them.

    Raises
    ------
    InvalidOption
        If the format is unknown.
    store.errors.UnknownName
        If `only` is.
    InvalidTable
        If a column is missing.
    """
    if fmt not in FORMATS:
        raise InvalidOption(f"fmt must be among {', '.join(FORMATS)}, got {fmt!r}")
    if only is not None and only not in PARTS:
        raise UnknownName.among("part of the fidelity table", only, PARTS)
    names = PARTS[only] if only else tuple(name for group in PARTS.values() for name in group)
    summary = fidelity_summary(table)
    rows = table.filter(pc.is_in(table["table"], pa.array(names, pa.string())))
    with_claims = only in (None, "claims")
    if fmt == "md":
        return markdown(summary, rows.to_pylist(), with_claims=with_claims, only=only)
    if fmt == "csv":
        return _csv(_claims_table(summary) if only == "claims" else rows)
    return _json(summary, rows, with_claims=with_claims)


def _claims_table(summary: FidelitySummary) -> pa.Table:
    names = ("id", "sentence", "where", "reading", "verdict", "counts", "evidence", "deviations")
    columns = [{name: getattr(claim, name) for name in names} for claim in summary.claims]
    kinds = [(name, pa.list_(pa.string()) if name == "deviations" else pa.string()) for name in names]
    return pa.Table.from_pylist(columns, pa.schema(kinds))


def _csv(table: pa.Table) -> str:
    joined = pc.binary_join(table["deviations"], " ")
    position = table.column_names.index("deviations")
    return csv_text(table.set_column(position, "deviations", joined))


def _json(summary: FidelitySummary, rows: pa.Table, *, with_claims: bool) -> str:
    named = {name for row in rows["deviations"].to_pylist() for name in row}
    document: dict[str, Any] = {
        "summary": list(summary.sentences),
        "tables": [asdict(entry) for entry in summary.tables if entry.name in set(rows["table"].to_pylist())],
        NOTES.decode(): list(summary.notes),
        "numbers": rows.to_pylist(),
    }
    if with_claims:
        named |= {name for claim in summary.claims for name in claim.deviations}
        document["claims"] = [
            asdict(claim) | {"verdict": claim.verdict, "counts": claim.counts, "evidence": claim.evidence}
            for claim in summary.claims
        ]
    document["deviations"] = {
        d.id: {"title": d.title, "paper": d.paper, "released": d.released, "where": d.where}
        for d in deviations()
        if d.id in named
    }
    used = set(rows["source"].to_pylist())
    document["sources"] = {key: s.what + ": " + s.place for key, s in sources().items() if key in used}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
