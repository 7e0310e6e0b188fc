"""Coordinates of every method: exact, nested, the same again, and statistics that follow them."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from probe import METHODS, InvalidProbe, neuron_order
from probe.coordinates import Coordinates, coordinates
from probe.projections import gaussian_directions, principal_components, uniform_directions
from probe.ranking import by_variance, by_weight
from probe.statistics import block_statistics
from probe.subsets import independent_subset, parse_method
from store import UnknownName

LABELS = [
    *METHODS,
    "pca:uncentred",
    "pca:unit-variance",
    "pca_least:as-released",
    "pca_least:uncentred+unit-variance",
    "random_projection:centred",
    "random_projection_uniform:centred",
    "ranked:by-weight",
]


def problem(n=120, d=24, n_classes=3, seed=0, dtype=np.float64):
    """Return features (n, d) with common directions, a mean and unequal spread, labels and their statistics."""
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * rng.uniform(0.2, 3, size=d), 0) + 1
    y = rng.integers(0, n_classes, n)
    y[:2] = 0, 1
    x = x.astype(dtype)
    return x, y, block_statistics(x, y, n_classes)


def size_for(label, n):
    """Return how many to ask for where a method can't do without."""
    return n if label == "random_independent" else None


class TestWhatTheyAre:
    def test_neurons_of_a_seed(self):
        for method in ("random", "first"):
            assert_array_equal(coordinates(method, 4, 24).order, neuron_order(method, 4, 24))

    def test_an_independent_draw(self):
        assert_array_equal(coordinates("random_independent", 4, 24, n_neurons=7).order, independent_subset(4, 7, 24))

    def test_rankings(self):
        *_, total = problem()
        assert_array_equal(coordinates("ranked", 1, 24, statistics=total).order, by_variance(total))
        assert_array_equal(coordinates("ranked:by-weight", 1, 24, statistics=total).order, by_weight(total))
        assert by_variance(total).tolist() != by_weight(total).tolist()

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_pca_gives_the_scores_of_scikit_learn(self, dtype):
        x, _, total = problem(dtype=dtype)
        scores = coordinates("pca", 1, 24, n_neurons=10, statistics=total).apply(x)
        oracle = PCA(n_components=10, svd_solver="full").fit_transform(x.astype(np.float64))
        sign = np.sign(np.sum(scores * oracle, axis=0))
        tolerance = 1e-9 if dtype == np.float64 else 2e-5
        assert scores.dtype == dtype
        assert_allclose(scores * sign, oracle, atol=tolerance * np.abs(oracle).max())

    def test_whitened_pca_is_that_of_scikit_learn(self):
        x, _, total = problem()
        scores = coordinates("pca:unit-variance", 1, 24, statistics=total).apply(x)
        oracle = PCA(whiten=True, svd_solver="full").fit_transform(x)
        assert_allclose(scores * np.sign(np.sum(scores * oracle, axis=0)), oracle, atol=1e-8)
        assert_allclose(np.cov(scores.T), np.eye(24), atol=1e-9)

    def test_as_released_pca_is_the_product_with_the_components_alone(self):
        x, _, total = problem()
        directions = principal_components(total).directions
        found = coordinates("pca:as-released", 1, 24, n_neurons=5, statistics=total)
        assert_allclose(found.apply(x), x @ directions[:, :5], rtol=1e-12)
        centred = coordinates("pca", 1, 24, n_neurons=5, statistics=total).apply(x)
        assert_allclose(found.apply(x) - centred, np.tile(x.mean(0) @ directions[:, :5], (len(x), 1)), atol=1e-10)

    @pytest.mark.parametrize("variants", ["", ":uncentred", ":unit-variance"])
    def test_the_least_components_are_those_of_pca_from_the_end(self, variants):
        x, _, total = problem()
        top = coordinates("pca" + variants, 1, 24, statistics=total)
        least = coordinates("pca_least" + variants, 1, 24, statistics=total)
        assert top.n == least.n == 24
        assert_array_equal(least.matrix, top.matrix[:, ::-1])
        few = coordinates("pca_least" + variants, 1, 24, n_neurons=3, statistics=total)
        assert_array_equal(few.matrix, least.matrix[:, :3])
        torch.from_numpy(few.matrix)  # refuses reversed views
        if variants != ":unit-variance":
            assert (np.diff(few.apply(x).var(0)) > 0).all()

    def test_least_components_are_the_least_of_those_that_exist(self):
        x, y, _ = problem()
        x[:, 3] = x[:, 4]
        x[:, 5] = 7
        found = coordinates("pca_least", 1, 24, n_neurons=1, statistics=block_statistics(x, y, 3))
        assert found.apply(x).var() > 1e-6
        for label in ("pca", "pca_least", "pca:unit-variance"):
            matrix = coordinates(label, 1, 24, statistics=block_statistics(x, y, 3)).matrix
            assert matrix.shape == (24, 24)
            assert np.abs(matrix[:, :22]).max(0).min() > 0
            assert not matrix[:, 22:].any()

    def test_components_that_are_given_are_used(self):
        *_, total = problem()
        found = principal_components(total)
        assert coordinates("pca:uncentred", 1, 24, statistics=total, components=found).matrix is not None
        negative = replace(found, directions=-found.directions)
        flipped = coordinates("pca", 1, 24, statistics=total, components=negative)
        assert_array_equal(flipped.matrix, -coordinates("pca", 1, 24, statistics=total).matrix)

    def test_random_projections_are_the_product_with_the_matrix(self):
        x, _, total = problem()
        normal = gaussian_directions(6, 24, n_directions=24)
        uniform = uniform_directions(6, 24, n_directions=24).astype(np.float64)
        cases = {
            "random_projection": x @ normal,
            "random_projection:centred": (x - x.mean(0)) @ normal,
            "random_projection_uniform": x @ uniform,
            "random_projection:as-released": x @ uniform,
            "random_projection_uniform:centred": (x - x.mean(0)) @ uniform,
        }
        for label, expected in cases.items():
            found = coordinates(label, 6, 24, statistics=total).apply(x)
            assert_allclose(found, expected, rtol=1e-11, atol=1e-11, err_msg=label)

    @pytest.mark.parametrize("label", LABELS)
    def test_the_seed_matters_where_the_method_says_so(self, label):
        *_, total = problem()
        a, b = (coordinates(label, s, 24, n_neurons=12, statistics=total) for s in (1, 2))
        key = "matrix" if parse_method(label).projects else "order"
        assert np.array_equal(getattr(a, key), getattr(b, key)) != parse_method(label).seeded

    @pytest.mark.parametrize("label", LABELS)
    def test_a_parsed_method_serves_as_its_label(self, label):
        x, _, total = problem()
        a, b = (coordinates(m, 3, 24, n_neurons=5, statistics=total) for m in (label, parse_method(label)))
        assert_array_equal(a.apply(x), b.apply(x))


class TestPrefixes:
    @pytest.mark.parametrize("label", LABELS)
    @given(seed=st.integers(0, 1000), d=st.integers(1, 20), data=st.data())
    @settings(max_examples=25)
    def test_exactly_k_nested_and_the_same_again(self, label, seed, d, data):
        x, _, total = problem(40, d, seed=seed)
        k = data.draw(st.integers(1, d))
        part, again = (coordinates(label, seed, d, n_neurons=k, statistics=total) for _ in range(2))
        assert part.n == k
        assert part.apply(x).shape == (40, k)
        assert_array_equal(part.apply(x), again.apply(x))
        if parse_method(label).nested:
            whole = coordinates(label, seed, d, statistics=total)
            assert whole.n == d
            taken = whole.first(k)
            assert taken.n == k
            key = "matrix" if parse_method(label).projects else "order"
            assert_array_equal(getattr(taken, key), getattr(part, key))
            assert_allclose(taken.apply(x), part.apply(x), rtol=1e-9, atol=1e-9 * np.abs(x).max())

    @pytest.mark.parametrize("k", [0, 25])
    def test_a_prefix_that_does_not_exist_is_refused(self, k):
        with pytest.raises(InvalidProbe, match=f"subset of {k} neurons"):
            coordinates("first", 1, 24).first(k)


class TestStatistics:
    @pytest.mark.parametrize("label", LABELS)
    def test_statistics_of_coordinates_are_those_of_their_rows(self, label):
        x, y, total = problem()
        found = coordinates(label, 3, 24, n_neurons=9, statistics=total)
        followed, direct = found.of(total), block_statistics(found.apply(x), y, 3)
        scale = np.abs(direct.scatter).max()
        assert followed.n == direct.n
        assert_allclose(followed.scatter, direct.scatter, atol=1e-11 * scale)
        assert_allclose(followed.mean, direct.mean, atol=1e-11 * np.abs(x).max())
        assert_allclose(followed.class_sums, direct.class_sums, atol=1e-10 * np.abs(x).sum(0).max())
        assert_allclose(followed.cross, direct.cross, atol=1e-10 * np.abs(x).sum(0).max())
        assert_array_equal(followed.class_counts, direct.class_counts)

    def test_they_leave_the_given_ones_alone(self):
        *_, total = problem()
        before = total.class_sums.copy(), total.mean.copy()
        coordinates("pca", 1, 24, statistics=total).of(total)
        assert_array_equal(total.class_sums, before[0])
        assert_array_equal(total.mean, before[1])

    def test_principal_scores_are_uncorrelated_and_have_the_variances(self):
        *_, total = problem()
        found = coordinates("pca", 1, 24, statistics=total).of(total)
        expected = np.diag(principal_components(total).variances * (total.n - 1))
        assert_allclose(found.scatter, expected, atol=1e-12 * expected.max())
        assert_allclose(found.mean, 0, atol=1e-12 * np.abs(total.mean).max())


class TestApply:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_neurons_keep_their_dtype_and_values(self, dtype):
        x, *_ = problem(dtype=dtype)
        found = coordinates("random", 2, 24, n_neurons=7)
        assert found.apply(x).dtype == dtype
        assert_array_equal(found.apply(x), x[:, found.order])

    @pytest.mark.parametrize(("given", "out"), [(np.float16, np.float32), (np.float32, np.float32), (np.float64,) * 2])
    @pytest.mark.parametrize("label", ["pca", "random_projection", "random_projection_uniform"])
    def test_projections_are_single_precision_unless_the_features_are_double(self, label, given, out):
        x, _, total = problem(dtype=given)
        found = coordinates(label, 2, 24, statistics=total)
        applied = found.apply(x)
        assert applied.dtype == out
        offset = 0 if found.offset is None else found.offset
        expected = (x.astype(np.float64) - offset) @ found.matrix
        assert_allclose(applied, expected, atol=(1e-12 if out == np.float64 else 2e-6) * np.abs(expected).max())

    @pytest.mark.parametrize("label", LABELS)
    def test_blocks_of_rows_do_not_matter(self, label):
        x, _, total = problem(dtype=np.float32)
        found = coordinates(label, 2, 24, n_neurons=9, statistics=total)
        whole = found.apply(x)
        for size in (1, 7, 50):
            parts = np.vstack([found.apply(x[i : i + size]) for i in range(0, len(x), size)])
            assert_allclose(parts, whole, atol=2e-6 * np.abs(whole).max())

    def test_no_rows_give_no_rows(self):
        *_, total = problem()
        for label in ("random", "pca"):
            assert coordinates(label, 1, 24, n_neurons=3, statistics=total).apply(np.empty((0, 24))).shape == (0, 3)

    def test_the_features_are_left_alone(self):
        x, _, total = problem()
        before = x.copy()
        coordinates("pca", 1, 24, statistics=total).apply(x)
        assert_array_equal(x, before)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_not_projected(self, value):
        x, _, total = problem(dtype=np.float32)
        x[5, 2] = value
        with pytest.raises(InvalidProbe, match="row 5 of a block has features that are not finite"):
            coordinates("pca", 1, 24, statistics=total).apply(x)

    def test_overflow_is_refused(self):
        x = np.full((3, 24), 3e38, np.float32)
        with pytest.raises(InvalidProbe, match=r"row 0 of a block .* overflow float32"):
            coordinates("random_projection_uniform", 1, 24).apply(x)

    @pytest.mark.parametrize("width", [23, 25])
    def test_features_of_another_width_are_refused(self, width):
        with pytest.raises(InvalidProbe, match=f"directions of 24 neurons were given features of width {width}"):
            coordinates("random_projection", 1, 24).apply(np.zeros((2, width)))
        if width < 24:
            with pytest.raises(InvalidProbe, match=f"neuron 23 was asked of features of width {width}"):
                coordinates("first", 1, 24).apply(np.zeros((2, width)))


class TestRefused:
    @pytest.mark.parametrize("label", ["pca", "pca_least:unit-variance"])
    def test_more_components_than_rows_give(self, label):
        """Flowers: 1,020 training images of 2,048 neurons (`paper_protocol.md`, D20), in small."""
        *_, total = problem(n=11, d=24)
        assert coordinates(label, 1, 24, statistics=total).n == 10
        assert coordinates(label, 1, 24, n_neurons=10, statistics=total).n == 10
        told = (
            "asked for 11 components, and 11 training rows of 24 neurons have at most 10.*on_missing_components: censor"
        )
        with pytest.raises(InvalidProbe, match=told):
            coordinates(label, 1, 24, n_neurons=11, statistics=total)

    @pytest.mark.parametrize("label", [m for m in LABELS if parse_method(m).needs_statistics])
    def test_a_method_that_looks_at_the_rows_needs_their_statistics(self, label):
        with pytest.raises(InvalidProbe, match="looks at the training rows: give their statistics"):
            coordinates(label, 1, 24)

    @pytest.mark.parametrize("label", LABELS)
    @pytest.mark.parametrize("k", [0, -1, 25])
    def test_sizes_that_do_not_exist(self, label, k):
        *_, total = problem()
        with pytest.raises(InvalidProbe, match=f"subset of {k} neurons was asked of a layer of 24"):
            coordinates(label, 1, 24, n_neurons=k, statistics=total)

    @pytest.mark.parametrize("label", LABELS)
    def test_a_layer_without_neurons(self, label):
        with pytest.raises(InvalidProbe, match="at least one neuron, got width 0"):
            coordinates(label, 1, 0)

    def test_an_independent_draw_without_a_size(self):
        with pytest.raises(InvalidProbe, match="name the size"):
            coordinates("random_independent", 1, 24)

    def test_statistics_or_components_of_another_layer(self):
        *_, total = problem()
        *_, other = problem(d=23)
        with pytest.raises(InvalidProbe, match="statistics of 23 neurons were given for a layer of 24"):
            coordinates("ranked", 1, 24, statistics=other)
        with pytest.raises(InvalidProbe, match="components of 23 neurons were given for a layer of 24"):
            coordinates("pca", 1, 24, statistics=total, components=principal_components(other))

    def test_a_constant_layer_has_no_components_but_has_neurons(self):
        total = block_statistics(np.ones((9, 4)), np.arange(9) % 2, 2)
        with pytest.raises(InvalidProbe, match="all 4 neurons are constant"):
            coordinates("pca", 1, 4, statistics=total)
        assert coordinates("ranked:by-weight", 1, 4, statistics=total).n == 4

    def test_unknown_methods(self):
        with pytest.raises(UnknownName, match="Did you mean 'random_projection'"):
            coordinates("random_projections", 1, 24)

    def test_coordinates_are_neurons_or_projections(self):
        order, matrix = np.arange(3), np.eye(3)
        for wrong in ({}, {"order": order, "matrix": matrix}):
            with pytest.raises(InvalidProbe, match="give one of the two"):
                Coordinates(**wrong)
        with pytest.raises(InvalidProbe, match=r"an offset goes with a matrix .* got \(3,\) with no matrix"):
            Coordinates(order=order, offset=np.zeros(3))
        with pytest.raises(InvalidProbe, match=r"got \(4,\) with \(3, 3\)"):
            Coordinates(matrix=matrix, offset=np.zeros(4))


def test_one_neuron_is_a_layer():
    x, _, total = problem(d=1)
    for label in LABELS:
        found = coordinates(label, 1, 1, n_neurons=1, statistics=total).apply(x)
        assert found.shape == (len(x), 1)
        assert found.var() > 0, "the neuron itself, up to sign, scale and place"


def test_importing_the_module_loads_no_torch():
    code = "import sys, probe.coordinates; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
