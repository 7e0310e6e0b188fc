"""The DR table that sorts and filters: one row per curve and threshold, the three rules side by side. Pure (no I/O)."""

from collections import defaultdict
from typing import Any, Final

import pyarrow as pa

from aggregate._grid import MEASURE_NAMES, layout
from aggregate._labels import IdPair, id_label, id_pair, shorten, varying
from aggregate._whole import method_rank
from aggregate.report._content import Table
from aggregate.report._html import Cell, Head, Number, html_table

MOST_ROWS: Final = 8_000
"""Rows of the table in a page; a browser still sorts them at once."""
_CURVE: Final = ("model", "layer", "dataset", "measure", "solver", "protocol", "method", "width", "train_id", "test_id")

Row = dict[str, Any]


def dr_table(redundancy: pa.Table, *, id: str = "dr") -> Table:  # noqa: A002
    """Return the view `redundancy` as an interactive table.

    Parameters
    ----------
    redundancy
        All rules, any number of thresholds. Rows above `MOST_ROWS` are left out, and a note says so.
    id
        Of the table in the page.
    """
    curves: dict[tuple[Any, ...], dict[str, Row]] = defaultdict(dict)
    rows = redundancy.to_pylist()
    for row in rows:
        curves[(*(row[name] for name in _CURVE), row["delta"])][row["rule"]] = row
    entries = sorted((_any(rules) for rules in curves.values()), key=_order)
    shown = entries[:MOST_ROWS]
    optional = varying(rows, ("method", "solver", "protocol"))
    identities = _identities(rows)
    named = any(identities.values())
    head = [
        Head(text="Data set", choices=True),
        Head(text="Model", choices=True),
        Head(text="Layer", choices=True),
        Head(text="d", numeric=True),
        Head(text="Measure", choices=True),
        *(Head(text=name.capitalize(), choices=True) for name in optional),
        *([Head(text="Representation")] if named else []),
        Head(text="δ", choices=True, numeric=True),
        Head(text="DR", numeric=True),
        Head(text="Bracket", numeric=True),
        Head(text="95 % CI", numeric=True),
        Head(text="Nearest", numeric=True),
        Head(text="Interp.", numeric=True),
        Head(text="k*", numeric=True),
        Head(text="Seeds", numeric=True),
    ]
    body = []
    for row in shown:
        rules = curves[(*(row[name] for name in _CURVE), row["delta"])]
        body.append(
            [
                *(str(row[name] or "") for name in ("dataset", "model", "layer")),
                _whole_number(row["width"]),
                MEASURE_NAMES[row["measure"]],
                *(str(row[name] or "") for name in optional),
                *([identities[_identity_key(row)]] if named else []),
                Number(f"{row['delta']:g}", row["delta"]),
                *_of_rules(rules),
                _whole_number(rules["strict"]["n_neurons"] if "strict" in rules else None),
                _whole_number(row["n_seeds"]),
            ]
        )
    return Table(
        id=id,
        html=html_table(head, body, caption="Diffused redundancy of every curve", id=id, interactive=True),
        interactive=True,
        notes=_notes(rows, len(shown), len(entries)),
    )


def _any(rules: dict[str, Row]) -> Row:
    return rules.get("strict") or next(iter(rules.values()))


def _order(row: Row) -> tuple[Any, ...]:
    return (
        list(MEASURE_NAMES).index(row["measure"]),
        *(str(row[name] or "") for name in ("dataset", "model", "layer")),
        method_rank(str(row["method"])),
        *(str(row[name] or "") for name in ("solver", "protocol", "train_id", "test_id")),
        row["delta"],
    )


def _of_rules(rules: dict[str, Row]) -> list[Cell]:
    """Return DR, bracket, interval, then DR by the other rules."""
    row = _any(rules)
    cells: list[Cell] = [_dr(rules.get("strict"))]
    if row["bracket_high"] is None:
        cells.append(Number("—", None))
    else:
        cells.append(Number(f"[{row['bracket_low']:.2f}, {row['bracket_high']:.2f})", row["bracket_low"]))
    if row["ci_low"] is None:
        cells.append(Number("—", None))
    else:
        cells.append(Number(f"{row['ci_low']:.2f}–{row['ci_high']:.2f}", row["ci_low"]))
    return [*cells, _dr(rules.get("nearest")), _dr(rules.get("interpolated"))]


def _dr(row: Row | None) -> Number:
    """Write DR, or what is known of it where no size reaches the threshold; that sorts below what is known."""
    if row is None or (row["censored"] and row["bracket_high"] is None):
        return Number("—", None)
    if row["dr"] is not None:
        return Number(f"{row['dr']:.3g}" if 0 < row["dr"] < 0.01 else f"{row['dr']:.2f}", row["dr"])
    if row["bracket_high"] == 0:
        return Number("never", -0.5)
    return Number(f"< {row['bracket_high']:.2f}", row["bracket_high"] - 1e-6)


def _whole_number(value: int | None) -> Number:
    return Number("—", None) if value is None else Number(f"{value:,}", value)


def _identity_key(row: Row) -> tuple[Any, ...]:
    return (*(row[name] for name in _CURVE), *id_pair(row))


def _identities(rows: list[Row]) -> dict[tuple[Any, ...], str]:
    """Tell the ids of one name apart, where it has several."""
    rivals: dict[tuple[Any, ...], set[IdPair]] = defaultdict(set)
    for row in rows:
        rivals[tuple(row[name] for name in _CURVE[:8])].add(id_pair(row))
    short = shorten(identity for row in rows for identity in id_pair(row))
    return {
        _identity_key(row): id_label(id_pair(row), rivals[tuple(row[name] for name in _CURVE[:8])], short)
        for row in rows
    }


def _notes(rows: list[Row], n_shown: int, n_all: int) -> tuple[str, ...]:
    notes = []
    if n_shown < n_all:
        notes.append(
            f"The first {n_shown:,} of {n_all:,} rows; `drfarm table --format csv` and `drfarm query` have them all."
        )
    said = layout([row for row in rows if row["rule"] == "strict"], rule="strict").notes
    # The first note is about the layout of the printed table, which has no column of d.
    notes.append(f"DR: {said[0].partition(': ')[2].partition(';')[0]}; the rule “strict”.")
    notes += [_in_columns(note) for note in said[1:]]
    if any(row["rule"] == "nearest" for row in rows):
        notes.append(
            "Nearest: 1 - k/d at the measured size whose mean ratio is nearest to δ, as in the paper's Table 1."
        )
    if any(row["rule"] == "interpolated" for row in rows):
        notes.append("Interp.: where the straight line between the measured sizes around the crossing reaches δ.")
    return tuple(notes)


def _in_columns(note: str) -> str:
    """Name the column that a note of the printed table is about, where that has one cell for three columns."""
    return note.replace("[low, high):", "Bracket [low, high):").replace("(low–high):", "95 % CI:")
