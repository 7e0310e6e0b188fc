"""Diffused redundancy of every curve in a store: Eq. 1, its grid bracket and its interval over seeds."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from aggregate._crossing import TOLERANCE, find_crossing, interpolated_size, nearest_size, pick
from aggregate._curves import Curves, curves
from aggregate._interval import find_limits
from aggregate._runs import Flags, Floats, Measure, Runs, read_runs
from aggregate.errors import InvalidOption

Rule: TypeAlias = Literal["strict", "nearest", "interpolated"]
RULES: Final = ("strict", "nearest", "interpolated")

REDUNDANCY_SCHEMA: Final = pa.schema(
    [
        ("model", pa.string()),
        ("layer", pa.string()),
        ("dataset", pa.string()),
        ("measure", pa.string()),
        ("solver", pa.string()),
        ("protocol", pa.string()),
        ("method", pa.string()),
        ("delta", pa.float64()),
        ("rule", pa.string()),
        ("dr", pa.float64()),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("bracket_low", pa.float64()),
        ("bracket_high", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n_seeds", pa.int64()),
        ("censored", pa.bool_()),
        ("train_id", pa.string()),
        ("test_id", pa.string()),
        ("whole_method", pa.string()),
        ("n_undefined", pa.int64()),
    ]
)


def redundancy(
    probes: pa.Table | None,
    cka: pa.Table | None,
    *,
    deltas: Sequence[float],
    rules: Sequence[Rule] = RULES,
    confidence: float = 0.95,
) -> pa.Table:
    """Compute DR = 1 - k*/d (Eq. 1 of Nanda et al., NeurIPS 2023) of every cell, for every delta and rule.

    A cell is one curve: model, layer, dataset, measure, solver, protocol, method, width, train_id and test_id. Nothing
    is ever averaged across two of them.

    - T(whole) is the mean over seeds at k = d for `accuracy`, and 1 for `cka` (part against whole) and `cka_pair`
      (two parts). `whole_method` names the method whose k = d it is, null where there is none or it is 1: PCA and
      projections take it from a method that orders neurons (`random` first, then `first`, `ranked`,
      `random_independent`), for only that holds the layer itself at k = d, and their own k = d where there is none; an
      order that was not run at k = d takes another's. A cell without a (defined) k = d accuracy has no ratio: it is
      censored, its `dr`, bracket and interval are null. A whole layer of accuracy 0 has no ratio either.
    - A size at which any value is null (a probe diverged, CKA of constant neurons) is not measured; `n_undefined`
      counts these sizes.
    - Probes of random labels, whose protocol ends with `+random-labels`, are controls and have no row here: see
      `selectivity`. The protocol of CKA is its estimator, null for the biased one.
    - `strict`: k* is the smallest measured size whose mean ratio is >= delta. `nearest`: what the authors' code did,
      the size whose ratio is nearest to delta, above or below, smallest first. `interpolated`: the zero of the line
      between k* and the size below.
    - `n_neurons` is the size that `dr` stands for (rounded up, if interpolated).
    - `bracket_low`, `bracket_high` say what the grid leaves open and are the same for all rules: on an infinite grid
      DR lies in [1 - k*/d, 1 - k_below/d), k_below being the measured size just below k*, or 0. `nearest` can leave it.
    - `ci_low`, `ci_high` of `strict` are an interval for the DR that the expected curve has on a grid of every size
      (see `aggregate/DESIGN.md`): t intervals paired by seed, inverted over the interpolated curve, smoothed by seed
      where the grid is fine; in whole neurons, and wide enough to hold the bracket, which seeds can't narrow. Those of
      `interpolated` are the same for the interpolated curve, without the bracket: they say nothing of how far that
      curve is from the truth between two sizes. `nearest` carries the interval of `strict`: it is about Eq. 1, and
      `nearest` can leave it. `ci_low` is 0 where even k = d cannot be excluded. Null below two seeds (three for
      `cka_pair`).
    - `n_seeds`: distinct seeds behind the mean at k*; where k* is the whole layer or there is none, at the measured
      size below.
    - `censored`: no measured size reaches delta. `dr` and `n_neurons` are null, the bracket is [0, 1 - k_largest/d),
      and so is the interval at its widest. Where all d dimensions of a PCA or projection stay below, both ends of the
      bracket are 0 and there is no interval.

    Parameters
    ----------
    probes
        View `probes`; None where there is none. Its order and exact repeats do not matter.
    cka
        View `cka`; None where there is none.
    deltas
        Levels of the ratio, each in [0, 1].
    rules
        Among `strict`, `nearest`, `interpolated`.
    confidence
        Two-sided level of the interval, in (0, 1).

    Returns
    -------
    pa.Table
        `REDUNDANCY_SCHEMA`, one row per (cell, delta, rule): accuracy, cka, cka_pair in turn, cells by name, deltas
        and rules as given.

    Raises
    ------
    InvalidOption
        If a delta, rule or confidence is not allowed.
    InvalidTable
        If a column is missing or a row is impossible.
    ConflictingResults
        If one subset has two clearly different results.
    """
    deltas, rules = checked_options(deltas, rules, confidence)
    tables: list[pa.Table] = []
    sources: tuple[tuple[Measure, pa.Table | None], ...] = (("accuracy", probes), ("cka", cka), ("cka_pair", cka))
    for measure, table in sources:
        if table is None:
            continue
        runs = read_runs(table, measure=measure)
        tables.append(_measure_table(runs, measure, deltas=deltas, rules=rules, confidence=confidence))
    return pa.concat_tables(tables).combine_chunks() if tables else REDUNDANCY_SCHEMA.empty_table()


def checked_options(
    deltas: Sequence[float], rules: Sequence[Rule], confidence: float
) -> tuple[tuple[float, ...], tuple[Rule, ...]]:
    levels = tuple(dict.fromkeys(float(delta) for delta in deltas))
    for delta in levels:
        if not 0 <= delta <= 1:
            raise InvalidOption(
                f"deltas must lie in [0, 1], got {delta}: give levels of T(part) / T(whole), such as 0.9"
            )
    for rule in rules:
        if rule not in RULES:
            raise InvalidOption(f"rules must be among {', '.join(RULES)}, got {rule!r}")
    if not 0 < confidence < 1:
        raise InvalidOption(
            f"confidence must lie strictly between 0 and 1, got {confidence}: give a level such as 0.95"
        )
    return levels, tuple(dict.fromkeys(rules))


def _measure_table(
    runs: Runs, measure: Measure, *, deltas: tuple[float, ...], rules: tuple[Rule, ...], confidence: float
) -> pa.Table:
    """Return the rows of one measure: cells outermost, then deltas, then rules."""
    n_cells = runs.keys.num_rows
    per_cell = len(deltas) * len(rules)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    blocks = [block for delta in deltas for block in _delta_blocks(curve, delta, rules, confidence)]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    row = pa.array(np.repeat(np.arange(n_cells), per_cell))
    for name in REDUNDANCY_SCHEMA.names:
        kind = REDUNDANCY_SCHEMA.field(name).type
        if name in runs.keys.column_names:
            columns[name] = runs.keys[name].take(row)
        elif name == "measure":
            columns[name] = pa.repeat(measure, n_cells * per_cell)
        elif name == "delta":
            columns[name] = pa.array(np.tile(np.repeat(deltas, len(rules)), n_cells))
        elif name == "rule":
            columns[name] = pa.array(list(rules) * len(deltas), pa.string()).take(
                pa.array(np.tile(np.arange(per_cell), n_cells))
            )
        elif name == "whole_method":
            unknown = np.isnan(curve.whole) | (curve.source < 0)
            columns[name] = runs.keys["method"].take(pa.array(curve.source, mask=unknown)).take(row)
        else:
            values = np.stack([block[name] for block in blocks], axis=1).ravel() if blocks else np.empty(0)
            columns[name] = pa.array(values, from_pandas=True).cast(kind)
    return pa.table(columns, schema=REDUNDANCY_SCHEMA)


def _delta_blocks(
    curve: Curves, delta: float, rules: tuple[Rule, ...], confidence: float
) -> list[dict[str, Floats | Flags]]:
    """Return the computed columns of every cell at one delta, one dictionary per rule; NaN stands for null."""
    width = curve.width.astype(np.float64)
    crossing = find_crossing(curve, delta)
    limits = find_limits(curve, crossing, delta=delta, confidence=confidence)
    known = np.isfinite(curve.whole)
    star = pick(curve.size, crossing.star, np.nan)
    bracket_low = np.where(known, np.where(crossing.censored, 0.0, 1 - star / width), np.nan)
    bracket_high = np.where(known, 1 - pick(curve.size, crossing.below, 0.0) / width, np.nan)
    blocks: list[dict[str, Floats | Flags]] = []
    for rule in rules:
        low, high, size = limits.strict_low, limits.strict_high, star
        if rule == "nearest":
            size = nearest_size(curve, crossing, delta)
        elif rule == "interpolated":
            low, high, size = limits.interpolated_low, limits.interpolated_high, interpolated_size(curve, crossing)
        blocks.append(
            {
                "dr": 1 - size / width,
                "n_neurons": np.ceil(size * (1 - TOLERANCE)),
                "bracket_low": bracket_low,
                "bracket_high": bracket_high,
                "ci_low": 1 - high / width,
                "ci_high": 1 - low / width,
                "n_seeds": limits.n_seeds.astype(np.float64),
                "censored": crossing.censored,
                "n_undefined": curve.n_undefined.astype(np.float64),
            }
        )
    return blocks
