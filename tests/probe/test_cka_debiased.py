"""Debiased CKA from one matrix against the n x n formula, and that it is unbiased where plain CKA is not."""

import array_api_strict
import numpy as np
import pytest
from cka_oracles import debiased_cka, features, orders, scatter, unbiased_hsic
from hypothesis import given
from hypothesis import strategies as st

from probe import InvalidProbe, cka, cka_debiased


def hsic(x):
    return cka_debiased.hsic_matrix(scatter(x), cka_debiased.squared_moments([x], x.mean(0)), len(x))


@given(seed=st.integers(0, 100), n=st.integers(20, 80))
def test_curves_equal_the_gram_formula_at_every_size(seed, n):
    x = features(n=n, seed=seed)
    a, b = orders(25, seed, seed + 1)
    u = hsic(x)
    sizes = range(1, 26)
    np.testing.assert_allclose(
        cka_debiased.part_whole(u, a), [debiased_cka(x[:, a[:k]], x) for k in sizes], rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        cka_debiased.pair(u, a, b), [debiased_cka(x[:, a[:k]], x[:, b[:k]]) for k in sizes], rtol=1e-9, atol=1e-9
    )


def test_each_entry_is_the_hsic_of_two_neurons():
    x = features(n=30, d=6) + 10.0  # HSIC does not see the mean
    expected = [[30 * 27 * unbiased_hsic(x[:, [i]], x[:, [j]]) for j in range(6)] for i in range(6)]
    np.testing.assert_allclose(hsic(x), expected, rtol=1e-8, atol=1e-8)


def test_independent_neurons_have_none_where_plain_cka_sees_some():
    values, plain = [], []
    a, b = np.arange(10), np.arange(10, 20)
    for seed in range(300):
        x = np.random.default_rng(seed).normal(size=(20, 20))
        values.append(cka_debiased.pair(hsic(x), a, b)[-1])
        plain.append(cka.pair(scatter(x), a, b)[-1])
    error = np.std(values) / 300**0.5
    assert abs(np.mean(values)) < 3 * error < 0.05
    assert np.mean(plain) > 0.25
    assert min(values) < -0.05  # not clipped


@given(seed=st.integers(0, 50), scale=st.floats(1e-3, 1e3), shift=st.floats(-5, 5))
def test_symmetric_and_the_same_whatever_scale_and_shift(seed, scale, shift):
    x = features(seed=seed)
    a, b = orders(25, seed, seed + 1)
    curve = cka_debiased.pair(hsic(x), a, b)
    np.testing.assert_allclose(curve, cka_debiased.pair(hsic(x), b, a), atol=1e-12)
    np.testing.assert_allclose(curve, cka_debiased.pair(hsic(x * scale + shift), a, b), atol=1e-9)
    assert cka_debiased.part_whole(hsic(x), a)[-1] == pytest.approx(1, abs=1e-9)


@given(cuts=st.lists(st.integers(0, 60), max_size=6), shuffle=st.randoms(use_true_random=False))
def test_squared_moments_are_the_same_whatever_the_blocks_and_their_order(cuts, shuffle):
    x = features()
    blocks = np.split(x, sorted(cuts))
    shuffle.shuffle(blocks)
    squares = (x - x.mean(0)) ** 2
    np.testing.assert_allclose(cka_debiased.squared_moments(blocks, x.mean(0)), squares.T @ squares, rtol=1e-12)


def test_float16_blocks_are_added_up_in_float64():
    x = features(n=400).astype(np.float16)
    exact = x.astype(np.float64)
    squares = (exact - exact.mean(0)) ** 2
    np.testing.assert_allclose(cka_debiased.squared_moments([x], exact.mean(0)), squares.T @ squares, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3])
def test_fewer_than_four_rows_have_no_value(n):
    u = hsic(np.random.default_rng(0).normal(size=(n, 5)))
    order = np.arange(5)
    assert np.isnan(cka_debiased.part_whole(u, order)).all()
    assert np.isnan(cka_debiased.pair(u, order, order)).all()


def test_constant_neurons_leave_it_undefined_until_another_is_taken_up():
    x = features()
    x[:, [3, 7]] = 0.1
    order = np.array([3, 7, *[j for j in range(25) if j not in (3, 7)]])
    curve = cka_debiased.part_whole(hsic(x), order)
    assert np.isnan(curve[:2]).all()
    assert np.isfinite(curve[2:]).all()


def test_neurons_active_in_one_row_have_no_hsic_and_no_cka():
    x = features()
    x[:, [3, 7]] = 0.1
    x[5, 3], x[8, 7] = 2.7, 31.4
    others = [j for j in range(25) if j not in (3, 7)]
    u = hsic(x)
    assert np.isnan(cka_debiased.part_whole(u, np.array([3, 7, *others]))[:2]).all()
    kept = cka_debiased.part_whole(hsic(x[:, others]), np.arange(23))
    np.testing.assert_allclose(cka_debiased.part_whole(u, np.array([3, 7, *others]))[2:], kept, atol=1e-9)


def test_rows_that_are_all_equally_far_apart_have_no_hsic():
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.3  # each neuron has some, not the three
    curve = cka_debiased.pair(hsic(np.hstack([corners, corners])), np.arange(3), np.arange(3, 6))
    assert np.isfinite(curve[:2]).all()
    assert np.isnan(curve[2])


@given(seed=st.integers(0, 200), n=st.integers(4, 10), d=st.integers(1, 12))
def test_it_lies_between_minus_one_and_one(seed, n, d):
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(n, d)), 0)
    a, b = orders(d, seed, seed + 1)
    for curve in (cka_debiased.part_whole(hsic(x), a), cka_debiased.pair(hsic(x), a, b)):
        assert (np.abs(curve[np.isfinite(curve)]) < 1 + 1e-9).all()


def test_one_neuron_and_a_copy_agree():
    x = features(d=1)
    assert cka_debiased.part_whole(hsic(x), np.array([0])) == pytest.approx([1])
    both = np.concatenate([x, -2 * x], axis=1)
    assert cka_debiased.pair(hsic(both), np.array([0]), np.array([1])) == pytest.approx([1])


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(InvalidProbe, match="at least one row"):
        cka_debiased.squared_moments([np.ones((0, 3))], np.ones(3))
    with pytest.raises(InvalidProbe, match=r"shape \(n, 3\)"):
        cka_debiased.squared_moments([np.ones((5, 4))], np.ones(3))


def test_only_the_array_standard_is_used():
    x = features()
    a, b = orders(25, 1, 2)
    plain = hsic(x)
    mean, c = map(array_api_strict.asarray, (x.mean(0), scatter(x)))
    u = cka_debiased.hsic_matrix(c, cka_debiased.squared_moments([array_api_strict.asarray(x)], mean), 60)
    np.testing.assert_allclose(np.asarray(u), plain, rtol=1e-12)
    for strict, other in (
        (cka_debiased.part_whole(u, a), cka_debiased.part_whole(plain, a)),
        (cka_debiased.pair(u, a, b), cka_debiased.pair(plain, a, b)),
    ):
        np.testing.assert_allclose(np.asarray(strict), other, atol=1e-12)
