"""`redundancy` against a loop that does what the definitions say, and against cases done by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aggregate import REDUNDANCY_SCHEMA, ConflictingResults, InvalidOption, InvalidTable, redundancy

EPS = 1e-12
KEYS = ["model", "layer", "dataset", "solver", "protocol", "method", "train_id", "test_id", "width"]
GRID = (1, 2, 5, 10, 20, 50, 80, 100)


def oracle(table: pa.Table, delta: float, *, accuracy: bool) -> list[dict[str, Any]]:
    """Eq. 1 and its companions, one cell at a time, with no regard for speed."""
    frame = table.to_pandas().drop_duplicates()
    found = []
    for key, cell in frame.groupby([key for key in KEYS if key in frame], dropna=False, sort=True):
        d = int(cell["width"].iloc[0])
        values = {
            int(k): dict(zip(group["seed"], group["accuracy" if accuracy else "value"], strict=True))
            for k, group in cell.groupby("n_neurons", sort=True)
        }
        values = {k: v for k, v in values.items() if not any(x is None or math.isnan(x) for x in v.values())}
        whole = 1.0 if not accuracy else (np.mean(list(values[d].values())) if d in values else math.nan)
        row = {"key": key, "n_seeds": max(len(values[max(values)]), 0) if values else 0}
        found.append(row)
        ks = sorted(values)
        row["censored"] = True
        if not accuracy or (d in values and whole > 0):
            low, high = {}, {}
            ratio = {k: np.mean(list(values[k].values())) / whole for k in ks}
            for k in ks:
                n = len(values[k])
                paired = accuracy and set(values[k]) <= set(values[d])
                z = [x - (delta * values[d][s] if paired else 0.0) for s, x in values[k].items()]
                half = stats.t.ppf(0.975, n - 1) * np.std(z, ddof=1) / math.sqrt(n) if n > 1 else math.inf
                half = 0.0 if k == d and n < 2 else half
                centre = np.mean(list(values[k].values())) - delta * whole
                low[k], high[k] = centre - half, centre + half
                if k == d:
                    low[k] = max(low[k], 0.0)
            reached = [k for k in ks if ratio[k] >= delta - EPS / (whole or 1)]
            below = None
            if reached:
                k = reached[0]
                below = max((x for x in ks if x < k), default=None)
                near = min(ks, key=lambda x: (round(abs(ratio[x] - delta), 12), x))
                cross = float(k)
                if below is not None:
                    cross = below + (k - below) * (delta - ratio[below]) / (ratio[k] - ratio[below])
                    cross = min(max(cross, below), k)
                row.update(censored=False, strict=1 - k / d, nearest=1 - near / d, interpolated=1 - cross / d)
                row.update(k=k, bracket_low=1 - k / d, n_seeds=len(values[below if k == d and below else k]))
            else:
                below = ks[-1] if ks else None
                row["bracket_low"] = 0.0
            row["bracket_high"] = 1 - (below or 0) / d
            if row["n_seeds"] >= 2 and (reached or ks[-1] < d):
                left, right = smoothed_limits(ks, values, whole, low, high, delta=delta, d=d, accuracy=accuracy)
                cross = (1 - row["interpolated"]) * d if reached else math.nan
                row["ci_interpolated"] = (1 - np.fmax(right, cross) / d, 1 - np.fmin(left, cross) / d)
                right = np.fmax(math.ceil(right - 1e-9), row.get("k", math.nan))
                left = min(math.ceil(left - 1e-9), (below or 0) + 1)
                row["ci"] = (1 - right / d, 1 - left / d)
    return found


def smoothed_limits(
    ks: list[int],
    values: dict[int, dict[int, float]],
    whole: float,
    low: Any,
    high: Any,
    *,
    delta: float,
    d: int,
    accuracy: bool,
) -> tuple[float, float]:
    """Return the ends of the points not rejected, after a parabola per seed over six sizes or more."""
    inside = [k for k in ks if k < d]
    first = next((i for i, k in enumerate(ks) if high[k] >= -EPS), None)
    open_ = [i for i, k in enumerate(ks) if low[k] < -EPS]
    if first is not None and open_:
        window = [k for k in ks[max(first - 1, 0) : open_[-1] + 2] if k in inside]
        if len(window) >= 6 and len({tuple(sorted(values[k])) for k in window}) == 1 and len(values[window[0]]) > 1:
            seeds = sorted(values[window[0]])
            paired = accuracy and set(seeds) <= set(values[d])
            z = np.array([[values[k][s] - (delta * values[d][s] if paired else 0.0) for s in seeds] for k in window])
            x = np.log(window)
            fit = np.array([np.polyval(np.polyfit(x, column, 2), x) for column in z.T])
            n = len(seeds)
            half = stats.t.ppf(0.975, n - 1) * fit.std(axis=0, ddof=1) / math.sqrt(n)
            centre = fit.mean(axis=0) - (0.0 if paired else delta * whole)
            low, high = dict(low), dict(high)
            for k, c, h in zip(window, centre, half, strict=True):
                low[k], high[k] = c - h, c + h
    first = next((i for i, k in enumerate(ks) if high[k] >= -EPS), None)
    open_ = [i for i, k in enumerate(ks) if low[k] < -EPS]
    left = float(ks[-1]) if first is None else zero(ks, high, first)
    right = float(ks[0])
    if open_:
        right = float(d) if open_[-1] == len(ks) - 1 else zero(ks, low, open_[-1] + 1)
    return left, right


def zero(ks: list[int], band: Any, i: int) -> float:
    """Return where the line up to `ks[i]` passes 0; infinite ends pull the whole way."""
    a, b = (band[ks[i - 1]], band[ks[i]]) if i else (-math.inf, 0.0)
    if i == 0 or math.isinf(a):
        return float(ks[i])
    if math.isinf(b):
        return float(ks[i - 1])
    return ks[i - 1] + (ks[i] - ks[i - 1]) * min(max(-a / (b - a), 0.0), 1.0)


def check(got: pa.Table, expected: list[dict[str, Any]]) -> None:
    frame = got.to_pandas()
    frame = frame.astype(object).where(frame.notna(), None)
    for rule in ("strict", "nearest", "interpolated"):
        part = frame[frame["rule"] == rule].to_dict("records")
        assert len(part) == len(expected)
        for row, want in zip(part, expected, strict=True):
            assert row["censored"] == want["censored"]
            assert row["n_seeds"] == want["n_seeds"]
            for name in ("bracket_low", "bracket_high"):
                assert row[name] == pytest.approx(want.get(name), abs=1e-12)
            if want["censored"]:
                assert row["dr"] is None
                assert row["n_neurons"] is None
            else:
                assert row["dr"] == pytest.approx(want[rule], abs=1e-9)
            limits = want.get("ci_interpolated" if rule == "interpolated" else "ci", (None, None))
            assert (row["ci_low"], row["ci_high"]) == pytest.approx(limits, abs=1e-9)


# One value in forty is undefined.
levels = st.integers(-1, 40).map(lambda x: None if x < 0 else x / 40)


@st.composite
def tables(draw: st.DrawFn, *, accuracy: bool) -> list[dict[str, Any]]:
    rows = []
    for cell in range(draw(st.integers(1, 3))):
        for k in draw(st.lists(st.sampled_from(GRID), min_size=1, max_size=8, unique=True)):
            for seed in draw(st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True)):
                rows.append({"cell": cell, "k": k, "seed": seed, "value": draw(levels)})
    return rows


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=tables(accuracy=True), delta=st.sampled_from([0.0, 0.5, 0.8, 0.9, 1.0]))
def test_equals_the_loop_on_probes(make, rows, delta):
    table = make.probes([make.probe(r["k"], r["value"], r["seed"], train_id=f"id{r['cell']}") for r in rows])
    check(redundancy(table, None, deltas=[delta]), oracle(table, delta, accuracy=True))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=tables(accuracy=False), delta=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_equals_the_loop_on_cka(make, rows, delta):
    table = make.cka([make.similarity(r["k"], r["value"], r["seed"], test_id=f"id{r['cell']}") for r in rows])
    got = redundancy(None, table, deltas=[delta])
    assert set(got["measure"].to_pylist()) == {"cka"}
    check(got, oracle(table, delta, accuracy=False))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=tables(accuracy=True), order=st.randoms(use_true_random=False))
def test_properties(make, rows, order):
    made = [make.probe(r["k"], r["value"], r["seed"], dataset=f"d{r['cell']}") for r in rows]
    got = redundancy(make.probes(made), None, deltas=[0.5, 0.8, 0.9, 0.95])
    shuffled = [*made, *made[: len(made) // 2]]
    order.shuffle(shuffled)
    assert redundancy(make.probes(shuffled), None, deltas=[0.5, 0.8, 0.9, 0.95]).equals(got)
    alone = [row for row in made if row["dataset"] == "d0"]
    if alone:
        mask = pa.compute.equal(got["dataset"], "d0")
        assert redundancy(make.probes(alone), None, deltas=[0.5, 0.8, 0.9, 0.95]).equals(
            got.filter(mask).combine_chunks()
        )
    frame = got.to_pandas()
    strict = frame[(frame["rule"] == "strict") & ~frame["censored"]]
    assert (strict["dr"] == strict["bracket_low"]).all()
    for _, cell in strict.groupby("dataset"):
        assert (np.diff(cell["dr"]) <= 0).all()
    between = frame[(frame["rule"] == "interpolated") & ~frame["censored"]]
    assert (between["bracket_low"] <= between["dr"] + 1e-12).all()
    assert (between["dr"] <= between["bracket_high"]).all()
    covered = frame[(frame["rule"] != "nearest") & ~frame["censored"] & frame["ci_low"].notna()]
    assert (covered["ci_low"] <= covered["dr"] + 1e-9).all()
    assert (covered["dr"] <= covered["ci_high"] + 1e-9).all()
    assert ((covered["ci_low"] >= -1e-12) & (covered["ci_high"] <= 1)).all()


def one(table: pa.Table) -> dict[str, Any]:
    assert table.num_rows == 1
    return table.to_pylist()[0]


def strict(probes: pa.Table | None, cka: pa.Table | None = None, delta: float = 0.9) -> dict[str, Any]:
    return one(redundancy(probes, cka, deltas=[delta], rules=["strict"]))


def test_columns_are_those_of_the_view(make):
    got = redundancy(make.curve({10: [0.5], 100: [1.0]}), None, deltas=[0.9])
    assert got.schema == REDUNDANCY_SCHEMA
    assert got.column_names[:4] == ["model", "layer", "dataset", "measure"]
    assert got.column_names[-5:] == ["censored", "train_id", "test_id", "whole_method", "n_undefined"]
    assert got["rule"].to_pylist() == ["strict", "nearest", "interpolated"]


def test_by_hand(make):
    table = make.curve({10: [0.4, 0.6], 50: [0.8, 0.8], 80: [0.9, 0.94], 100: [1.0, 1.0]})
    rows = {row["rule"]: row for row in redundancy(table, None, deltas=[0.85]).to_pylist()}
    assert rows["strict"]["dr"] == pytest.approx(0.2)
    assert rows["strict"]["n_neurons"] == 80
    assert (rows["strict"]["bracket_low"], rows["strict"]["bracket_high"]) == pytest.approx((0.2, 0.5))
    assert rows["nearest"]["dr"] == pytest.approx(0.5)
    assert rows["nearest"]["n_neurons"] == 50
    # 0.85 lies 5/12 of the way from 0.80 to 0.92: k = 50 + 30 * 5 / 12 = 62.5.
    assert rows["interpolated"]["dr"] == pytest.approx(0.375)
    assert rows["interpolated"]["n_neurons"] == 63


def test_a_decimal_that_equals_delta_is_reached(make):
    part, whole = 0.09, 0.1
    assert part / whole < 0.9  # the trap is real
    assert strict(make.curve({10: [part], 100: [whole]}))["n_neurons"] == 10


def test_the_first_crossing_counts_even_if_the_curve_dips_later(make):
    assert strict(make.curve({10: [0.95], 20: [0.5], 100: [1.0]}))["n_neurons"] == 10


def test_without_the_whole_layer_there_is_no_ratio(make):
    row = strict(make.curve({10: [0.5, 0.5], 80: [0.9, 0.9]}))
    assert row["censored"]
    assert all(row[name] is None for name in ("dr", "n_neurons", "bracket_low", "bracket_high", "ci_low", "ci_high"))
    assert row["n_seeds"] == 2


def test_an_undefined_whole_layer_is_no_whole_layer(make):
    assert strict(make.curve({10: [0.5, 0.5], 100: [0.9, None]}))["bracket_low"] is None


def test_accuracy_zero_has_no_ratio(make):
    row = strict(make.curve({10: [0.0, 0.0], 100: [0.0, 0.0]}))
    assert row["censored"]
    assert row["ci_low"] is None


def test_cka_that_never_reaches_delta_is_bounded(make):
    row = strict(None, make.cka([make.similarity(k, v + s, s) for k, v in ((10, -0.9), (50, -0.6)) for s in (1,)]))
    assert row["censored"]
    assert row["dr"] is None
    assert (row["bracket_low"], row["bracket_high"]) == (0.0, 0.5)
    assert row["ci_low"] is None
    assert row["solver"] is None
    assert row["protocol"] is None
    assert row["train_id"] is None


def test_censored_interval_says_how_far_the_crossing_can_be(make):
    rows = [make.similarity(k, v + 0.001 * s, s) for k, v in ((10, 0.1), (50, 0.6)) for s in (1, 2, 3)]
    row = strict(None, make.cka(rows))
    assert (row["ci_low"], row["ci_high"]) == (0.0, 0.5)


def test_a_null_makes_the_size_unmeasured(make):
    values = {10: [None, 0.99, 0.99], 20: [0.95, 0.95, 0.95]}
    rows = [make.similarity(k, v, s) for k, vs in values.items() for s, v in enumerate(vs)]
    row = strict(None, make.cka(rows))
    assert row["n_neurons"] == 20
    assert row["bracket_high"] == 1.0


def test_nan_is_null(make):
    assert strict(make.curve({10: [math.nan, 1.0], 20: [1.0, 1.0], 100: [1.0, 1.0]}))["n_neurons"] == 20


def test_only_nulls_still_give_a_row(make):
    row = strict(None, make.cka([make.similarity(10, None), make.similarity(20, None)]))
    assert row["censored"]
    assert row["n_seeds"] == 0
    assert row["bracket_high"] == 1.0


def test_one_size(make):
    row = strict(make.curve({100: [0.8, 0.9]}))
    assert (row["dr"], row["bracket_low"], row["bracket_high"]) == (0.0, 0.0, 1.0)
    assert (row["ci_low"], row["ci_high"]) == (0.0, 0.99)


def test_one_seed_has_no_interval(make):
    row = strict(make.curve({10: [0.5], 50: [0.95], 100: [1.0]}))
    assert row["dr"] == 0.5
    assert (row["n_seeds"], row["ci_low"], row["ci_high"]) == (1, None, None)


def test_no_spread_leaves_the_grid(make):
    """Seeds that agree say nothing against any size of the bracket: 11 to 50 neurons."""
    table = make.curve({10: [0.5] * 5, 50: [0.95] * 5, 100: [1.0] * 5})
    rows = {row["rule"]: row for row in redundancy(table, None, deltas=[0.9]).to_pylist()}
    assert (rows["strict"]["ci_low"], rows["strict"]["ci_high"]) == (0.5, 0.89)
    between = rows["interpolated"]
    assert between["ci_low"] == pytest.approx(between["dr"], abs=1e-12)
    assert between["ci_high"] == pytest.approx(between["dr"], abs=1e-12)


def test_the_interval_is_paired_by_seed(make):
    """Seeds that are good everywhere say nothing against the ratio: T_s(k) = 0.95 T_s(d) exactly."""
    whole = [0.6, 0.7, 0.8, 0.9, 1.0]
    paired = strict(make.curve({10: [0.1] * 5, 50: [0.92 * w for w in whole], 100: whole}))
    assert (paired["ci_low"], paired["ci_high"]) == (0.5, 0.89)
    fixed = strict(make.curve({10: [0.1] * 5, 50: [0.92 * w for w in whole], 100: [0.8]}))
    assert (fixed["ci_low"], fixed["ci_high"]) == pytest.approx((0.16, 0.89))


def test_a_whole_layer_of_one_run_keeps_the_interval_of_the_parts(make):
    row = strict(make.curve({10: [0.1, 0.1, 0.1], 50: [0.85, 0.9, 0.87], 100: [1.0]}))
    assert (row["dr"], row["n_seeds"]) == (0.0, 3)
    assert (row["ci_low"], row["ci_high"]) == (0.0, 0.51)


def test_ids_and_protocols_are_never_mixed(make):
    rows = []
    for protocol, train, value in (("paper", "x", 0.95), ("as-released", "x", 0.1), ("paper", "y", 0.2)):
        rows += [make.probe(10, value, protocol=protocol, train_id=train)]
        rows += [make.probe(100, 1.0, protocol=protocol, train_id=train)]
    got = redundancy(make.probes(rows), None, deltas=[0.9], rules=["strict"]).to_pylist()
    assert [(r["protocol"], r["train_id"], r["dr"]) for r in got] == [
        ("as-released", "x", 0.0),
        ("paper", "x", 0.9),
        ("paper", "y", 0.0),
    ]


def test_studies_share_results(make):
    rows = [make.probe(k, v, study=study) for study in ("a", "b") for k, v in ((10, 0.95), (100, 1.0))]
    row = strict(make.probes(rows))
    assert (row["dr"], row["n_seeds"]) == (0.9, 1)


def test_null_ids_of_imported_rows_are_one_cell(make):
    table = make.curve({10: [0.95], 100: [1.0]}, train_id=None, test_id=None, protocol="imported")
    assert strict(table)["dr"] == 0.9


def test_pairs_count_seeds_not_pairs(make):
    pairs = [(a, b) for a in range(1, 6) for b in range(a + 1, 6)]
    rows = [make.similarity(k, v + 0.01 * (a + b), a, b) for k, v in ((10, 0.5), (50, 0.87)) for a, b in pairs]
    rows += [make.similarity(10, 0.5 + 0.03, 2, 1)]
    row = strict(None, make.cka(rows))
    assert (row["measure"], row["n_seeds"], row["dr"]) == ("cka_pair", 5, 0.5)
    # U = mean + a sum of independent terms: the jackknife gives the exact variance, 4 var(0.01 s) / n.
    half = stats.t.ppf(0.975, 4) * 2 * 0.01 * np.std([1, 2, 3, 4, 5], ddof=1) / math.sqrt(5)
    assert 0.87 + 0.06 - 0.9 < half < 0.87 + 0.06 - 0.9 + 0.02
    # The last size may be too small: DR 0 cannot be excluded. The other end is the bracket's.
    assert (row["ci_low"], row["ci_high"]) == (0.0, 0.89)


def test_two_seeds_make_one_pair_and_no_interval(make):
    row = strict(None, make.cka([make.similarity(10, 0.95, 1, 2)]))
    assert (row["dr"], row["n_seeds"], row["ci_low"], row["ci_high"]) == (0.9, 2, None, None)


def test_empty_tables(make):
    got = redundancy(make.probes([]), make.cka([]), deltas=[0.9])
    assert got.num_rows == 0
    assert got.schema == REDUNDANCY_SCHEMA
    assert redundancy(None, None, deltas=[0.9]).schema == REDUNDANCY_SCHEMA
    assert redundancy(make.curve({100: [1.0]}), None, deltas=[]).num_rows == 0


def test_dictionary_and_large_strings_are_read(make):
    table = make.curve({10: [0.95], 100: [1.0]})
    index = table.schema.get_field_index("model")
    for kind in (pa.dictionary(pa.int32(), pa.string()), pa.large_string()):
        assert strict(table.set_column(index, "model", table["model"].cast(kind)))["model"] == "m"


def test_order_of_chunks_does_not_matter(make):
    table = make.curve({10: [0.5, 0.7], 50: [0.95, 0.92], 100: [1.0, 0.98]})
    chunked = pa.concat_tables([table.slice(4), table.slice(0, 1), table.slice(1, 3)])
    assert redundancy(chunked, None, deltas=[0.9]).equals(redundancy(table, None, deltas=[0.9]))


def test_small_disagreement_of_repeats_is_rounding(make):
    rows = [make.probe(10, 0.951), make.probe(10, 0.950, job_id="other"), make.probe(100, 1.0)]
    assert strict(make.probes(rows))["n_neurons"] == 10


def test_conflicting_repeats_are_refused(make):
    rows = [make.probe(10, 0.95), make.probe(10, 0.5), make.probe(100, 1.0)]
    with pytest.raises(ConflictingResults, match=r"got 0\.5 and 0\.95 at k = 10 of model='m'"):
        redundancy(make.probes(rows), None, deltas=[0.9])


def test_missing_column_is_named(make):
    table = make.curve({100: [1.0]}).drop_columns(["train_id"])
    with pytest.raises(InvalidTable, match="missing: train_id"):
        redundancy(table, None, deltas=[0.9])


@pytest.mark.parametrize("k", [0, 101])
def test_impossible_size_is_refused(make, k):
    with pytest.raises(InvalidTable, match=f"got {k} of 100"):
        redundancy(make.curve({k: [1.0], 100: [1.0]}), None, deltas=[0.9])


def test_a_pair_needs_two_seeds(make):
    with pytest.raises(InvalidTable, match="two different seeds"):
        redundancy(None, make.cka([make.similarity(10, 0.9, 1, 1)]), deltas=[0.9])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"deltas": [1.1]}, "deltas must lie"),
        ({"deltas": [math.nan]}, "deltas must lie"),
        ({"deltas": [0.9], "rules": ["exact"]}, "rules must be among"),
        ({"deltas": [0.9], "confidence": 1.0}, "confidence must lie"),
    ],
)
def test_options_are_checked(make, options, match):
    with pytest.raises(InvalidOption, match=match):
        redundancy(make.curve({100: [1.0]}), None, **options)


def test_pandas_round_trip_keeps_nulls(make):
    frame = redundancy(make.curve({100: [1.0]}), None, deltas=[0.9]).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame["ci_low"].isna().all()


def fine(make, seed: int, **other: Any) -> list[dict[str, Any]]:
    """Rows of a noisy curve on a fine grid: sizes that seeds can't tell apart."""
    rng = np.random.default_rng(seed)
    sizes = [*range(2, 60, 2), 70, 85, 100]
    return [
        make.probe(k, 0.8 * (1 - math.exp(-k / 15)) + 0.03 * rng.normal(), s, **other) for k in sizes for s in range(4)
    ]


def test_equals_the_loop_on_fine_grids(make):
    """Several windows of several shapes at once, and cells with seeds that differ among the sizes of a window."""
    rows = [row for i in range(6) for row in fine(make, i, train_id=f"id{i}")]
    rows += [row for row in fine(make, 7, train_id="id7") if (row["n_neurons"], row["seed"]) != (30, 2)]
    rows += [row for row in fine(make, 8, train_id="id8") if row["seed"] < 2]
    table = make.probes(rows)
    for delta in (0.8, 0.9):
        check(redundancy(table, None, deltas=[delta]), oracle(table, delta, accuracy=True))


def test_noise_of_single_probes_does_not_widen_the_interval(make):
    """More sizes, each with a noise of its own, are more knowledge, not less."""
    width = {}
    for step in (8, 1):
        rng = np.random.default_rng(3)
        values = {k: list(0.8 * (1 - math.exp(-k / 80)) + 0.02 * rng.normal(size=5)) for k in range(8, 400, step)}
        rows = [make.probe(k, v, s, width=1000) for k, vs in values.items() for s, v in enumerate(vs)]
        rows += [make.probe(1000, 0.8, s, width=1000) for s in range(5)]
        (row,) = redundancy(make.probes(rows), None, deltas=[0.8], rules=["interpolated"]).to_pylist()
        assert row["ci_low"] <= 1 - 80 * math.log(5) / 1000 <= row["ci_high"]
        width[step] = row["ci_high"] - row["ci_low"]
    assert width[1] < width[8]


def many(make, method: str, values: dict[int, list[float | None]], **other: Any) -> list[dict[str, Any]]:
    return [make.probe(k, v, seed, method=method, **other) for k, vs in values.items() for seed, v in enumerate(vs, 1)]


@pytest.mark.parametrize("method", ["pca", "pca_least", "random_projection", "random_projection_uniform"])
def test_the_whole_layer_is_that_of_an_order(make, method):
    """0.7 is 0.875 of the layer's 0.8, and would be all of what a projection to d dimensions reaches."""
    rows = many(make, method, {10: [0.3, 0.3], 50: [0.70, 0.70], 100: [0.7, 0.7]})
    rows += many(make, "random", {100: [0.8, 0.8]}) + many(make, "first", {100: [0.1]})
    both = redundancy(make.probes(rows), None, deltas=[0.85, 0.9], rules=["strict"]).to_pylist()
    got = {row["method"]: row for row in both if row["delta"] == 0.85}
    assert (got[method]["dr"], got[method]["whole_method"]) == (0.5, "random")
    assert (got["random"]["whole_method"], got["first"]["whole_method"]) == ("random", "first")
    (never,) = (row for row in both if row["delta"] == 0.9 and row["method"] == method)
    assert (never["censored"], never["bracket_low"], never["bracket_high"]) == (True, 0.0, 0.0)
    assert never["ci_low"] is None


def test_components_that_stop_before_the_width_have_a_ratio(make):
    rows = many(make, "pca", {10: [0.3], 50: [0.79]})
    assert strict(make.probes(rows))["censored"]
    rows += many(make, "ranked:variance", {100: [0.8]})
    got = redundancy(make.probes(rows), None, deltas=[0.9], rules=["strict"]).to_pylist()[0]
    assert (got["dr"], got["whole_method"]) == (0.5, "ranked:variance")
    # Never of another solver, protocol or representation.
    for other in ({"protocol": "p2"}, {"solver": "ridge"}, {"test_id": "c" * 64}, {"width": 200}):
        alone = many(make, "pca", {10: [0.3], 50: [0.79]}) + many(make, "random", {100: [0.8]}, **other)
        assert all(
            row["censored"]
            for row in redundancy(make.probes(alone), None, deltas=[0.9], rules=["strict"]).to_pylist()
            if row["method"] == "pca"
        )


def test_a_projection_alone_is_held_against_itself(make):
    row = strict(make.probes(many(make, "random_projection", {50: [0.69], 100: [0.7]})))
    assert (row["dr"], row["whole_method"]) == (0.5, "random_projection")


def test_a_borrowed_whole_layer_is_paired_by_seed(make):
    whole = [0.6, 0.7, 0.8, 0.9, 1.0]
    rows = many(make, "pca", {10: [0.1] * 5, 50: [0.92 * w for w in whole]}) + many(make, "random", {100: whole})
    row = redundancy(make.probes(rows), None, deltas=[0.9], rules=["strict"]).to_pylist()[0]
    assert (row["method"], row["ci_low"], row["ci_high"]) == ("pca", 0.5, 0.89)


def test_a_diverged_whole_layer_of_an_order_is_not_replaced(make):
    rows = many(make, "first", {50: [0.8], 100: [None]}) + many(make, "random", {100: [0.8]})
    row = redundancy(make.probes(rows), None, deltas=[0.9], rules=["strict"]).to_pylist()[0]
    assert (row["method"], row["censored"], row["whole_method"]) == ("first", True, None)


def test_diverged_probes_are_counted(make):
    row = strict(make.curve({10: [0.95, None], 20: [0.95, 0.95], 30: [None, None], 100: [1.0, 1.0]}))
    assert (row["n_neurons"], row["n_undefined"]) == (20, 2)


def test_controls_have_no_redundancy(make):
    rows = many(make, "random", {10: [0.95], 100: [1.0]})
    control = many(make, "random", {10: [0.1], 100: [0.1]}, protocol="paper+random-labels")
    base = redundancy(make.probes(rows), None, deltas=[0.9])
    assert redundancy(make.probes(rows + control), None, deltas=[0.9]).equals(base)
    assert redundancy(make.probes(control), None, deltas=[0.9]).num_rows == 0


def test_estimators_of_cka_never_mix(make):
    def rows(high: float, **other: Any) -> list[dict[str, Any]]:
        return [make.similarity(k, v, s, **other) for k, v in ((10, 0.5), (50, high)) for s in (1, 2)]

    def with_estimator(table: pa.Table, name: str | None) -> pa.Table:
        return table.append_column("estimator", pa.repeat(pa.scalar(name, pa.string()), table.num_rows))

    old, biased, debiased = make.cka(rows(0.95)), make.cka(rows(0.95)), make.cka(rows(0.6))
    table = pa.concat_tables(
        [with_estimator(old, None), with_estimator(biased, "biased"), with_estimator(debiased, "debiased")]
    )
    got = redundancy(None, table, deltas=[0.9], rules=["strict"]).to_pylist()
    assert [(r["measure"], r["protocol"], r["dr"], r["n_seeds"]) for r in got] == [
        ("cka", None, 0.5, 2),
        ("cka", "debiased", None, 2),
    ]
    assert strict(None, old)["dr"] == 0.5


def test_no_value_of_the_table_is_nan(make):
    rows = many(make, "random", {10: [None, 0.1], 50: [math.nan, math.inf], 100: [0.0, 0.0]})
    rows += many(make, "pca", {10: [0.2], 50: [None]}) + many(make, "first", {100: [0.5]}, dataset="e")
    got = redundancy(make.probes(rows), make.cka([make.similarity(10, math.nan)]), deltas=[0.0, 0.9, 1.0])
    for name in got.column_names:
        if pa.types.is_floating(got[name].type):
            assert not any(math.isnan(x) for x in got[name].drop_null().to_pylist()), name
