"""Rankings are those of a plain computation on the training rows, and rounding never decides one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from probe import InvalidProbe
from probe.ranking import RIDGE, by_variance, by_weight, variances
from probe.statistics import Statistics, block_statistics, merge


def problem(n=300, d=30, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(n, d)) * rng.uniform(0.1, 5, size=d), 0) + 1
    scores = x @ rng.normal(size=(d, n_classes))
    return x.astype(np.float32), (scores - scores.mean(0)).argmax(1).astype(np.int64)


def of_blocks(x, y, n_classes, size):
    """Return statistics merged from blocks of ``size`` rows."""
    total = None
    for start in range(0, len(x), size):
        part = block_statistics(x[start : start + size], y[start : start + size], n_classes)
        total = part if total is None else merge(total, part)
    return total


def test_by_variance_is_a_plain_sort():
    x, y = problem()
    assert_array_equal(by_variance(block_statistics(x, y, 4)), np.argsort(-x.astype(np.float64).var(0)))


def test_variances_are_those_of_numpy():
    x, y = problem()
    assert_allclose(variances(block_statistics(x, y, 4)), x.astype(np.float64).var(0, ddof=1), rtol=1e-12)


def test_by_weight_is_the_weight_of_scikit_learns_ridge_in_the_unit_of_the_neuron():
    x, y = problem()
    x64 = x.astype(np.float64)
    ridge = RIDGE * ((x64 - x64.mean(0)) ** 2).sum(0).mean()
    fitted = Ridge(alpha=ridge).fit(x64, np.eye(4)[y])
    score = np.linalg.norm(fitted.coef_, axis=0) * x64.std(0)
    assert_array_equal(by_weight(block_statistics(x, y, 4)), np.argsort(-score))


def test_by_weight_finds_the_neurons_that_tell_classes_apart_though_others_vary_more():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 500)
    x = rng.normal(size=(500, 20)) * 10
    useful = [4, 17]
    x[:, useful] = rng.normal(size=(500, 2)) * 0.5 + y[:, None]
    total = block_statistics(x, y, 2)
    assert sorted(by_weight(total)[:2].tolist()) == useful
    assert sorted(by_variance(total)[-2:].tolist()) == useful


RANKINGS = [by_variance, by_weight]


@pytest.mark.parametrize("rank", RANKINGS)
@given(seed=st.integers(0, 10**6), d=st.integers(1, 20), n=st.integers(4, 40))
def test_a_ranking_holds_each_neuron_once(rank, seed, d, n):
    x, y = problem(n, d, 3, seed)
    y[:2] = 0, 1
    order = rank(block_statistics(x, y, 3))
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(d))


@pytest.mark.parametrize("rank", RANKINGS)
def test_equal_neurons_stand_by_index_whatever_the_blocks(rank):
    """Every neuron four times, in shuffled places: sums in another order must not part the four."""
    x, y = problem(d=12)
    source = np.random.default_rng(2).permutation(np.repeat(np.arange(12), 4))
    x = x[:, source]
    orders = [rank(of_blocks(x, y, 4, size)) for size in (300, 77, 13)]
    for order in orders:
        assert_array_equal(order, orders[0])
        groups = order.reshape(12, 4)
        assert (source[groups] == source[groups[:, :1]]).all()
        assert (np.diff(groups, axis=1) > 0).all()


@pytest.mark.parametrize("rank", RANKINGS)
@pytest.mark.parametrize("size", [300, 50, 7])
def test_constant_neurons_come_last_by_index(rank, size):
    x, y = problem()
    x[:, 2], x[:, 9], x[:, 20] = 0.1, 0, 1234.567
    order = rank(of_blocks(x, y, 4, size))
    assert order[-3:].tolist() == [2, 9, 20]


@pytest.mark.parametrize("rank", RANKINGS)
def test_what_is_left_of_a_constant_neuron_by_rounding_is_no_variance(rank):
    """Statistics summed elsewhere may leave the rounding of a mean: 1e-13 of 1e4, squared, over 300 rows."""
    x, y = problem()
    x[:, 5], x[:, 6] = 0, 1e4
    total = block_statistics(x, y, 4)
    scatter = total.scatter.copy()
    scatter[6, 6] = 300 * (1e-13 * 1e4) ** 2
    rounded = Statistics(
        n=total.n, mean=total.mean, scatter=scatter, class_counts=total.class_counts, class_sums=total.class_sums
    )
    assert variances(rounded)[6] == 0
    assert rank(rounded)[-2:].tolist() == [5, 6]


def test_a_neuron_that_differs_in_the_last_digit_of_one_row_varies():
    x = np.full((1000, 2), 1000, np.float32)
    x[5, 1] = np.nextafter(np.float32(1000), np.float32(2000))
    found = variances(block_statistics(x, np.zeros(1000, np.int64), 1))
    assert found[0] == 0 < found[1]


@pytest.mark.parametrize("rank", RANKINGS)
def test_a_layer_of_constant_neurons_stands_by_index(rank):
    x = np.full((6, 4), 0.1, np.float32)
    assert rank(block_statistics(x, np.arange(6) % 2, 2)).tolist() == [0, 1, 2, 3]


def test_a_class_missing_from_train_changes_nothing():
    x, y = problem()
    assert_array_equal(by_weight(block_statistics(x, y, 4)), by_weight(block_statistics(x, y * 2, 9)))


def test_more_neurons_than_rows():
    x, y = problem(n=10, d=40)
    y[:2] = 0, 1
    assert sorted(by_weight(block_statistics(x, y, 4)).tolist()) == list(range(40))


def test_the_unit_of_all_features_does_not_matter():
    x, y = problem()
    for rank in RANKINGS:
        assert_array_equal(rank(block_statistics(x * np.float32(1e-6), y, 4)), rank(block_statistics(x, y, 4)))


def test_one_class_is_refused():
    x, y = problem()
    with pytest.raises(InvalidProbe, match="training rows have 1 of them: at least two"):
        by_weight(block_statistics(x, y * 0, 4))


@pytest.mark.parametrize("rank", RANKINGS)
def test_one_row_is_refused(rank):
    x, y = problem()
    with pytest.raises(InvalidProbe, match="at least two training rows, got 1"):
        rank(block_statistics(x[:1], y[:1], 4))
