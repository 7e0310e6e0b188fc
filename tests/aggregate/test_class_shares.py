import random

import numpy as np
import pytest

from aggregate import (
    CLASS_SHARES_SCHEMA,
    InvalidTable,
    class_shares,
    coefficient_of_variation,
    coefficient_of_variation_of_seeds,
    gini,
    gini_of_seeds,
)


def test_one_row_per_cell_and_size(make):
    rng = np.random.default_rng(0)
    shares = rng.random((2, 3, 4))
    rows = [
        make.probe(k, float(shares[i, s].mean()), s, class_accuracy=list(shares[i, s]))
        for i, k in enumerate((10, 100))
        for s in range(3)
    ]
    rows += [make.probe(50, 0.5, s) for s in range(3)]  # off the grid: no list
    rows += [dict(row, study="t", class_accuracy=None) for row in rows]  # another study's whole curve
    rows += [make.probe(10, 0.1, 0, class_accuracy=[0.1] * 4, protocol="paper+random-labels")]
    random.Random(1).shuffle(rows)
    got = class_shares(make.probes(rows))
    assert got.schema == CLASS_SHARES_SCHEMA
    assert got["n_neurons"].to_pylist() == [10, 100]
    for row, values in zip(got.to_pylist(), shares, strict=True):
        assert row["gini"] == gini(values)
        assert row["cv"] == coefficient_of_variation(values)
        assert row["gini_per_seed"] == gini_of_seeds(values) == [gini(v) for v in values]
        assert row["cv_per_seed"] == coefficient_of_variation_of_seeds(values)
        assert row["gini_seed_mean"] == pytest.approx(np.mean(row["gini_per_seed"]))
        assert row["gini"] < row["gini_seed_mean"]
        assert row["cv"] < row["cv_seed_mean"]
        assert row["accuracy"] == pytest.approx(values.mean())
        assert (row["seeds"], row["n_seeds"], row["n_classes"], row["fraction"]) == (
            [0, 1, 2], 3, 4, row["n_neurons"] / 100,
        )  # fmt: skip


def test_a_probe_that_is_wrong_on_everything_is_even(make):
    rows = [make.probe(10, 0.0, s, class_accuracy=[0.0, 0.0, 0.0]) for s in (1, 2)]
    (row,) = class_shares(make.probes(rows)).to_pylist()
    assert row["gini"] == pytest.approx(0, abs=1e-12)
    assert (row["cv"], row["cv_per_seed"]) == (0.0, [0.0, 0.0])


def test_classes_without_samples_and_diverged_probes(make):
    rows = [make.probe(10, 0.5, s, class_accuracy=[0.2, None, 0.8]) for s in (1, 2)]
    rows += [make.probe(20, 0.5, 1, class_accuracy=[0.5, 0.5, 0.5]), make.probe(20, None, 2)]
    (row,) = class_shares(make.probes(rows)).to_pylist()
    assert (row["n_neurons"], row["n_classes"]) == (10, 2)
    assert row["gini"] == pytest.approx(gini([0.2, 0.8]))


def test_repeats_count_once_in_any_order(make):
    rows = [make.probe(10, 0.5 + x, 1, class_accuracy=[0.5 + x, 0.5]) for x in (0.0, 0.002, 0.001)]
    assert class_shares(make.probes(rows)).equals(class_shares(make.probes(rows[::-1])))
    assert class_shares(make.probes(rows))["n_seeds"].to_pylist() == [1]


def test_nothing_to_count(make):
    assert class_shares(make.probes([])).num_rows == 0
    assert class_shares(make.probes([make.probe(10, 0.5)])).num_rows == 0


def test_wrong_tables_are_refused(make):
    with pytest.raises(InvalidTable, match="missing"):
        class_shares(make.probes([]).drop_columns(["class_accuracy"]))
    rows = [make.probe(10, 0.5, s, class_accuracy=[0.5] * (s + 1)) for s in (1, 2)]
    with pytest.raises(InvalidTable, match="the same classes"):
        class_shares(make.probes(rows))
    with pytest.raises(InvalidTable, match="stack the seeds"):
        gini_of_seeds([0.1, 0.2])
