"""CKA from one covariance against the n x n formula, and what must hold of any CKA."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import gram_cka

from probe import InvalidProbe, cka
from probe.covariance import chunk_moments, combine, moments


def features(n=60, d=25, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) * np.geomspace(1, 0.05, d)
    return np.maximum(rng.normal(size=(n, d)) @ mix + 0.3, 0)


def orders(d, *seeds):
    return [np.random.default_rng(s).permutation(d) for s in seeds]


def test_part_against_whole_equals_the_gram_formula_at_every_size():
    x = features()
    (order,) = orders(25, 1)
    curve = cka.part_whole(moments([x]).scatter, order)
    direct = [gram_cka(x[:, order[:k]], x) for k in range(1, 26)]
    np.testing.assert_allclose(curve, direct, atol=1e-6)
    assert curve[0] < 0.9  # not trivially one


def test_pair_equals_the_gram_formula_at_every_size():
    x = features()
    a, b = orders(25, 1, 2)
    curve = cka.pair(moments([x]).scatter, a, b)
    direct = [gram_cka(x[:, a[:k]], x[:, b[:k]]) for k in range(1, 26)]
    np.testing.assert_allclose(curve, direct, atol=1e-6)
    assert curve.min() < 0.8


@given(seed=st.integers(0, 50))
def test_the_whole_layer_agrees_with_itself(seed):
    x = features(seed=seed)
    a, b = orders(25, seed, seed + 1)
    scatter = moments([x]).scatter
    assert cka.part_whole(scatter, a)[-1] == pytest.approx(1, abs=1e-6)
    assert cka.pair(scatter, a, b)[-1] == pytest.approx(1, abs=1e-6)


@given(seed=st.integers(0, 50))
def test_cka_is_symmetric_and_bounded(seed):
    x = features(n=12, seed=seed)  # fewer rows than neurons too
    a, b = orders(25, seed, seed + 1)
    scatter = moments([x]).scatter
    one, other = cka.pair(scatter, a, b), cka.pair(scatter, b, a)
    np.testing.assert_allclose(one, other, atol=1e-12)
    for curve in (one, cka.part_whole(scatter, a)):
        assert (curve >= 0).all()
        assert (curve <= 1).all()


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-5, 5))
def test_scale_and_shift_change_nothing(scale, shift):
    x = features()
    (order,) = orders(25, 3)
    np.testing.assert_allclose(
        cka.part_whole(moments([x * scale + shift]).scatter, order),
        cka.part_whole(moments([x]).scatter, order),
        atol=1e-9,
    )


def test_constant_neurons_leave_cka_undefined_until_another_is_taken_up():
    x = features()
    x[:, [3, 7]] = 1.0
    order = np.array([3, 7, *[j for j in range(25) if j not in (3, 7)]])
    curve = cka.part_whole(moments([x]).scatter, order)
    assert np.isnan(curve[:2]).all()
    assert np.isfinite(curve[2:]).all()


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, 60), max_size=6), shuffle=st.randoms(use_true_random=False))
def test_moments_are_the_same_whatever_the_blocks_and_their_order(cuts, shuffle):
    x = features() + 100.0  # a large mean: the sum of squares would cancel
    blocks = [b for b in np.split(x, sorted(cuts)) if len(b)]
    shuffle.shuffle(blocks)
    found = moments(blocks)
    centred = x - x.mean(0)
    assert found.n == 60
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.scatter, centred.T @ centred, rtol=1e-9, atol=1e-9)


def test_merging_is_associative():
    a, b, c = (chunk_moments(features(seed=s)) for s in (1, 2, 3))
    left, right = combine(combine(a, b), c), combine(a, combine(b, c))
    np.testing.assert_allclose(left.scatter, right.scatter, rtol=1e-12)
    np.testing.assert_allclose(left.mean, right.mean, rtol=1e-12)


def test_float16_and_float32_blocks_are_added_up_in_float64():
    x = features(n=400).astype(np.float16)
    exact = x.astype(np.float64) - x.astype(np.float64).mean(0)
    np.testing.assert_allclose(moments([x]).scatter, exact.T @ exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("blocks", [[], [np.ones((1, 3))], [np.ones((0, 3))]])
def test_fewer_than_two_rows_are_refused(blocks):
    with pytest.raises(InvalidProbe, match="at least two rows"):
        moments(blocks)
