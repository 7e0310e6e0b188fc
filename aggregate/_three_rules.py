"""The three rules of DR side by side, with what the grid and the seeds leave open. Pure (no I/O)."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from aggregate._grid import MEASURE_ORDER, MODEL_HEAD, measure_text
from aggregate._labels import IdPair, id_label, id_pair, shorten, varying
from aggregate._redundancy import REDUNDANCY_SCHEMA, RULES
from aggregate._table_notes import (
    AMBIGUOUS,
    RULE_MEANINGS,
    constant_notes,
    digits_of,
    estimator_notes,
    grid_notes,
    undefined_notes,
    whole_notes,
)
from aggregate._text_table import Column, Format, TextTable, check_format, csv_text, write_text_table
from aggregate.errors import InvalidOption
from aggregate.table import check_redundancy

_KEYS: Final = (
    "model", "layer", "dataset", "measure", "solver", "protocol", "method", "width", "train_id", "test_id", "delta",
)  # fmt: skip
_OF_RULE: Final = ("dr", "n_neurons", "ci_low", "ci_high")
_SHARED: Final = ("bracket_low", "bracket_high", "n_seeds", "censored", "whole_method", "n_undefined")

THREE_RULES_SCHEMA: Final = pa.schema(
    [
        *(REDUNDANCY_SCHEMA.field(name) for name in _KEYS),
        *(pa.field(f"{name}_{rule}", REDUNDANCY_SCHEMA.field(name).type) for rule in RULES for name in _OF_RULE),
        *(REDUNDANCY_SCHEMA.field(name) for name in _SHARED),
    ]
)
"""One row per cell and delta: `dr`, size and interval of each rule, and what all rules share."""


def three_rules(redundancy: pa.Table) -> pa.Table:
    """Put the rules of the view `redundancy` side by side.

    Parameters
    ----------
    redundancy
        As `aggregate.redundancy` returns it for all three rules.

    Returns
    -------
    pa.Table
        `THREE_RULES_SCHEMA`, one row per (cell, delta) in the order in which they come.

    Raises
    ------
    InvalidTable
        If a column is missing.
    InvalidOption
        If a rule is missing.
    """
    check_redundancy(redundancy)
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    seen: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for row in redundancy.to_pylist():
        key = tuple(row[name] for name in _KEYS)
        found = merged.setdefault(key, {name: row[name] for name in (*_KEYS, *_SHARED)})
        found |= {f"{name}_{row['rule']}": row[name] for name in _OF_RULE}
        seen[key].add(row["rule"])
    absent = {rule for rules in seen.values() for rule in set(RULES) - rules}
    if absent:
        raise InvalidOption(
            f"three rules side by side need rows of {', '.join(RULES)} for every cell; missing: "
            f"{', '.join(rule for rule in RULES if rule in absent)}. Compute the table with all of them"
        )
    return pa.Table.from_pylist(list(merged.values()), schema=THREE_RULES_SCHEMA)


def three_rules_table(redundancy: pa.Table, fmt: Format) -> str:
    """Write the three rules side by side: a row per cell and delta.

    `csv` is `three_rules`. `md` and `tex` have DR by each rule, the bracket that the grid leaves open, the interval
    over seeds of the strict rule, and the seeds; notes below say how coarse the grid is, and in how many rows the rules
    disagree. A cell where no size reaches delta reads `censored`, and its bracket is what is known.

    Parameters
    ----------
    redundancy
        As `aggregate.redundancy` returns it for all three rules.
    fmt
        `csv`, `md` or `tex` (needs the LaTeX packages booktabs and inputenc utf8).

    Raises
    ------
    InvalidOption
        If the format is unknown, or a rule is missing.
    InvalidTable
        If a column is missing.
    """
    check_format(fmt)
    table = three_rules(redundancy)
    return csv_text(table) if fmt == "csv" else write_text_table(_layout(table.to_pylist()), fmt)


def _layout(rows: list[dict[str, Any]]) -> TextTable:
    rows = sorted(rows, key=_order)
    named = varying((row for row in rows if row["measure"] == "accuracy"), ("solver", "protocol"))
    methods = varying(rows, ("method",))
    digits = digits_of(rows)
    short = shorten(identity for row in rows for identity in id_pair(row))
    rivals: dict[tuple[Any, ...], set[IdPair]] = defaultdict(set)
    for row in rows:
        rivals[_name(row)].add(id_pair(row))
    leads = (MODEL_HEAD, *methods, "dataset", "measure", "δ")
    lines = [
        (
            ", ".join(
                filter(
                    None,
                    [
                        f"{row['model']}/{row['layer']} ({row['width']})",
                        id_label(id_pair(row), rivals[_name(row)], short),
                    ],
                )
            ),
            *(str(row[name]) for name in methods),
            row["dataset"] or "",
            measure_text(row, named),
            f"{row['delta']:g}",
            *(_value(row, rule, digits) for rule in RULES),
            _bracket(row, digits),
            _interval(row, digits),
            str(row["n_seeds"]) if row["n_seeds"] else "",
        )
        for row in rows
    ]
    columns = [Column(group="DR", head=rule) for rule in RULES]
    columns += [Column(group="", head=head) for head in ("bracket", "interval", "seeds")]
    ambiguous = any(len(pairs) > 1 for pairs in rivals.values())
    notes = (*_notes(rows), *constant_notes(rows, {*named, *methods}), *([AMBIGUOUS] if ambiguous else []))
    return TextTable(leads=leads, columns=tuple(columns), rows=tuple(lines), notes=notes)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("model", "layer", "dataset", "solver", "protocol", "method", "train_id", "test_id")
    texts = {name: str(row[name] or "") for name in names}
    return (
        texts["model"], texts["layer"], row["width"], texts["dataset"], MEASURE_ORDER[row["measure"]], texts["solver"],
        texts["protocol"], texts["method"], texts["train_id"], texts["test_id"], row["delta"],
    )  # fmt: skip


def _name(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a reader knows a row by, ids aside."""
    return tuple(row[name] for name in _KEYS if name not in ("train_id", "test_id"))


def _value(row: Mapping[str, Any], rule: str, digits: int) -> str:
    if not row["censored"]:
        return f"{row[f'dr_{rule}']:.{digits}f}"
    if row["bracket_high"] is None:
        return "—"
    return "never" if row["bracket_high"] == 0 else "censored"


def _bracket(row: Mapping[str, Any], digits: int) -> str:
    if row["bracket_high"] is None or row["bracket_high"] == 0:
        return "—"
    return f"[{row['bracket_low']:.{digits}f}, {row['bracket_high']:.{digits}f})"


def _interval(row: Mapping[str, Any], digits: int) -> str:
    if row["ci_low_strict"] is None:
        return "—"
    return f"{row['ci_low_strict']:.{digits}f}–{row['ci_high_strict']:.{digits}f}"


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    notes = [f"DR ({rule}): {RULE_MEANINGS[rule]}." for rule in RULES]
    notes += [f"Bracket {note}" for note in grid_notes(rows)]
    ratios = [row for row in rows if not row["censored"]]
    if ratios:
        differ = sum(row["dr_strict"] != row["dr_nearest"] for row in ratios)
        outside = sum(not row["bracket_low"] <= row["dr_nearest"] < row["bracket_high"] for row in ratios)
        notes.append(
            f"strict and nearest differ in {differ} of {len(ratios)} rows; in {outside} nearest lies outside the "
            "bracket of Eq. 1: it took a size that does not reach δ, or passed over a smaller one that does."
        )
    notes.append(
        "Interval: over seeds, for the DR of an infinitely fine grid; it holds the bracket, which seeds can't narrow, "
        "and is that of the strict rule (nearest has none of its own). A dash: fewer than two seeds ran."
    )
    if any(row["censored"] and row["bracket_high"] for row in rows):
        notes.append("censored: no measured size reaches δ; DR lies below the upper end of the bracket.")
    if any(row["censored"] and row["bracket_high"] == 0 for row in rows):
        notes.append("never: all d dimensions of the method together stay below δ times the whole layer.")
    if any(row["censored"] and row["bracket_high"] is None for row in rows):
        notes.append("— as DR: the whole layer was not measured, or has accuracy 0; there is no ratio.")
    return [*notes, *whole_notes(rows), *undefined_notes(rows), *estimator_notes(rows)]
