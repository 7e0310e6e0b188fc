"""Lay redundancy rows out as a table for people: which row, which column, and what has to be said below. Pure."""

from collections import defaultdict
from typing import Any

from aggregate._labels import IdPair, Row, id_label, id_pair, shorten, varying
from aggregate._redundancy import Rule
from aggregate._table_notes import (
    AMBIGUOUS,
    RULE_MEANINGS,
    constant_notes,
    digits_of,
    estimator_notes,
    grid_notes,
    sign_notes,
    undefined_notes,
    whole_notes,
)
from aggregate._text_table import Column, TextTable

MEASURE_NAMES = {"accuracy": "accuracy", "cka": "CKA", "cka_pair": "CKA of two parts"}
MEASURE_ORDER = {name: position for position, name in enumerate(MEASURE_NAMES)}
MODEL_HEAD = "model/layer (width)"


def layout(rows: list[dict[str, Any]], *, rule: Rule) -> TextTable:
    """Arrange the rows of one rule; a name that stands for several ids gets one row per id.

    Parameters
    ----------
    rows
        Rows of the `redundancy` view, all of the rule `rule`.
    """
    in_rows = varying(rows, ("method",))
    in_columns = varying((row for row in rows if row["measure"] == "accuracy"), ("solver", "protocol"))
    short = shorten(identity for row in rows for identity in id_pair(row))
    rivals: dict[tuple[Any, ...], set[IdPair]] = defaultdict(set)
    for row in rows:
        rivals[_row_key(row) + _column_key(row)].add(id_pair(row))
    columns = {_column_key(row): _column(row, in_columns) for row in rows}
    order = sorted(columns, key=lambda key: (key[0], MEASURE_ORDER[key[1]], *(x or "" for x in key[2:4]), key[4]))
    cells: dict[tuple[tuple[Any, ...], str], dict[tuple[Any, ...], str]] = defaultdict(dict)
    digits = digits_of(rows)
    for row in rows:
        identity = id_label(id_pair(row), rivals[_row_key(row) + _column_key(row)], short)
        cells[_row_key(row), identity][_column_key(row)] = cell_text(row, digits)
    labels = sorted(cells, key=lambda key: ([str(part) for part in key[0][:3]], key[0][3], key[1]))
    return TextTable(
        leads=(MODEL_HEAD,),
        columns=tuple(columns[key] for key in order),
        rows=tuple((_label(key, in_rows), *(cells[key].get(column, "") for column in order)) for key in labels),
        notes=_notes(rows, rule, in_rows, in_columns, ambiguous=any(identity for _, identity in cells)),
    )


def cell_text(row: Row, digits: int) -> str:
    """Write one cell: `DR [bracket) (interval)`, `< bound` where delta was never reached, a dash without a ratio."""
    if row["censored"]:
        if row["bracket_high"] is None:
            return "—"
        if row["bracket_high"] == 0:
            return "never"
        return f"< {row['bracket_high']:.{digits}f}{_interval(row, digits)}"
    bracket = f"[{row['bracket_low']:.{digits}f}, {row['bracket_high']:.{digits}f})"
    return f"{row['dr']:.{digits}f} {bracket}{_interval(row, digits)}"


def _interval(row: Row, digits: int) -> str:
    return "" if row["ci_low"] is None else f" ({row['ci_low']:.{digits}f}–{row['ci_high']:.{digits}f})"


def _row_key(row: Row) -> tuple[Any, ...]:
    return row["model"], row["layer"], row["method"], row["width"]


def _column_key(row: Row) -> tuple[Any, ...]:
    return row["dataset"], row["measure"], row["solver"], row["protocol"], row["delta"]


def _column(row: Row, named: tuple[str, ...]) -> Column:
    return Column(group=row["dataset"] or "", head=f"{measure_text(row, named)}, δ = {row['delta']:g}")


def measure_text(row: Row, named: tuple[str, ...]) -> str:
    """Name what was measured, with solver and protocol if they are among `named`; of CKA, a special estimator."""
    measure = MEASURE_NAMES[row["measure"]]
    if row["measure"] == "accuracy":
        return " ".join([measure, *filter(None, ["/".join(row[name] or "-" for name in named)])])
    return measure if row["protocol"] is None else f"{measure}, {row['protocol']}"


def _label(key: tuple[tuple[Any, ...], str], named: tuple[str, ...]) -> str:
    (model, layer, method, width), identity = key
    parts = [f"{model}/{layer} ({width})"]
    if "method" in named:
        parts.append(str(method))
    if identity:
        parts.append(identity)
    return ", ".join(parts)


def _notes(
    rows: list[dict[str, Any]], rule: Rule, in_rows: tuple[str, ...], in_columns: tuple[str, ...], *, ambiguous: bool
) -> tuple[str, ...]:
    notes = [f"DR ({rule}): {RULE_MEANINGS[rule]}; width d of the layer in parentheses after its name."]
    notes += grid_notes(rows)
    if any(row["ci_low"] is not None for row in rows):
        of_what = "the DR of an infinitely fine grid; it holds the bracket, which seeds can't narrow"
        if rule == "interpolated":
            of_what = "the interpolated curve, which on a coarse grid can itself be off"
        about = " It is the interval of the strict rule." if rule == "nearest" else ""
        notes.append(
            f"(low–high): confidence interval over seeds, for {of_what}; none where fewer than two seeds ran.{about}"
        )
    notes += [*sign_notes(rows), *whole_notes(rows), *undefined_notes(rows), *estimator_notes(rows)]
    notes += constant_notes(rows, {*in_rows, *in_columns})
    if ambiguous:
        notes.append(AMBIGUOUS)
    return tuple(notes)
