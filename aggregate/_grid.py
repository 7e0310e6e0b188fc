"""Lay redundancy rows out as a table for people: which row, which column, and what has to be said below. Pure."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from aggregate._labels import IdPair, Row, id_label, id_pair, shorten, varying
from aggregate._whole import MIXTURES, method_name

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
    in_rows = varying(rows, ("method",))
    in_columns = varying((row for row in rows if row["measure"] == "accuracy"), ("solver", "protocol"))
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
    measure = MEASURE_NAMES[row["measure"]]
    if row["measure"] == "accuracy":
        measure = " ".join([measure, *filter(None, ["/".join(row[name] or "-" for name in named)])])
    elif row["protocol"] is not None:
        measure = f"{measure}, {row['protocol']}"
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
    widths = [width for width in _bracket_widths(rows) if width > 0]
    if widths:
        notes.append(
            "[low, high): where DR of Eq. 1 lies on an infinitely fine grid. The measured grid quantises DR: steps of "
            f"{min(widths):.2g} to {max(widths):.2g} in this table."
        )
    if any(row["ci_low"] is not None for row in rows):
        of_what = "the DR of an infinitely fine grid; it holds the bracket, which seeds can't narrow"
        if rule == "interpolated":
            of_what = "the interpolated curve, which on a coarse grid can itself be off"
        about = " It is the interval of the strict rule." if rule == "nearest" else ""
        notes.append(
            f"(low–high): confidence interval over seeds, for {of_what}; none where fewer than two seeds ran.{about}"
        )
    if any(row["censored"] and row["bracket_high"] == 0 for row in rows):
        notes.append("never: all d dimensions of the method together stay below δ times the whole layer.")
    if any(row["censored"] and row["bracket_high"] for row in rows):
        notes.append("< bound: no measured size reaches δ; DR lies below the bound.")
    if any(row["censored"] and row["bracket_high"] is None for row in rows):
        notes.append("—: the whole layer was not measured, or has accuracy 0; there is no ratio.")
    notes += [*_whole_notes(rows), *_undefined_notes(rows)]
    if any(row["measure"] != "accuracy" and row["protocol"] is not None for row in rows):
        notes.append("CKA without a word after it is the biased estimator of the paper; others are named.")
    for name in ("method", "solver", "protocol"):
        about_it = rows if name == "method" else [row for row in rows if row["measure"] == "accuracy"]
        values = sorted({row[name] for row in about_it if row[name] is not None})
        if len(values) == 1 and name not in (*in_rows, *in_columns):
            notes.append(f"{name.capitalize()}: {values[0]}.")
    if ambiguous:
        notes.append(
            "Some names stand for several representations (other weights, transform or data): these have a row for "
            "each id, given by its first characters. They are never averaged."
        )
    return tuple(notes)


def _whole_notes(rows: list[dict[str, Any]]) -> list[str]:
    """Say whose k = d stands for the whole layer, where it is another method's, or no order's."""
    notes = []
    borrowed: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["whole_method"] is not None and row["whole_method"] != row["method"]:
            borrowed[row["whole_method"]].add(row["method"])
    for source, methods in sorted(borrowed.items()):
        notes.append(
            f"The whole layer of {', '.join(sorted(methods))} is k = d of {source}: the layer is the same in any order."
        )
    own = {row["method"] for row in rows if row["whole_method"] == row["method"] is not None}
    mixed = sorted(method for method in own if method_name(method) in MIXTURES)
    if mixed:
        notes.append(
            f"The ratio of {', '.join(mixed)} is to its own k = d, a mixture of all neurons: no method that orders "
            "neurons was run at k = d."
        )
    return notes


def _undefined_notes(rows: list[dict[str, Any]]) -> list[str]:
    most = max((row["n_undefined"] for row in rows), default=0)
    if not most:
        return []
    why = "a probe diverged, or CKA of constant neurons"
    return [f"Left out: sizes at which some value is undefined ({why}), up to {most} in one curve."]
