import numpy as np
import pytest
from scipy import stats

from aggregate import SELECTIVITY_SCHEMA, ConflictingResults, InvalidOption, redundancy, selectivity

CONTROL = "paper+random-labels"


def rows(make, values, **other):
    return [make.probe(k, v, s, **other) for k, vs in values.items() for s, v in enumerate(vs, 1)]


def test_the_mean_and_interval_of_paired_differences(make):
    rng = np.random.default_rng(0)
    real, control = 0.8 + 0.1 * rng.random((2, 5)), 0.1 + 0.1 * rng.random((2, 5))
    made = rows(make, {10: list(real[0]), 50: list(real[1])})
    made += rows(make, {10: list(control[0]), 50: list(control[1])}, protocol=CONTROL)
    rng.shuffle(made)
    got = selectivity(make.probes(made))
    assert got.schema == SELECTIVITY_SCHEMA
    for row, a, b in zip(got.to_pylist(), real, control, strict=True):
        low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
        want = (a.mean(), b.mean(), (a - b).mean(), low, high)
        assert [row[n] for n in ("accuracy", "control", "selectivity", "ci_low", "ci_high")] == pytest.approx(want)
        assert (row["protocol"], row["n_seeds"], row["width"]) == ("paper", 5, 100)
    assert got["fraction"].to_pylist() == [0.1, 0.5]


def test_only_what_has_both_counts(make):
    made = rows(make, {10: [0.9, 0.8, 0.7], 20: [0.9], 30: [0.9, 0.9], 40: [0.9, None]})
    made += rows(make, {10: [0.1, 0.2], 30: [None, 0.1], 40: [0.1, 0.1], 50: [0.1]}, protocol=CONTROL)
    made += rows(make, {10: [0.5]}, protocol=CONTROL, method="pca")
    made += rows(make, {10: [0.5]}, protocol="other")
    (row,) = selectivity(make.probes(made)).to_pylist()
    assert (row["n_neurons"], row["n_seeds"]) == (10, 2)
    assert row["accuracy"] == pytest.approx(0.85)
    assert row["selectivity"] == pytest.approx(0.7)


def test_a_control_is_scored_on_training_rows_and_serves_every_test_split(make):
    made = rows(make, {10: [0.9, 0.8]}) + rows(make, {10: [0.7, 0.6]}, test_id="c" * 64)
    made += rows(make, {10: [0.1, 0.2]}, protocol=CONTROL, test_id="a" * 64)
    got = selectivity(make.probes(made))
    assert got["selectivity"].to_pylist() == pytest.approx([0.7, 0.5])
    assert got["n_seeds"].to_pylist() == [2, 2]


def test_one_seed_has_no_interval(make):
    made = rows(make, {10: [0.9]}) + rows(make, {10: [0.1]}, protocol=CONTROL)
    (row,) = selectivity(make.probes(made)).to_pylist()
    assert (row["ci_low"], row["ci_high"]) == (None, None)
    assert row["selectivity"] == pytest.approx(0.8)


def test_seeds_are_matched_by_number_and_not_by_rank(make):
    made = [make.probe(10, 0.9, 7), make.probe(10, 0.5, 9), make.probe(10, 0.1, 9, protocol=CONTROL)]
    (row,) = selectivity(make.probes(made)).to_pylist()
    assert row["accuracy"] == pytest.approx(0.5)


@pytest.mark.parametrize("empty", ["all", "controls", "real"])
def test_nothing_to_compare(make, empty):
    made = [] if empty == "all" else rows(make, {10: [0.9]}, protocol=CONTROL if empty == "real" else "paper")
    assert selectivity(make.probes(made)).num_rows == 0


def test_means_per_class_have_controls_of_their_own(make):
    base = "paper+mean-per-class"
    made = rows(make, {10: [0.9]}, protocol=base) + rows(make, {10: [0.2]}, protocol=base + "+random-labels")
    (row,) = selectivity(make.probes(made)).to_pylist()
    assert (row["protocol"], row["control"]) == (base, 0.2)
    assert redundancy(make.probes(made), None, deltas=[0.9], rules=["strict"])["protocol"].to_pylist() == [base]


def test_wrong_requests_are_refused(make):
    with pytest.raises(InvalidOption, match="confidence must lie"):
        selectivity(make.probes([]), confidence=1.0)
    with pytest.raises(ConflictingResults, match="one subset must have one result"):
        selectivity(make.probes([make.probe(10, v, protocol=CONTROL) for v in (0.1, 0.9)]))
