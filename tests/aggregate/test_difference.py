"""Differences of DR and of values: against scipy where curves are straight, and what is refused or not known."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from aggregate import (
    DIFFERENCE_SCHEMA,
    VALUE_DIFFERENCE_SCHEMA,
    InvalidOption,
    Side,
    difference_table,
    differences,
    value_differences,
    write_text_table,
)
from store.errors import UnknownName

DELTA = 0.8


def straight(make, crossings, *, model, first_seed=1, slope=0.5, **other):
    """CKA at two sizes, so that the line of seed s crosses DELTA at crossings[s], in shares of the width of 1000."""
    rows = []
    for seed, crossing in enumerate(crossings, first_seed):
        for k in (100, 900):
            value = DELTA + slope * (k / 1000 - crossing)
            rows.append(make.similarity(k, value, seed, width=1000, model=model, test_id=model, **other))
    return make.cka(rows)


def side(table, label, **where):
    kinds = {"cka": table} if "kind" in table.column_names else {"probes": table}
    return Side(**kinds, where=where, label=label)


def one(a, b, **options):
    table, _ = differences(a, b, deltas=[DELTA], **options)
    (row,) = table.to_pylist()
    return row


class TestStraightCurves:
    """Where curves are straight the interval of a difference is that of a t test on the crossings of single seeds."""

    rng = np.random.default_rng(5)
    luck = rng.normal(size=5) * 0.02
    a = 0.40 + luck + rng.normal(size=5) * 0.004
    b = 0.42 + 1.4 * luck + rng.normal(size=5) * 0.004

    @pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
    @pytest.mark.parametrize("slopes", [(0.5, 0.5), (0.3, 0.9)])
    def test_paired(self, make, slopes, confidence):
        sides = (
            side(straight(make, self.a, model="m", slope=slopes[0]), "A"),
            side(straight(make, self.b, model="n", slope=slopes[1]), "B"),
        )
        row = one(*sides, rule="interpolated", confidence=confidence)
        # DR falls as the crossing rises.
        test = stats.ttest_rel(self.b, self.a)
        low, high = test.confidence_interval(confidence)
        assert row["difference"] == pytest.approx(np.mean(self.b - self.a), abs=1e-12)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-12)
        assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-6)
        assert (row["pairing"], row["n_seeds_a"], row["n_seeds_b"]) == ("paired", 5, 5)
        # Not the same as without pairs, which is what makes the test one.
        assert high - low < 0.7 * np.ptp(
            stats.ttest_ind(self.b, self.a, equal_var=False).confidence_interval(confidence)
        )

    @pytest.mark.parametrize("n_a", [3, 5])
    def test_unpaired_is_welch(self, make, n_a):
        a = self.a[:n_a]
        row = one(
            side(straight(make, a, model="m", slope=0.4), "A"),
            side(straight(make, self.b, model="n", first_seed=11), "B"),
            rule="interpolated",
        )
        test = stats.ttest_ind(self.b, a, equal_var=False)
        low, high = test.confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-10)
        assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-6)
        assert (row["pairing"], row["n_seeds_a"]) == ("unpaired", n_a)

    def test_strict_holds_what_the_grids_leave_open(self, make):
        row = one(side(straight(make, self.a, model="m"), "A"), side(straight(make, self.b, model="n"), "B"))
        assert (row["bracket_low_a"], row["bracket_high_a"]) == pytest.approx((0.1, 0.9))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((-0.8, 0.8))
        low, high = stats.ttest_rel(self.b, self.a).confidence_interval(0.95)
        assert (row["seeds_low"], row["seeds_high"]) == pytest.approx((low, high), abs=1e-12)
        assert row["verdict"] == "undecided: the grid is too coarse"
        assert row["p_value"] == 1

    def test_a_clear_difference_has_a_verdict_and_its_mirror(self, make):
        better, worse = self.a - 0.2, self.a
        a, b = side(straight(make, better, model="m"), "A"), side(straight(make, worse, model="n"), "B")
        row, mirrored = one(a, b, rule="interpolated"), one(b, a, rule="interpolated")
        assert (row["verdict"], mirrored["verdict"]) == ("A is more redundant", "B is more redundant")
        assert row["ci_low"] == pytest.approx(-mirrored["ci_high"], abs=1e-12)
        assert row["p_value"] <= 0.05

    def test_a_method_that_draws_nothing_is_fixed(self, make):
        row = one(
            side(straight(make, self.a, model="m"), "A", method="random"),
            side(straight(make, [0.5], model="m", method="pca"), "B", method="pca"),
            rule="interpolated",
        )
        low, high = stats.ttest_1samp(0.5 - self.a, 0).confidence_interval(0.95)
        assert row["pairing"] == "b fixed"
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-10)


def test_one_seed_of_a_random_draw_has_no_interval(make):
    row = one(
        side(straight(make, [0.4, 0.41], model="m"), "A"),
        side(straight(make, [0.3], model="n"), "B"),
        rule="interpolated",
    )
    assert (row["ci_low"], row["p_value"], row["pairing"]) == (None, None, "none")
    assert row["verdict"] == "unknown: B has one seed"
    assert row["difference"] == pytest.approx(-0.105)


def test_a_censored_side_gives_a_bound(make):
    never = make.cka([make.similarity(k, v, s, model="n") for k, v in ((10, 0.2), (50, 0.4)) for s in (1, 2, 3)])
    soon = make.cka([make.similarity(k, v, s, model="m") for k, v in ((5, 0.7), (10, 0.95)) for s in (1, 2, 3)])
    row = one(side(soon, "A"), side(never, "B"))
    assert (row["dr_b"], row["difference"], row["censored_b"]) == (None, None, True)
    # A lies in [0.9, 0.95), B below 0.5: the interval is the worst of both.
    assert row["ci_low"] == pytest.approx(0.9 - 0.5)
    assert row["ci_high"] == pytest.approx(0.95)
    assert row["verdict"] == "A is more redundant"
    late = make.cka([make.similarity(k, v, s, model="n") for k, v in ((10, 0.2), (50, 0.85)) for s in (1, 2, 3)])
    assert one(side(late, "A"), side(never.set_column(1, "model", pa.repeat("x", 6)), "B"))["verdict"] == (
        "undecided: B never reaches delta (censored)"
    )


def test_a_missing_whole_layer_is_unknown(make):
    part = make.curve({10: [0.5, 0.6], 50: [0.8, 0.9]}, model="n")
    whole = make.curve({10: [0.5, 0.6], 100: [0.8, 0.9]}, model="m")
    row = one(side(whole, "A"), side(part, "B"))
    assert (row["dr_b"], row["ci_low"]) == (None, None)
    assert row["verdict"] == "unknown: the whole layer of B was not measured"


def test_each_row_is_its_own_and_the_schema_holds(make):
    def both(model):
        return pa.concat_tables([straight(make, TestStraightCurves.a, model=model, dataset=d) for d in ("c", "d")])

    table, notes = differences(
        side(both("m"), "A"), side(both("n"), "B"), deltas=[0.75, DELTA], rule="interpolated", adjust=True
    )
    assert table.schema == DIFFERENCE_SCHEMA
    assert [(r["dataset_a"], r["delta"]) for r in table.to_pylist()] == [
        ("c", 0.75),
        ("c", 0.8),
        ("d", 0.75),
        ("d", 0.8),
    ]
    assert notes == ()
    assert set(table["verdict"].to_pylist()) == {"no difference is seen"}


def test_holm_is_that_of_the_definition(make):
    rng = np.random.default_rng(3)
    values = {d: rng.normal(0.05 * i, 0.02, size=5) for i, d in enumerate("cdef")}
    base = TestStraightCurves.a
    a = pa.concat_tables([straight(make, base, model="m", dataset=d) for d in values])
    b = pa.concat_tables([straight(make, base + v, model="n", dataset=d) for d, v in values.items()])
    table, _ = differences(side(a, "A"), side(b, "B"), deltas=[DELTA], rule="interpolated", adjust=True)
    p = np.array(table["p_value"].to_pylist())
    expected, most = np.empty(4), 0.0
    for rank, i in enumerate(np.argsort(p)):
        most = max(most, min(1.0, p[i] * (4 - rank)))
        expected[i] = most
    np.testing.assert_allclose(table["p_holm"].to_numpy(), expected, rtol=1e-12)
    assert len(set(np.round(p, 6))) == 4
    for row in table.to_pylist():
        assert (row["verdict"] == "A is more redundant") == (row["p_holm"] <= 0.05)


class TestWhatIsCompared:
    """What belongs to what, what is refused, and what is said to be left out."""

    def curves(self, make, **other):
        return make.curve({10: [0.5, 0.6, 0.7], 100: [0.9, 0.8, 0.9]}, **other)

    def test_protocols_are_never_compared_unless_both_are_said(self, make):
        a, b = self.curves(make, model="m"), self.curves(make, model="n", protocol="as-released")
        with pytest.raises(
            InvalidOption, match=r"got protocol paper in A and as-released in B.*never compared silently"
        ):
            differences(side(a, "A"), side(b, "B"), deltas=[0.9])
        table, _ = differences(side(a, "A", protocol="paper"), side(b, "B", protocol="as-released"), deltas=[0.9])
        assert table["protocol_b"].to_pylist() == ["as-released"]
        assert "differ in the protocol" in " ".join(difference_table(table).notes)

    def test_data_sets_without_a_partner_are_named(self, make):
        a = pa.concat_tables([self.curves(make, model="m"), self.curves(make, model="m", dataset="x")])
        table, notes = differences(side(a, "A"), side(self.curves(make, model="n"), "B"), deltas=[0.9])
        assert table.num_rows == 1
        assert notes == ("Only in A: accuracy, dataset x, solver sgd, protocol paper, method random.",)

    def test_what_one_side_says_holds_for_both(self, make):
        rows = [self.curves(make, model=m, layer=layer, test_id=m + layer) for m in "mn" for layer in ("l1", "l2")]
        table = pa.concat_tables(rows)
        got, _ = differences(side(table, "A", model="m", layer="l1"), side(table, "B", model="n"), deltas=[0.9])
        assert got.select(["model_a", "layer_a", "model_b", "layer_b"]).to_pylist() == [
            {"model_a": "m", "layer_a": "l1", "model_b": "n", "layer_b": "l1"}
        ]

    def test_a_name_that_stands_for_several_is_refused(self, make):
        a = pa.concat_tables([self.curves(make, model="m", test_id=i * 64) for i in "bc"])
        b = self.curves(make, model="n")
        with pytest.raises(InvalidOption, match=r"got 2 of model 'm' on 'c'.*test_id=bbbbbbbb; test_id=cccccccc"):
            differences(side(a, "A"), side(b, "B"), deltas=[0.9])
        assert one(side(a, "A", test_id="bb"), side(b, "B"))["test_id_a"] == "b" * 64

    def test_the_same_results_are_no_comparison(self, make):
        a = self.curves(make)
        with pytest.raises(InvalidOption, match="the very same results on both sides"):
            differences(side(a, "A"), side(a, "B"), deltas=[0.9])

    def test_unknown_names_have_the_nearest(self, make):
        a, b = self.curves(make, model="resnet50"), self.curves(make, model="n")
        with pytest.raises(UnknownName, match=r"A: there is no model 'resnet5'. Did you mean 'resnet50'\?"):
            differences(side(a, "A", model="resnet5"), side(b, "B"), deltas=[0.9])
        with pytest.raises(UnknownName, match=r"no name to select by 'modle'\. Did you mean 'model'"):
            side(a, "A", modle="x")
        with pytest.raises(InvalidOption, match="A: there are no results"):
            differences(Side(where={}, label="A"), side(b, "B"), deltas=[0.9])
        with pytest.raises(InvalidOption, match=r"deltas must lie in \[0, 1\], got 9"):
            differences(side(a, "A"), side(b, "B"), deltas=[9])


class TestValues:
    """Accuracy at equal size: exactly scipy's t tests."""

    rng = np.random.default_rng(8)
    a, b = rng.uniform(0.5, 0.9, size=(2, 3, 5))

    def tables(self, make, *, first_seed=1):
        ks = (10, 30, 100)
        a = make.probes(
            [make.probe(k, v, s, model="m") for k, r in zip(ks, self.a, strict=True) for s, v in enumerate(r)]
        )
        b = make.probes(
            [
                make.probe(k, v, s + first_seed - 1, model="n")
                for k, r in zip(ks, self.b, strict=True)
                for s, v in enumerate(r)
            ]
        )
        return side(a, "A"), side(b, "B")

    def test_paired_is_the_paired_t_test(self, make):
        table, _ = value_differences(*self.tables(make), at="k")
        assert table.schema == VALUE_DIFFERENCE_SCHEMA
        for row, a, b in zip(table.to_pylist(), self.a, self.b, strict=True):
            test = stats.ttest_rel(a, b)
            assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(test.confidence_interval(0.95)), abs=1e-12)
            assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-9)
            assert row["pairing"] == "paired"

    def test_unpaired_is_welchs(self, make):
        table, _ = value_differences(*self.tables(make, first_seed=4), at="k", confidence=0.9)
        for row, a, b in zip(table.to_pylist(), self.a, self.b, strict=True):
            test = stats.ttest_ind(a, b, equal_var=False)
            assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(test.confidence_interval(0.9)), abs=1e-12)
            assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-9)
            assert row["pairing"] == "unpaired"

    def test_fractions_match_to_one_neuron(self, make):
        a = make.probes([make.probe(k, 0.5, s, model="m", width=64) for k in (6, 32, 64) for s in (1, 2)])
        b = make.probes([make.probe(k, 0.4, s, model="n", width=100) for k in (10, 20, 50, 100) for s in (1, 2)])
        table, _ = value_differences(side(a, "A"), side(b, "B"), at="fraction")
        assert list(zip(table["n_neurons_a"].to_pylist(), table["n_neurons_b"].to_pylist(), strict=True)) == [
            (6, 10), (32, 50), (64, 100)
        ]  # fmt: skip
        assert table["difference"].to_pylist() == pytest.approx([0.1] * 3)
        with pytest.raises(InvalidOption, match="must have sizes in common, got none of equal k"):
            value_differences(side(a, "A"), side(b, "B"), at="k")
        with pytest.raises(InvalidOption, match="at must be among k, fraction"):
            value_differences(side(a, "A"), side(b, "B"), at="size")


def test_the_table_says_what_it_is(make):
    table, notes = differences(
        side(straight(make, TestStraightCurves.a, model="m|<b>"), "A"),
        side(straight(make, TestStraightCurves.b, model="n"), "B"),
        deltas=[DELTA],
    )
    shown = difference_table(table, notes)
    assert shown.notes[0] == "A: model m|<b>; width 1000."
    text = write_text_table(shown, "md")
    assert "m\\|\\<b>" in text
    assert "leave open: 0.8 to 0.8 on each side" in text
    (row,) = shown.rows
    assert row[-1] == "undecided: the grid is too coarse"
    assert "5 paired" in row
