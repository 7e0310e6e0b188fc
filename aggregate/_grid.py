"""Lay redundancy rows out as a table for people: which row, which column, and what has to be said below. Pure."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from aggregate._labels import IdPair, Row, id_label, id_pair, shorten, varying

MEASURE_NAMES = {"accuracy": "accuracy", "cka": "CKA", "cka_pair": "CKA of two parts"}
_MEASURE_ORDER = {name: position for position, name in enumerate(MEASURE_NAMES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table."""

    dataset: str
    """Head of the group that the column belongs to."""
    head: str
    """Measure, with solver and protocol where the table holds several, and delta."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A DR table before it is written in a format: plain text everywhere, nothing escaped."""

    columns: tuple[Column, ...]
    """In order of dataset, measure, solver, protocol, delta."""
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Label of each row and its cells, one per column; an empty cell was not measured."""
    notes: tuple[str, ...]
    """What the signs mean, one sentence or more each."""


def layout(rows: list[dict[str, Any]], *, rule: str) -> Grid:
    """Arrange the rows of one rule; a name that stands for several ids gets one row per id.

    Parameters
    ----------
    rows
        Rows of the `redundancy` view, all of the rule `rule`.
    """
    in_rows, in_columns = varying(rows, ("method",)), varying(rows, ("solver", "protocol"))
    short = shorten(identity for row in rows for identity in id_pair(row))
    rivals: dict[tuple[Any, ...], set[IdPair]] = defaultdict(set)
    for row in rows:
        rivals[_row_key(row) + _column_key(row)].add(id_pair(row))
    columns = {_column_key(row): _column(row, in_columns) for row in rows}
    order = sorted(columns, key=lambda key: (key[0], _MEASURE_ORDER[key[1]], *(x or "" for x in key[2:4]), key[4]))
    cells: dict[tuple[tuple[Any, ...], str], dict[tuple[Any, ...], str]] = defaultdict(dict)
    digits = _digits(rows)
    for row in rows:
        identity = id_label(id_pair(row), rivals[_row_key(row) + _column_key(row)], short)
        cells[_row_key(row), identity][_column_key(row)] = cell_text(row, digits)
    labels = sorted(cells, key=lambda key: ([str(part) for part in key[0][:3]], key[0][3], key[1]))
    return Grid(
        columns=tuple(columns[key] for key in order),
        rows=tuple((_label(key, in_rows), tuple(cells[key].get(column, "") for column in order)) for key in labels),
        notes=_notes(rows, rule, in_rows, in_columns, ambiguous=any(identity for _, identity in cells)),
    )


def cell_text(row: Row, digits: int) -> str:
    """Write one cell: `DR [bracket) (interval)`, `< bound` where delta was never reached, a dash without a ratio."""
    if row["censored"]:
        if row["bracket_high"] is None:
            return "—"
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
    variant = "/".join(row[name] for name in named if row[name] is not None)
    measure = MEASURE_NAMES[row["measure"]] + (f" {variant}" if variant else "")
    return Column(dataset=row["dataset"] or "", head=f"{measure}, δ = {row['delta']:g}")


def _label(key: tuple[tuple[Any, ...], str], named: tuple[str, ...]) -> str:
    (model, layer, method, width), identity = key
    parts = [f"{model}/{layer} ({width})"]
    if "method" in named:
        parts.append(str(method))
    if identity:
        parts.append(identity)
    return ", ".join(parts)


def _digits(rows: list[dict[str, Any]]) -> int:
    """Two decimals, three where some grid is finer than 0.01."""
    return 3 if any(0 < width < 0.01 for width in _bracket_widths(rows)) else 2


def _bracket_widths(rows: list[dict[str, Any]]) -> list[float]:
    return [row["bracket_high"] - row["bracket_low"] for row in rows if row["bracket_high"] is not None]


def _notes(
    rows: list[dict[str, Any]], rule: str, in_rows: tuple[str, ...], in_columns: tuple[str, ...], *, ambiguous: bool
) -> tuple[str, ...]:
    meaning = {
        "strict": "1 - k*/d with k* the smallest measured size whose mean ratio to the whole is at least δ (Eq. 1)",
        "nearest": "1 - k/d at the measured size whose mean ratio is nearest to δ, above or below it",
        "interpolated": "1 - k/d where the line between the measured sizes around the crossing reaches δ",
    }
    notes = [f"DR ({rule}): {meaning[rule]}; width d of the layer in parentheses after its name."]
    widths = _bracket_widths(rows)
    if widths:
        notes.append(
            "[low, high): where DR of Eq. 1 lies on an infinitely fine grid. The measured grid quantises DR: steps of "
            f"{min(widths):.2g} to {max(widths):.2g} in this table."
        )
    if any(row["ci_low"] is not None for row in rows):
        about = " It is the interval of the strict rule." if rule == "nearest" else ""
        notes.append(
            "(low–high): confidence interval over seeds, on the measured grid; none where fewer than two seeds ran."
            + about
        )
    if any(row["censored"] and row["bracket_high"] is not None for row in rows):
        notes.append("< bound: no measured size reaches δ; DR lies below the bound.")
    if any(row["censored"] and row["bracket_high"] is None for row in rows):
        notes.append("—: the whole layer was not measured, or has accuracy 0; there is no ratio.")
    for name in ("method", "solver", "protocol"):
        values = sorted({row[name] for row in rows if row[name] is not None})
        if len(values) == 1 and name not in (*in_rows, *in_columns):
            notes.append(f"{name.capitalize()}: {values[0]}.")
    if ambiguous:
        notes.append(
            "Some names stand for several representations (other weights, transform or data): these have a row for "
            "each id, given by its first characters. They are never averaged."
        )
    return tuple(notes)
