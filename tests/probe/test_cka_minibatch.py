"""STIR's mini-batch CKA against its formula written out with n x n matrices, batch by batch."""

import array_api_strict
import numpy as np
import pytest
from cka_oracles import along, directions, features, orders, unbiased_hsic
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import gram_cka

from probe import InvalidProbe
from probe.cka_minibatch import last_batch, minibatch

COMPARISONS = [(0, None), (0, 1), (2, None), (1, 2), (2, 3)]
SIZES = [1, 4, 9, 12]


def mixed_parts(seed=0):
    return [*orders(25, seed + 1, seed + 2), directions(25, 12, seed + 3), directions(25, 14, seed + 4)]


def released_hsic(x, y):
    """`unbiased_linear_HSIC` as printed in STIR, `/ n * (n - 3)` and all."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n
    k, l = h @ (x @ x.T) @ h, h @ (y @ y.T) @ h  # noqa: E741 - STIR's symbol
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    one = np.ones((n, 1))
    return (
        (
            np.trace(k @ l)
            + (one.T @ k @ one @ one.T @ l @ one) / ((n - 1) * (n - 2))
            - 2 * (one.T @ k @ l @ one) / (n - 2)
        )
        / n
        * (n - 3)
    ).item()


def released_value(x, y, batch):
    """`MinibatchCKA.value` over consecutive batches."""
    batches = [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]
    xy, xx, yy = (
        np.mean([released_hsic(*pair(a, b)) for a, b in batches])
        for pair in (lambda a, b: (a, b), lambda a, b: (a, a), lambda a, b: (b, b))
    )
    return xy / (np.sqrt(xx) * np.sqrt(yy))


def by_hand(x, parts, value):
    named = [(parts[a], None if b is None else parts[b]) for a, b in COMPARISONS]
    return [[value(along(x, a, k), along(x, b, k)) for k in SIZES] for a, b in named]


def test_the_released_factor_weighs_a_batch_with_n_minus_3_squared():
    x, y = features(n=100), features(n=100, seed=1)
    assert released_hsic(x, y) / unbiased_hsic(x, y) == pytest.approx(97**2)


@settings(max_examples=20)
@given(seed=st.integers(0, 100), batch=st.integers(16, 40), limit=st.sampled_from([64, 75, 120]))
def test_it_equals_the_released_formula(seed, batch, limit):
    x, parts = features(n=100, seed=seed) + 2.0, mixed_parts(seed)
    used = x[:limit]
    if len(used) % batch < 4:
        used = used[: len(used) // batch * batch]
    expected = by_hand(used, parts, lambda a, b: released_value(a, b, batch))
    found = minibatch(x, parts, COMPARISONS, SIZES, batch=batch, limit=limit)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_the_defaults_are_ten_batches_of_the_first_thousand_rows():
    x, parts = features(n=1100), mixed_parts()
    expected = by_hand(x[:1000], parts, lambda a, b: released_value(a, b, 100))
    found = minibatch(x, parts, COMPARISONS, SIZES)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert np.min(found) < 0.5


@pytest.mark.parametrize("rest", [1, 2, 3])
def test_a_rest_of_fewer_than_four_rows_counts_for_nothing(rest):
    x, parts = features(n=60 + rest), mixed_parts()
    found = minibatch(x, parts, COMPARISONS, SIZES, batch=20)
    np.testing.assert_array_equal(found, minibatch(x[:60], parts, COMPARISONS, SIZES, batch=20))
    if rest == 3:  # STIR itself weighs three rows with zero
        expected = by_hand(x, parts, lambda a, b: released_value(a, b, 20))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_short_last_batch_counts_for_less_than_its_rows():
    x = np.concatenate([features(n=40), features(n=10, seed=5)])
    (a,) = orders(25, 1)
    alone, both = (minibatch(r, [a], [(0, None)], [4], batch=40)[0] for r in (x[:40], x))
    assert 0 < abs(both - alone)[0] < 0.05


@pytest.mark.parametrize(("n", "used"), [(1100, slice(900, 1000)), (1000, slice(900, 1000)), (250, slice(200, 250))])
def test_the_released_default_is_plain_cka_of_the_last_batch(n, used):
    x, parts = features(n=n), mixed_parts()
    found = last_batch(x, parts, COMPARISONS, SIZES)
    np.testing.assert_allclose(found, by_hand(x[used], parts, gram_cka), rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 50), scale=st.floats(1e-3, 1e3))
def test_symmetric_bounded_and_the_same_whatever_the_scale(seed, scale):
    x, (a, b) = features(seed=seed), orders(25, seed, seed + 1)
    for estimator in (minibatch, last_batch):
        one, other = estimator(x, [a, b], [(0, 1), (1, 0)], [1, 5, 25], batch=20)
        scaled = estimator(x * scale, [a, b], [(0, 1)], [1, 5, 25], batch=20)[0]
        np.testing.assert_allclose(one, other, atol=1e-12)
        np.testing.assert_allclose(one, scaled, atol=1e-9)
        assert (np.abs(one) < 1 + 1e-9).all()
        assert one[-1] == pytest.approx(1, abs=1e-9)


def test_parts_that_are_constant_in_every_batch_are_undefined():
    x = features(n=40)
    x[:, 3] = 0.1
    x[:, 7] = np.repeat([1.0, 2.0], 20)
    x[:, 9] = 0.0
    x[[5, 25], 9] = 1.7  # active in one row of each batch: no unbiased HSIC
    order = np.array([3, 7, 9, 0])
    (found,) = minibatch(x, [order], [(0, None)], [1, 2, 3, 4], batch=20)
    np.testing.assert_array_equal(np.isnan(found), [True, True, True, False])
    (plain,) = last_batch(x, [order], [(0, None)], [1, 2, 3, 4], batch=20)
    np.testing.assert_array_equal(np.isnan(plain), [True, True, False, False])


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_rows_than_a_batch_needs_have_no_value(n):
    x, parts = features(n=n), mixed_parts()
    assert np.isnan(minibatch(x, parts, COMPARISONS, SIZES)).all()
    if n < 2:
        assert np.isnan(last_batch(x, parts, COMPARISONS, SIZES)).all()


def test_one_neuron_is_the_whole_layer():
    assert minibatch(features(d=1), [np.array([0])], [(0, None)], [1])[0] == pytest.approx([1])


def test_bad_requests_are_refused():
    x, parts = features(), mixed_parts()
    with pytest.raises(InvalidProbe, match="4 rows in a batch"):
        minibatch(x, parts, COMPARISONS, SIZES, batch=3)
    with pytest.raises(InvalidProbe, match="2 rows in a batch"):
        last_batch(x, parts, COMPARISONS, SIZES, limit=1)
    with pytest.raises(InvalidProbe, match="sizes rise"):
        minibatch(x, parts, COMPARISONS, [3, 1])
    with pytest.raises(InvalidProbe, match="NaN or infinite"):
        minibatch(np.full((20, 25), np.nan), parts, COMPARISONS, SIZES)


def test_only_the_array_standard_is_used():
    x, parts = features(), mixed_parts()
    for estimator in (minibatch, last_batch):
        strict = estimator(array_api_strict.asarray(x), parts, COMPARISONS, SIZES, batch=20)
        np.testing.assert_allclose(strict, estimator(x, parts, COMPARISONS, SIZES, batch=20), atol=1e-12)
