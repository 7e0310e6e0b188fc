"""Differences as a table for people: what is compared, both values, the interval, and a verdict in words. Pure."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa

from aggregate._labels import shorten, varying
from aggregate._text_table import Column, TextTable
from aggregate._whole import MIXTURES, method_name

_MEASURES: Final = {"accuracy": "accuracy", "cka": "CKA", "cka_pair": "CKA of two parts"}
_NAMES: Final = ("model", "layer", "method", "solver", "protocol", "dataset", "train_id", "test_id")
_IDS: Final = ("train_id", "test_id")


def difference_table(
    differences: pa.Table, notes: Sequence[str] = (), *, confidence: float = 0.95, adjusted: bool = False
) -> TextTable:
    """Lay out what `differences` or `value_differences` returned, one line for each row.

    What is the same in all rows stands below the table, and what differs within a row in what A and B are said to be.

    Parameters
    ----------
    notes
        What was left out, as returned beside the table.
    confidence
        Level of the intervals, for the head of their column.
    adjusted
        Whether verdicts stand for all rows at once.
    """
    rows = differences.to_pylist()
    at_size = "n_neurons_a" in differences.column_names
    digits = 4 if at_size else _digits(rows)
    leads: dict[str, Callable[[dict[str, Any]], str]] = {"data set": _data_set, "measure": _measure(rows)}
    for name in ("model", "layer", "method"):
        if varying(rows, (f"{name}_a",)) and all(row[f"{name}_a"] == row[f"{name}_b"] for row in rows):
            leads[name] = _name(f"{name}_a")
    columns = _at_sizes(digits) if at_size else _at_deltas(digits)
    level = f"{100 * confidence:g} % interval"
    columns |= {
        "A - B": lambda row: _signed(row["difference"], digits),
        level: lambda row: _interval(row["ci_low"], row["ci_high"], digits),
        "seeds": _seeds,
        "p": lambda row: _p(row["p_holm" if adjusted else "p_value"], row["verdict"]),
        "verdict": lambda row: row["verdict"],
    }
    return TextTable(
        leads=tuple(leads),
        columns=tuple(Column(group="", head=head) for head in columns),
        rows=tuple(tuple(show(row) for show in (*leads.values(), *columns.values())) for row in rows),
        notes=(*_sides(rows), *_notes(rows, at_size=at_size, adjusted=adjusted), *notes),
    )


def _name(column: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: str(row[column])


def _at_deltas(digits: int) -> dict[str, Callable[[dict[str, Any]], str]]:
    return {
        "delta": lambda row: f"{row['delta']:g}",
        "DR of A": lambda row: _dr(row, "a", digits),
        "DR of B": lambda row: _dr(row, "b", digits),
    }


def _at_sizes(digits: int) -> dict[str, Callable[[dict[str, Any]], str]]:
    def size(row: dict[str, Any]) -> str:
        k_a, k_b = row["n_neurons_a"], row["n_neurons_b"]
        return str(k_a) if k_a == k_b else f"{k_a} and {k_b}"

    return {
        "k": size,
        "k / d": lambda row: f"{row['fraction_a']:.3g}",
        "A": lambda row: f"{row['mean_a']:.{digits}f}",
        "B": lambda row: f"{row['mean_b']:.{digits}f}",
    }


def _dr(row: dict[str, Any], side: str, digits: int) -> str:
    if row[f"dr_{side}"] is not None:
        return f"{row[f'dr_{side}']:.{digits}f}"
    bound = row[f"bracket_high_{side}"]
    return "unknown" if bound is None else f"< {bound:.{digits}f}" if bound > 0 else "never"


def _digits(rows: list[dict[str, Any]]) -> int:
    """Two decimals, three where some grid is finer than 0.01."""
    widths = [
        row[f"bracket_high_{side}"] - row[f"bracket_low_{side}"]
        for row in rows
        for side in "ab"
        if row[f"bracket_high_{side}"] is not None
    ]
    return 3 if any(0 < width < 0.01 for width in widths) else 2


def _signed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "-" if low is None or high is None else f"{low:+.{digits}f} to {high:+.{digits}f}"


def _seeds(row: dict[str, Any]) -> str:
    n_a, n_b = row["n_seeds_a"], row["n_seeds_b"]
    if row["pairing"] == "paired":
        return f"{n_a} paired"
    return f"{n_a} and {n_b}" + {"a fixed": ", A fixed", "b fixed": ", B fixed"}.get(row["pairing"], "")


def _p(value: float | None, verdict: str) -> str:
    # No evidence of seeds is asked for where the grids alone leave 0 open.
    return "-" if value is None or verdict.startswith("undecided") else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _data_set(row: dict[str, Any]) -> str:
    a, b = row["dataset_a"], row["dataset_b"]
    return str(a) if a == b else f"{a} and {b}"


def _measure(rows: list[dict[str, Any]]) -> Callable[[dict[str, Any]], str]:
    """Return how a row's measure is called: with solver and protocol where A and B agree and the rows do not."""
    said = {name for name in ("solver", "protocol") if all(row[f"{name}_a"] == row[f"{name}_b"] for row in rows)}
    probes = [row for row in rows if row["measure"] == "accuracy"]
    said &= {name.removesuffix("_a") for name in varying(probes, ("solver_a", "protocol_a"))}

    def name(row: dict[str, Any]) -> str:
        if row["measure"] != "accuracy":
            return ", ".join(filter(None, [_MEASURES[row["measure"]], row["protocol_a"]]))
        variant = "/".join(str(row[f"{n}_a"]) for n in ("solver", "protocol") if n in said)
        return " ".join(filter(None, ["accuracy", variant]))

    return name


def _sides(rows: list[dict[str, Any]]) -> list[str]:
    """Say what A and B are: what they differ in, and what they share throughout."""
    apart = [n for n in _NAMES if n not in _IDS and any(row[f"{n}_a"] != row[f"{n}_b"] for row in rows)]
    if not apart:
        apart = [n for n in _IDS if any(row[f"{n}_a"] != row[f"{n}_b"] for row in rows)]
    short = shorten(row[f"{n}_{side}"] for row in rows for n in _IDS for side in "ab")
    lines = []
    for side in "ab":
        parts = []
        for name in apart:
            found = sorted({row[f"{name}_{side}"] for row in rows} - {None})
            shown = [short[v] if name in _IDS else str(v) for v in found]
            parts.append(f"{name.replace('_', ' ')} {', '.join(shown) or 'none'}")
        widths = sorted({row[f"width_{side}"] for row in rows})
        of_width = f"width {', '.join(map(str, widths))}"
        lines.append(f"{side.upper()}: {'; '.join([*parts, of_width])}.")
    common = [
        f"{n} {values.pop()}"
        for n in ("model", "layer", "method", "solver", "protocol")
        if n not in apart and len(values := {row[f"{n}_a"] for row in rows} - {None}) == 1
    ]
    return [*lines, *([f"Both: {', '.join(common)}."] if common else [])]


def _notes(rows: list[dict[str, Any]], *, at_size: bool, adjusted: bool) -> list[str]:
    notes = []
    kinds = {row["pairing"] for row in rows}
    if "paired" in kinds:
        notes.append("Paired: both have the same seeds, and each seed of A is compared with that of B.")
    if "unpaired" in kinds:
        notes.append("Seeds without `paired` are not the same on both sides: the interval is of Welch's kind.")
    if kinds & {"a fixed", "b fixed"}:
        notes.append("Fixed: the method draws no subsets and was run once; the interval is relative to that run.")
    if not at_size:
        notes += _about_dr(rows)
    for what in ("protocol", "solver"):
        if any(row[f"{what}_a"] != row[f"{what}_b"] for row in rows):
            notes.append(f"A and B differ in the {what}: what is seen may be its doing.")
    if any(row["width_a"] != row["width_b"] for row in rows):
        notes.append("The layers differ in width: seeds choose other neurons in each, and DR is in shares of its own.")
    if len(rows) > 1:
        one = "Verdicts and p are adjusted for all rows by Holm's method; each interval is for one row at a time."
        several = (
            f"Intervals, p and verdicts are one at a time: of {len(rows)} rows without any difference, one in twenty "
            "shows one. Holm's method (--holm) adjusts for that."
        )
        notes.append(one if adjusted else several)
    return notes


def _about_dr(rows: list[dict[str, Any]]) -> list[str]:
    rule = rows[0]["rule"]
    if rule == "interpolated":
        notes = ["The interval is that of interpolated curves: what coarse grids leave open is not in it."]
    else:
        widths = [
            row[f"bracket_high_{side}"] - row[f"bracket_low_{side}"]
            for row in rows
            for side in "ab"
            if row[f"bracket_high_{side}"] is not None
        ]
        notes = [f"DR by the rule {rule}. The interval is for the DRs on infinitely fine grids."]
        if widths:
            notes.append(
                f"It holds what the measured grids leave open: {min(widths):.2g} to {max(widths):.2g} on each side."
            )
    if any(row["censored_a"] or row["censored_b"] for row in rows):
        notes.append("< bound: no measured size reaches delta; never: all dimensions together do not.")
    own = {row[f"method_{side}"] for row in rows for side in "ab" if method_name(row[f"method_{side}"]) in MIXTURES}
    if own:
        notes.append(f"The whole layer of {', '.join(sorted(own))} is that of a method that orders neurons.")
    return notes
