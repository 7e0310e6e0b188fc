"""Statistics against NumPy's own, whatever the blocks, their order, the library and the shape of the data."""

import pickle
from itertools import pairwise

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe import InvalidProbe, _row_sums
from probe.statistics import Statistics, _gathered, block_statistics, merge, statistics

D, C = 13, 5


def rows(n=60, d=D, seed=0, dtype=np.float64):
    """Features with a large mean, neurons of very different spread, and labels of which class 3 is absent."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.geomspace(1, 1e-3, d) + 100.0
    return x.astype(dtype), rng.choice([0, 1, 2, 4], size=n)


def direct(x, y, n_classes=C):
    x = np.asarray(x, np.float64)
    return Statistics(
        n=len(x),
        mean=np.array([np.sum(column) / len(x) for column in x.T]),
        scatter=np.cov(x.T, ddof=0).reshape(x.shape[1], -1) * len(x),
        class_counts=np.array([np.sum(y == c) for c in range(n_classes)]),
        class_sums=np.array([x[y == c].sum(0) for c in range(n_classes)]),
    )


def assert_same(a, b, rtol=1e-10):
    assert a.n == b.n
    assert a.class_counts.dtype == b.class_counts.dtype == np.int64
    np.testing.assert_array_equal(a.class_counts, b.class_counts)
    np.testing.assert_allclose(a.mean, b.mean, rtol=rtol)
    np.testing.assert_allclose(a.class_sums, b.class_sums, rtol=rtol)
    # Entries of the scatter are held to the scale of their two neurons: one near 0 has no digits of its own.
    scale = np.sqrt(np.diag(b.scatter))
    bound = np.outer(scale, scale)
    assert (np.abs(a.scatter - b.scatter) <= rtol * bound).all()
    for array in (a.mean, a.scatter, a.class_sums):
        assert array.dtype == np.float64


@pytest.fixture
def few_rows_at_a_time(monkeypatch):
    """Make products of few rows, so that a small problem takes several and the last is smaller."""
    monkeypatch.setattr(_row_sums, "_rows_at_a_time", lambda width: 7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_against_numpy(dtype):
    x, y = rows(dtype=dtype)
    assert_same(statistics([(x, y)], C), direct(x, y))
    assert_same(block_statistics(x, y, C), direct(x, y))


@pytest.mark.usefixtures("few_rows_at_a_time")
def test_against_numpy_in_several_products():
    x, y = rows()
    assert_same(statistics([(x, y)], C), direct(x, y))


def test_a_layer_of_real_size_takes_several_products():
    x, y = rows(n=2000, d=300, dtype=np.float32)
    assert _row_sums._rows_at_a_time(300) > 2000  # one product; with wider layers more:
    assert _row_sums._rows_at_a_time(2048) == 2048
    assert _row_sums._rows_at_a_time(2**20) == 256
    found = statistics(((x[i : i + 333], y[i : i + 333]) for i in range(0, 2000, 333)), C)
    assert_same(found, direct(x, y))
    assert (found.scatter == found.scatter.T).all()


@pytest.mark.usefixtures("few_rows_at_a_time")
@pytest.mark.parametrize("size", [1, 3, 7, 8, 59, 60])
def test_the_size_of_the_blocks_changes_no_bit(size):
    x, y = rows()
    whole = statistics([(x, y)], C)
    found = statistics(((x[i : i + size], y[i : i + size]) for i in range(0, 60, size)), C)
    for name in ("mean", "scatter", "class_counts", "class_sums"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=6),
    shuffle=st.randoms(use_true_random=False),
    seed=st.integers(0, 20),
)
def test_any_split_merged_in_any_order_is_the_same(cuts, shuffle, seed):
    x, y = rows(seed=seed)
    parts = [block_statistics(x[a:b], y[a:b], C) for a, b in pairwise([0, *sorted(cuts), 60])]
    while len(parts) > 1:  # any tree, not only one after the other
        shuffle.shuffle(parts)
        parts.append(merge(parts.pop(), parts.pop()))
    assert_same(parts[0], direct(x, y))


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), shuffle=st.randoms(use_true_random=False))
def test_any_order_of_blocks_is_the_same(cuts, shuffle):
    x, y = rows()
    blocks = [(x[a:b], y[a:b]) for a, b in pairwise([0, *sorted(cuts), 60])]
    shuffle.shuffle(blocks)
    assert_same(statistics(blocks, C), direct(x, y))


def test_merging_with_nothing_changes_nothing():
    x, y = rows()
    some, none = block_statistics(x, y, C), block_statistics(x[:0], y[:0], C)
    assert none.n == 0
    for merged in (merge(some, none), merge(none, some)):
        assert_same(merged, some, rtol=0)
    assert merge(none, none).n == 0


def test_the_library_of_the_standard_gives_the_same(few_rows_at_a_time):
    x, y = rows(dtype=np.float32)
    found = _gathered([(array_api_strict.asarray(x[a : a + 20]), y[a : a + 20]) for a in (0, 20, 40)], C)
    assert isinstance(found.scatter, np.ndarray)
    assert_same(found, direct(x, y))
    assert (found.scatter == found.scatter.T).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_gpu_gives_the_same(dtype):
    x, y = rows(n=5000, d=700, dtype=dtype)
    found = statistics([(x[:3000], y[:3000]), (x[3000:], y[3000:])], C, device="cuda")
    assert_same(found, statistics([(x, y)], C))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, -1234.5678])
def test_a_constant_neuron_has_a_scatter_of_exactly_zero(dtype, value):
    # Rounding instead of 0 would make measures defined where they are not.
    x, y = rows(n=61, dtype=dtype)
    x[:, [2, 5]] = dtype(value)
    parts = [block_statistics(x[a:b], y[a:b], C) for a, b in ((0, 20), (20, 21), (21, 61))]
    for found in (statistics([(x, y)], C), merge(merge(*parts[:2]), parts[2])):
        assert not found.scatter[[2, 5]].any()
        assert not found.scatter[:, [2, 5]].any()
        assert (found.mean[[2, 5]] == float(dtype(value))).all()
        constant = (x == x[0]).all(0)  # float16 makes more of them constant
        np.testing.assert_array_equal(np.diag(found.scatter) == 0, constant)
        assert constant.sum() < D


def test_duplicated_neurons_have_equal_rows():
    x, y = rows()
    x[:, 4] = x[:, 1]
    found = statistics([(x, y)], C)
    np.testing.assert_allclose(found.scatter[4], found.scatter[1], rtol=1e-13)


@pytest.mark.parametrize("shift", [1e3, 1e8])
def test_a_large_mean_costs_no_digits(shift):
    rng = np.random.default_rng(3)
    small = np.round(rng.normal(size=(500, 4)) * 1024) / 1024  # exact after the shift too
    y = rng.integers(0, C, 500)
    near, far = statistics([(small, y)], C), statistics([(small + shift, y)], C)
    np.testing.assert_allclose(far.scatter, near.scatter, rtol=1e-12, atol=1e-10)


def test_one_neuron():
    x, y = rows(d=1)
    assert_same(statistics([(x, y)], C), direct(x, y))


def test_more_neurons_than_rows():
    x, y = rows(n=2, d=40)
    assert_same(statistics([(x, y)], C), direct(x, y))


def test_one_row_is_a_block_but_no_statistics():
    x, y = rows(n=1)
    found = block_statistics(x, y, C)
    np.testing.assert_array_equal(found.mean, x[0])
    assert not found.scatter.any()


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows_are_refused(n):
    x, y = rows(n=n)
    with pytest.raises(InvalidProbe, match=f"at least two rows, got {n}"):
        statistics([(x, y)], C)
    with pytest.raises(InvalidProbe, match="at least two rows, got 0"):
        statistics([], C)


def test_cross_is_the_product_with_one_hot_labels():
    x, y = rows()
    found = statistics([(x, y)], C)
    one_hot = np.eye(C)[y]
    expected = (x - x.mean(0)).T @ one_hot
    np.testing.assert_allclose(found.cross, expected, rtol=1e-9, atol=1e-10)
    assert found.cross.shape == (found.width, found.n_classes) == (D, C)
    assert not found.cross[:, 3].any()  # the class that is absent
    assert np.abs(found.cross).max() > 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), r=st.integers(1, D))
def test_neurons_chosen_before_or_after(seed, r):
    x, y = rows(seed=seed)
    order = np.random.default_rng(seed).permutation(D)[:r]
    assert_same(statistics([(x, y)], C).permuted(order), direct(x[:, order], y))


def test_an_order_may_repeat_or_be_empty():
    x, y = rows()
    found = statistics([(x, y)], C)
    assert found.permuted(np.array([2, 2])).scatter.tolist() == [[found.scatter[2, 2]] * 2] * 2
    assert found.permuted(np.array([], np.int64)).width == 0
    for order in ([0, D], [-1], [[0]]):
        with pytest.raises(InvalidProbe, match=f"neurons 0 to {D - 1}"):
            found.permuted(np.array(order))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), r=st.integers(1, 2 * D))
def test_rows_projected_before_or_after(seed, r):
    x, y = rows(seed=seed)
    matrix = np.random.default_rng(seed).normal(size=(D, r))
    found = statistics([(x, y)], C).projected(matrix)
    expected = direct(x @ matrix, y)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.class_sums, expected.class_sums, rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-9, atol=1e-9 * np.abs(found.scatter).max())
    assert (found.scatter == found.scatter.T).all()
    assert found.n == 60
    np.testing.assert_allclose(found.cross, expected.cross, rtol=1e-8, atol=1e-8)


def test_a_matrix_of_another_height_is_refused():
    found = statistics([rows()], C)
    for matrix in (np.ones((D + 1, 2)), np.ones(D)):
        with pytest.raises(InvalidProbe, match=f"expected a matrix of {D} rows"):
            found.projected(matrix)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_refused(bad):
    x, y = rows()
    x[[17, 40, 41], 3] = bad
    x[41, 4] = bad
    blocks = [(x[a : a + 20], y[a : a + 20]) for a in (0, 20, 40)]
    for given_ in ([(x, y)], blocks):
        with pytest.raises(InvalidProbe, match=r"in 3 of 60 rows, the first of them row 17 \(from 0\)"):
            statistics(given_, C)


def test_squares_that_overflow_are_refused():
    x, y = rows()
    for scale in (1e200, 1e306):
        with pytest.raises(InvalidProbe, match="overflow float64"):
            statistics([(x * scale, y)], C)


@pytest.mark.parametrize("label", [-1, C])
def test_labels_that_are_no_class_are_refused(label):
    x, y = rows()
    y[9] = label
    with pytest.raises(InvalidProbe, match=rf"labels run from .* but there are {C} classes"):
        statistics([(x, y)], C)


def test_shapes_that_do_not_belong_together_are_refused():
    x, y = rows()
    for given_ in ((x, y[:-1]), (x[:, 0], y), (x[:, :0], y), (x, y[:, None])):
        with pytest.raises(InvalidProbe, match=r"expected activations \(n, d\)"):
            statistics([given_], C)
    with pytest.raises(InvalidProbe, match="blocks of 13 and of 12 neurons"):
        statistics([(x, y), (x[:, 1:], y)], C)
    with pytest.raises(InvalidProbe, match="expected labels as whole numbers"):
        statistics([(x, y.astype(float))], C)
    with pytest.raises(InvalidProbe, match="at least one class"):
        statistics([(x, y)], 0)
    for other in (block_statistics(x[:, 1:], y, C), block_statistics(x, y, C + 1)):
        with pytest.raises(InvalidProbe, match="can't be merged"):
            merge(block_statistics(x, y, C), other)


def test_statistics_that_contradict_themselves_are_refused():
    good = statistics([rows()], C)
    fields = {n: getattr(good, n) for n in ("n", "mean", "scatter", "class_counts", "class_sums")}
    with pytest.raises(InvalidProbe, match="expected shapes"):
        Statistics(**{**fields, "mean": good.mean[1:]})
    with pytest.raises(InvalidProbe, match="expected 61"):
        Statistics(**{**fields, "n": 61})


def test_the_given_arrays_are_left_as_they_were():
    x, y = rows()
    before = x.copy(), y.copy()
    statistics([(x, y)], C)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_they_travel_between_processes():
    found = statistics([rows()], C)
    assert_same(pickle.loads(pickle.dumps(found)), found, rtol=0)
