"""CKA from one covariance against the n x n formula, and what must hold of any CKA."""

import array_api_strict
import numpy as np
import pytest
from cka_oracles import along, directions, features, orders
from cka_oracles import scatter as scatter_of
from hypothesis import given
from hypothesis import strategies as st
from plain import gram_cka

from probe import InvalidProbe, cka


def test_part_against_whole_equals_the_gram_formula_at_every_size():
    x = features()
    (order,) = orders(25, 1)
    curve = cka.part_whole(scatter_of(x), order)
    direct = [gram_cka(x[:, order[:k]], x) for k in range(1, 26)]
    np.testing.assert_allclose(curve, direct, atol=1e-6)
    assert curve[0] < 0.9  # not trivially one


def test_pair_equals_the_gram_formula_at_every_size():
    x = features()
    a, b = orders(25, 1, 2)
    curve = cka.pair(scatter_of(x), a, b)
    direct = [gram_cka(x[:, a[:k]], x[:, b[:k]]) for k in range(1, 26)]
    np.testing.assert_allclose(curve, direct, atol=1e-6)
    assert curve.min() < 0.8


@given(seed=st.integers(0, 50))
def test_the_whole_layer_agrees_with_itself(seed):
    x = features(seed=seed)
    a, b = orders(25, seed, seed + 1)
    scatter = scatter_of(x)
    assert cka.part_whole(scatter, a)[-1] == pytest.approx(1, abs=1e-6)
    assert cka.pair(scatter, a, b)[-1] == pytest.approx(1, abs=1e-6)


@given(seed=st.integers(0, 50))
def test_cka_is_symmetric_and_bounded(seed):
    x = features(n=12, seed=seed)  # fewer rows than neurons too
    a, b = orders(25, seed, seed + 1)
    scatter = scatter_of(x)
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
        cka.part_whole(scatter_of(x * scale + shift), order),
        cka.part_whole(scatter_of(x), order),
        atol=1e-9,
    )


def test_constant_neurons_leave_cka_undefined_until_another_is_taken_up():
    x = features()
    x[:, [3, 7]] = 1.0
    order = np.array([3, 7, *[j for j in range(25) if j not in (3, 7)]])
    curve = cka.part_whole(scatter_of(x), order)
    assert np.isnan(curve[:2]).all()
    assert np.isfinite(curve[2:]).all()


@given(seed=st.integers(0, 50), r=st.integers(1, 25))
def test_directions_equal_the_gram_formula_of_their_coordinates(seed, r):
    x = features(seed=seed)
    a, b = directions(25, r, seed), directions(25, r, seed + 1)
    scatter = scatter_of(x)
    whole, both = cka.part_whole_projected(scatter, a), cka.pair_projected(scatter, a, b)
    sizes = range(1, r + 1)
    np.testing.assert_allclose(whole, [gram_cka(along(x, a, k), x) for k in sizes], atol=1e-9)
    np.testing.assert_allclose(both, [gram_cka(along(x, a, k), along(x, b, k)) for k in sizes], atol=1e-9)
    assert whole[0] < 0.99


@given(seed=st.integers(0, 50))
def test_single_neurons_as_directions_are_these_neurons(seed):
    a, b = orders(25, seed, seed + 1)
    scatter, one = scatter_of(features(seed=seed)), np.eye(25)
    np.testing.assert_allclose(cka.part_whole_projected(scatter, one[:, a]), cka.part_whole(scatter, a), atol=1e-12)
    np.testing.assert_allclose(cka.pair_projected(scatter, one[:, a], one[:, b]), cka.pair(scatter, a, b), atol=1e-12)


@given(seed=st.integers(0, 50), scale=st.floats(1e-3, 1e3))
def test_turning_or_scaling_either_side_changes_nothing(seed, scale):
    x = features(seed=seed)
    a, b = directions(25, 6, seed), directions(25, 6, seed + 1)
    turn_layer, turn_part = (np.linalg.qr(directions(k, k, seed + 2))[0] for k in (25, 6))
    scatter, turned = scatter_of(x), scatter_of(x @ turn_layer)
    # The layer's axes turned: the same coordinates, so the same curve.
    for one, other in (
        (cka.part_whole_projected(scatter, a), cka.part_whole_projected(turned, turn_layer.T @ a * scale)),
        (cka.pair_projected(scatter, a, b), cka.pair_projected(turned, turn_layer.T @ a * scale, turn_layer.T @ b)),
    ):
        np.testing.assert_allclose(one, other, atol=1e-9)
    # The part's own axes turned: only all of them together span what they did.
    np.testing.assert_allclose(
        cka.pair_projected(scatter, a, b)[-1], cka.pair_projected(scatter, a @ turn_part, b)[-1], atol=1e-9
    )


@given(seed=st.integers(0, 50))
def test_all_neurons_and_all_orthonormal_directions_are_the_whole(seed):
    scatter = scatter_of(features(seed=seed))
    (order,) = orders(25, seed)
    turn = np.linalg.qr(directions(25, 25, seed))[0]
    assert cka.part_whole(scatter, order)[-1] == pytest.approx(1, abs=1e-9)
    assert cka.part_whole_projected(scatter, turn)[-1] == pytest.approx(1, abs=1e-9)


def test_an_order_may_stop_early():
    scatter = scatter_of(features())
    a, b = orders(25, 1, 2)
    np.testing.assert_allclose(cka.part_whole(scatter, a[:9]), cka.part_whole(scatter, a)[:9], atol=1e-14)
    np.testing.assert_allclose(cka.pair(scatter, a[:9], b[:9]), cka.pair(scatter, a, b)[:9], atol=1e-14)


@pytest.mark.parametrize("n", [2, 3])
def test_few_rows_and_one_neuron_have_a_value(n):
    one = scatter_of(features(n=n, d=1) + np.arange(n)[:, None])
    assert cka.part_whole(one, np.array([0])) == pytest.approx([1])
    x = np.random.default_rng(0).normal(size=(n, 4))
    (order,) = orders(4, 1)
    expected = [gram_cka(x[:, order[:k]], x) for k in range(1, 5)]
    np.testing.assert_allclose(cka.part_whole(scatter_of(x), order), expected, atol=1e-12)


def test_a_neuron_and_its_copy_agree():
    x = features()
    x[:, 1] = 3 * x[:, 0]
    curve = cka.pair(scatter_of(x), np.array([0, 2]), np.array([1, 2]))
    assert curve[0] == pytest.approx(1, abs=1e-12)


def test_a_neuron_that_is_constant_but_for_rounding_has_no_cka():
    x = features()
    x[:, 4] = 0.1
    scatter = scatter_of(x)
    scatter[4] = scatter[:, 4] = 1e-17  # what centring left of it on some machine
    others = [j for j in range(25) if j != 4]
    curve = cka.part_whole(scatter, np.array([4, *others]))
    assert np.isnan(curve[0])
    assert np.isfinite(curve[1:]).all()
    assert np.isnan(cka.pair(scatter, np.array([4]), np.array([0]))).all()


def test_directions_in_which_nothing_varies_have_no_cka():
    x = features(n=12)  # 11 components, 14 directions of nothing
    vectors = np.linalg.eigh(scatter_of(x))[1]
    curve = cka.part_whole_projected(scatter_of(x), vectors)
    assert np.isnan(curve[:14]).all()
    assert np.isfinite(curve[14:]).all()
    assert np.isnan(cka.pair_projected(scatter_of(x), 1000 * vectors, vectors[:, ::-1])[:14]).all()


def test_directions_that_do_not_fit_are_refused():
    scatter = scatter_of(features())
    with pytest.raises(InvalidProbe, match=r"have shape \(25, r\)"):
        cka.part_whole_projected(scatter, np.ones((24, 3)))
    with pytest.raises(InvalidProbe, match="one shape"):
        cka.pair_projected(scatter, np.ones((25, 3)), np.ones((25, 4)))


def test_only_the_array_standard_is_used():
    a, b = orders(25, 1, 2)
    m, l = directions(25, 7, 1), directions(25, 7, 2)  # noqa: E741
    x = features()
    x[:, a[0]] = 1.0
    scatter = scatter_of(x)
    strict = array_api_strict.asarray(scatter)
    sm, sl = map(array_api_strict.asarray, (m, l))
    for plain, other in (
        (cka.part_whole(scatter, a), cka.part_whole(strict, a)),
        (cka.pair(scatter, a, b), cka.pair(strict, a, b)),
        (cka.part_whole_projected(scatter, m), cka.part_whole_projected(strict, sm)),
        (cka.pair_projected(scatter, m, l), cka.pair_projected(strict, sm, sl)),
    ):
        assert type(other) is type(strict)
        np.testing.assert_allclose(np.asarray(other), plain, atol=1e-12)
