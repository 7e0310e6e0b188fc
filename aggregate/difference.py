"""The honest comparison: DR of one cell less DR of another, with an interval and a verdict in words."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from aggregate._crossing import find_crossing, interpolated_size, nearest_size, pick
from aggregate._curves import Curves
from aggregate._difference_limits import difference_limits
from aggregate._interval import size_behind
from aggregate._paired_curves import PairedCurves
from aggregate._redundancy import Rule, checked_options
from aggregate._runs import CELL_TYPES, Floats
from aggregate._sides import Matched, Side, match_sides
from aggregate._verdict import Evidence, holm, verdict

SIDE_FIELDS: Final = tuple((f"{name}_{side}", kind) for name, kind in CELL_TYPES.items() for side in "ab")
"""Names of both cells: `model_a`, `model_b`, `layer_a`, ..."""

DIFFERENCE_SCHEMA: Final = pa.schema(
    [
        ("measure", pa.string()),
        *SIDE_FIELDS,
        ("delta", pa.float64()),
        ("rule", pa.string()),
        ("dr_a", pa.float64()),
        ("dr_b", pa.float64()),
        ("difference", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("seeds_low", pa.float64()),
        ("seeds_high", pa.float64()),
        ("pairing", pa.string()),
        ("n_seeds_a", pa.int64()),
        ("n_seeds_b", pa.int64()),
        ("bracket_low_a", pa.float64()),
        ("bracket_high_a", pa.float64()),
        ("bracket_low_b", pa.float64()),
        ("bracket_high_b", pa.float64()),
        ("censored_a", pa.bool_()),
        ("censored_b", pa.bool_()),
        ("p_value", pa.float64()),
        ("p_holm", pa.float64()),
        ("verdict", pa.string()),
    ]
)


def differences(
    a: Side,
    b: Side,
    *,
    deltas: Sequence[float],
    rule: Rule = "strict",
    confidence: float = 0.95,
    adjust: bool = False,
) -> tuple[pa.Table, tuple[str, ...]]:
    """Compare DR of side A with DR of side B, cell by cell.

    Cells are compared where they agree in everything that neither side says: data set, measure, solver, protocol and
    method always, model and layer unless each side has but one. What only one side says holds for both. Curves that
    have no partner are named in the notes; results of different ids are never averaged.

    - `difference` is `dr_a - dr_b` by the rule; null where one of them is.
    - `ci_low`, `ci_high`: interval for the difference of the DRs that the two layers have by Eq. 1 with every size
      measured. Limits of each DR from inverted t tests over seeds, put together by the method of variance estimates
      recovery (Zou and Donner 2008): paired by seed where both crossings have the same seeds, with Satterthwaite's
      degrees of freedom (as Welch) where not; see `pairing`. For `strict` and `nearest` they hold what the grids leave
      open: from `bracket_low_a - bracket_high_b` to `bracket_high_a - bracket_low_b`. For `interpolated` they do not.
    - `seeds_low`, `seeds_high`: the same without the grids' part.
    - `pairing`: `paired`, `unpaired`, `a fixed` or `b fixed` (a method that draws no subsets and was run once: the
      interval is relative to that very curve), `none` (no interval: one seed, or no whole layer).
    - Censored cells have a null DR and a bound: the interval is then that of the worst case of both.
    - `p_value`: the smallest error probability at which the interval excludes 0, at least 1e-8. `p_holm`: adjusted for
      all rows of this table by Holm's method (1979). Intervals are one at a time in any case.
    - `verdict`: in words, by the interval, or by `p_holm` with `adjust`.

    Parameters
    ----------
    a, b
        The two sides.
    deltas
        Levels of the ratio, each in [0, 1].
    rule
        Rule of `dr_a` and `dr_b`.
    confidence
        Two-sided level of the intervals, in (0, 1).
    adjust
        Let verdicts stand for all rows at once, by Holm's method.

    Returns
    -------
    tuple
        `DIFFERENCE_SCHEMA`, one row per pair of cells and delta, and notes on what was left out.

    Raises
    ------
    InvalidOption
        If an option is not allowed, nothing can be compared, or a name stands for several representations.
    UnknownName
        If a side names what is not there.
    """
    levels, rules = checked_options(deltas, [rule], confidence)
    matched, notes = match_sides(a, b)
    rows: list[dict[str, Any]] = []
    for part in matched:
        for delta in levels:
            rows += _rows(part, delta, rules[0], confidence)
    adjusted = holm([row["p_value"] for row in rows])
    for row, p_holm in zip(rows, adjusted, strict=True):
        row["p_holm"] = p_holm
        row["verdict"] = _verdict(row, confidence, adjust=adjust)
    rows.sort(key=lambda row: row["dataset_a"] or "")
    return pa.Table.from_pylist(rows, schema=DIFFERENCE_SCHEMA), tuple(notes)


def side_names(matched: Matched, pair: int) -> dict[str, Any]:
    """Return the names of both cells of a pair, as `SIDE_FIELDS` has them."""
    sides = (("a", matched.keys_a[pair]), ("b", matched.keys_b[pair]))
    return {f"{name}_{side}": key[name] for name in CELL_TYPES for side, key in sides}


def _rows(matched: Matched, delta: float, rule: Rule, confidence: float) -> list[dict[str, Any]]:
    pairs = matched.curves
    n = pairs.n_pairs
    limits = difference_limits(
        pairs,
        methods=[str(key["method"]) for key in (*matched.keys_a, *matched.keys_b)],
        delta=delta,
        confidence=confidence,
        holds_bracket=rule != "interpolated",
    )
    cells = _of_cells(pairs, delta, rule)
    rows = []
    for pair in range(n):
        both = {f"{name}_{side}": values[pair + n * i] for name, values in cells.items() for i, side in enumerate("ab")}
        rows.append(
            {
                "measure": matched.measure,
                **side_names(matched, pair),
                "delta": delta,
                "rule": rule,
                **{name: _null(value) for name, value in both.items() if not name.startswith("censored")},
                "censored_a": bool(both["censored_a"]),
                "censored_b": bool(both["censored_b"]),
                "difference": _null(both["dr_a"] - both["dr_b"]),
                "ci_low": _null(limits.low[pair]),
                "ci_high": _null(limits.high[pair]),
                "seeds_low": _null(limits.seeds_low[pair]),
                "seeds_high": _null(limits.seeds_high[pair]),
                "p_value": _null(limits.p_value[pair]),
                "pairing": limits.pairing[pair],
            }
        )
    return rows


def _of_cells(pairs: PairedCurves, delta: float, rule: Rule) -> dict[str, Floats]:
    """Return DR, bracket, seeds and whether it is censored, of every cell, shape (2 n,) each; NaN stands for null."""
    curves: Curves = pairs.both
    crossing, width = find_crossing(curves, delta), curves.width.astype(np.float64)
    known = np.isfinite(curves.whole)
    star = pick(curves.size, crossing.star, np.nan)
    size = star
    if rule == "nearest":
        size = nearest_size(curves, crossing, delta)
    elif rule == "interpolated":
        size = interpolated_size(curves, crossing)
    return {
        "dr": 1 - size / width,
        "bracket_low": np.where(known, np.where(crossing.censored, 0.0, 1 - star / width), np.nan),
        "bracket_high": np.where(known, 1 - pick(curves.size, crossing.below, 0.0) / width, np.nan),
        "n_seeds": pick(curves.n_seeds, size_behind(curves, crossing), 0),
        "censored": crossing.censored.astype(np.float64),
    }


def _verdict(row: dict[str, Any], confidence: float, *, adjust: bool) -> str:
    return verdict(
        Evidence(
            low=row["ci_low"],
            high=row["ci_high"],
            seeds_low=row["seeds_low"],
            seeds_high=row["seeds_high"],
            grid_low=None if row["rule"] == "interpolated" else _less(row["bracket_low_a"], row["bracket_high_b"]),
            grid_high=None if row["rule"] == "interpolated" else _less(row["bracket_high_a"], row["bracket_low_b"]),
            censored="".join(side for side in "ab" if row[f"censored_{side}"]),
            whole_missing="".join(side for side in "ab" if row[f"bracket_high_{side}"] is None),
            never="".join(side for side in "ab" if row[f"censored_{side}"] and row[f"bracket_high_{side}"] == 0),
            few_seeds="".join(side for side in "ab" if row[f"n_seeds_{side}"] < 2),
        ),
        what="redundant",
        significant=row["p_holm"] is not None and row["p_holm"] <= 1 - confidence if adjust else None,
    )


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
