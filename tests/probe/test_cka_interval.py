"""Debiased CKA with its interval: against n x n formulas and leave-outs by hand, and how often it covers the truth."""

import array_api_strict
import numpy as np
import pytest
from cka_oracles import along, debiased_cka, directions, features, orders
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probe import InvalidProbe, cka_debiased, cka_interval, cka_sums
from probe.cka_interval import debiased

COMPARISONS = [(0, None), (0, 1), (2, None), (1, 2), (2, 3), (3, 0)]
SIZES = [1, 3, 7, 12]


def mixed_parts(seed=0):
    """Two orders and two sets of directions."""
    return [*orders(25, seed + 1, seed + 2), directions(25, 12, seed + 3), directions(25, 14, seed + 4)]


def by_hand(x, parts, comparisons=COMPARISONS, sizes=SIZES):
    named = [(parts[a], None if b is None else parts[b]) for a, b in comparisons]
    return np.array([[debiased_cka(along(x, a, k), along(x, b, k)) for k in sizes] for a, b in named])


@settings(max_examples=25)
@given(seed=st.integers(0, 100), n=st.integers(20, 60))
def test_values_equal_the_gram_formula_for_neurons_and_directions(seed, n):
    x, parts = features(n=n, seed=seed), mixed_parts(seed)
    found = debiased(x, parts, COMPARISONS, SIZES, n_groups=0)
    np.testing.assert_allclose([e.value for e in found], by_hand(x, parts), rtol=1e-9, atol=1e-9)
    assert all(np.isnan(e.low).all() and np.isnan(e.high).all() for e in found)


@pytest.mark.parametrize("n_groups", [2, 7, 60])
def test_the_interval_is_the_jackknife_of_estimates_from_the_remaining_rows(n_groups):
    x, parts = features() + 3.0, mixed_parts()
    found = debiased(x, parts, COMPARISONS, SIZES, n_groups=n_groups, level=0.9)
    groups = cka_interval._deal(60, n_groups, 0)
    without = np.arctanh([by_hand(np.delete(x, g, axis=0), parts) for g in groups])
    z = np.arctanh(by_hand(x, parts))
    if 60 % n_groups == 0:  # groups of one size: the textbook's formula
        error = np.sqrt((n_groups - 1) / n_groups * ((without - without.mean(0)) ** 2).sum(0))
    else:
        error = cka_interval._jackknife_error(z, without, np.array([len(g) for g in groups]), 60)
    half = stats.t.ppf(0.95, n_groups - 1) * error
    np.testing.assert_allclose([e.low for e in found], np.tanh(z - half), rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose([e.high for e in found], np.tanh(z + half), rtol=1e-7, atol=1e-8)
    assert {(e.n, e.n_groups) for e in found} == {(60, n_groups)}


def test_the_error_of_a_mean_from_unequal_groups_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=10_001)
    groups = np.array_split(values, 60)
    sizes = np.array([len(g) for g in groups])
    without = np.array([(values.sum() - g.sum()) / (len(values) - len(g)) for g in groups])
    error = cka_interval._jackknife_error(values.mean(), without, sizes, len(values))
    assert len(set(sizes)) == 2
    assert error == pytest.approx(values.std() / 100, rel=0.25)


def test_values_are_those_of_the_curves_at_every_size():
    x = features()
    a, b = orders(25, 1, 2)
    centred = x - x.mean(0)
    u = cka_debiased.hsic_matrix(centred.T @ centred, cka_debiased.squared_moments([x], x.mean(0)), 60)
    whole, pair = debiased(x, [a, b], [(0, None), (0, 1)], range(1, 26))
    np.testing.assert_allclose(whole.value, cka_debiased.part_whole(u, a), atol=1e-12)
    np.testing.assert_allclose(pair.value, cka_debiased.pair(u, a, b), atol=1e-12)


def test_nothing_depends_on_the_block_size_and_the_value_not_on_the_groups(monkeypatch):
    x, parts = features(), mixed_parts()
    found = debiased(x, parts, COMPARISONS, SIZES)
    other = debiased(x, parts, COMPARISONS, SIZES, seed=1, n_groups=6)
    monkeypatch.setattr(cka_sums, "_ROWS", 2)
    small = debiased(x, parts, COMPARISONS, SIZES)
    for one, two, three in zip(found, small, other, strict=True):
        for name in ("value", "low", "high"):
            np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=1e-10)
        np.testing.assert_allclose(one.value, three.value, atol=1e-12)
        assert (one.low != three.low).any()


@given(n=st.integers(1, 200), n_groups=st.integers(2, 30), seed=st.integers(0, 9))
def test_rows_are_dealt_once_each_into_equal_groups(n, n_groups, seed):
    groups = cka_interval._deal(n, n_groups, seed)
    assert sorted(np.concatenate(groups)) == list(range(n))
    assert len(groups) == min(n, n_groups)
    assert np.ptp([len(g) for g in groups]) <= 1


def test_the_deal_is_the_same_on_every_platform():
    assert [g.tolist() for g in cka_interval._deal(10, 3, 0)] == [[3, 7, 8, 9], [2, 4, 6], [0, 1, 5]]


def test_the_interval_narrows_with_rows_and_widens_with_the_level():
    (a,) = orders(25, 1)
    few, many = (debiased(features(n=n), [a], [(0, None)], [3, 8])[0] for n in (400, 6400))
    ratio = (few.high - few.low) / (many.high - many.low)
    assert ((ratio > 2) & (ratio < 8)).all()  # 4 on average
    wide = debiased(features(n=400), [a], [(0, None)], [3, 8], level=0.99)[0]
    assert (wide.high - wide.low > 1.2 * (few.high - few.low)).all()
    assert (few.low < few.value).all()
    assert (few.value < few.high).all()


def test_rows_sorted_by_class_get_the_interval_of_shuffled_rows():
    x = features(n=2000)
    (a,) = orders(25, 1)
    widths = [
        np.ptp([e.low, e.high], axis=0)
        for rows in (x, x[np.argsort(x.sum(1))])
        for e in debiased(rows, [a], [(0, None)], [3, 8])
    ]
    assert (np.abs(np.log(widths[0] / widths[1])) < np.log(2)).all()


def test_the_whole_layer_agrees_with_itself_without_doubt():
    x, (a, b) = features(), orders(25, 1, 2)
    turn = np.linalg.qr(directions(25, 25))[0]
    for e in debiased(x, [a, b, turn], [(0, None), (0, 1), (2, None), (2, 0)], [25]):
        np.testing.assert_allclose([e.value, e.low, e.high], 1, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_than_four_rows_have_no_value(n):
    for e in debiased(features(n=n), mixed_parts(), COMPARISONS, SIZES):
        assert np.isnan([e.value, e.low, e.high]).all()
        assert (e.n, e.n_groups) == (n, 0)


def test_four_rows_have_a_value_and_no_interval_five_have_both():
    (a,) = orders(25, 1)
    four, five = (debiased(features(n=n), [a], [(0, None)], [8])[0] for n in (4, 5))
    assert np.isfinite(four.value).all()
    assert np.isnan([four.low, four.high]).all()
    assert np.isfinite([five.value, five.low, five.high]).all()


def test_one_neuron_is_the_whole_layer():
    e = debiased(features(d=1), [np.array([0])], [(0, None)], [1])[0]
    np.testing.assert_allclose([e.value, e.low, e.high], 1, atol=1e-9)


def test_constant_neurons_and_copies():
    x = features()
    x[:, [3, 7]] = 0.1
    x[:, 1] = x[:, 0]
    x[4, 7] = 5.0  # active in one row: as good as constant
    order, copy = np.array([3, 7, 0, 5]), np.array([3, 7, 1, 5])
    whole, pair, directed = debiased(
        x, [order, copy, np.eye(25)[:, order]], [(0, None), (0, 1), (2, None)], [1, 2, 3, 4]
    )
    for e in (whole, pair, directed):
        assert np.isnan([e.value[:2], e.low[:2], e.high[:2]]).all()
        assert np.isfinite([e.value[2:], e.low[2:], e.high[2:]]).all()
    np.testing.assert_allclose(pair.value[2:], 1, atol=1e-9)


def test_directions_in_which_nothing_varies_have_no_cka():
    x = features(n=12)
    vectors = np.linalg.eigh(np.cov(x.T))[1]  # 11 components, 14 directions of nothing
    (e,) = debiased(x, [vectors], [(0, None)], [1, 14, 16])
    assert np.isnan(e.value[:2]).all()
    assert np.isfinite(e.value[2])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_features_are_added_up_in_float64(dtype):
    x = features(n=300).astype(dtype)
    narrow, wide = (debiased(r, mixed_parts(), COMPARISONS, SIZES) for r in (x, x.astype(np.float64)))
    np.testing.assert_array_equal([e.high for e in narrow], [e.high for e in wide])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sizes": [0, 2]}, "sizes rise"),
        ({"sizes": [2, 2]}, "sizes rise"),
        ({"sizes": [26]}, "at most 25"),
        ({"sizes": []}, "sizes rise"),
        ({"comparisons": [(0, 2)]}, "not there"),
        ({"parts": [np.array([0, 0])]}, "without repetition"),
        ({"parts": [np.array([25])]}, "neurons 0 to 24"),
        ({"parts": [np.ones((24, 3))]}, "neither neurons"),
        ({"parts": [np.full((25, 3), np.nan)]}, "not finite"),
        ({"level": 1.0}, "level"),
        ({"n_groups": 1}, "2 groups or more"),
        ({"rows": np.full((9, 25), np.inf)}, "NaN or infinite"),
        ({"rows": np.ones(9)}, "shape"),
    ],
)
def test_bad_requests_are_refused(change, match):
    request = {"rows": features(), "parts": orders(25, 1), "comparisons": [(0, None)], "sizes": [1]} | change
    with pytest.raises(InvalidProbe, match=match):
        debiased(**request)


def test_only_the_array_standard_is_used():
    x, parts = features(), mixed_parts()
    strict = debiased(array_api_strict.asarray(x), parts, COMPARISONS, SIZES)
    for one, two in zip(debiased(x, parts, COMPARISONS, SIZES), strict, strict=True):
        assert type(two.value) is np.ndarray
        for name in ("value", "low", "high"):
            np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=1e-10)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        pytest.skip("there is no GPU")
    x, parts = features(), mixed_parts()
    found = debiased(x, parts, COMPARISONS, SIZES, device="cuda")
    for one, two in zip(debiased(x, parts, COMPARISONS, SIZES), found, strict=True):
        np.testing.assert_allclose([one.value, one.low, one.high], [two.value, two.low, two.high], atol=1e-9)


def rectified(n, mix, seed):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(n, len(mix))) @ mix + 0.3, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "bounds"), [(300, (0.87, 0.985)), (1000, (0.90, 0.985))])
def test_the_interval_covers_the_truth_as_often_as_it_says(n, bounds):
    """500 draws: the share at one size and comparison has a standard error of 1 %."""
    mix = np.random.default_rng(99).normal(size=(32, 32)) * np.geomspace(1, 0.1, 32)
    parts, comparisons, sizes = orders(32, 1, 2), [(0, None), (0, 1)], [1, 3, 8, 16, 28, 31]
    # With 400,000 rows the estimate is 20 to 40 times as close as any that is judged.
    truth = np.stack([e.value for e in debiased(rectified(400_000, mix, 12345), parts, comparisons, sizes, n_groups=0)])
    covered = np.zeros(truth.shape)
    for seed in range(500):
        found = debiased(rectified(n, mix, seed), parts, comparisons, sizes)
        low, high = (np.stack([getattr(e, name) for e in found]) for name in ("low", "high"))
        covered += (low <= truth) & (truth <= high)
    share = covered / 500
    print(share)
    assert bounds[0] < share.min()
    assert share.max() < bounds[1]
    assert 0.92 < share.mean() < 0.97
