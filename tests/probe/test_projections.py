"""Directions are those of the documented draws and of scikit-learn's PCA, and only those that exist."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from probe import InvalidProbe
from probe.projections import gaussian_directions, n_components, principal_components, uniform_directions
from probe.statistics import block_statistics


def of_rows(x):
    return block_statistics(x, np.zeros(len(x), np.int64), 1)


def rows(n, d, seed=0):
    """Return ReLU features with neurons of unequal spread and common directions."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * rng.uniform(0.2, 3, size=d)
    return np.maximum(mixed, 0).astype(np.float32) + 2


class TestPrincipal:
    @pytest.mark.parametrize(("n", "d"), [(300, 40), (25, 40), (41, 40), (40, 40), (2, 5), (30, 1)])
    def test_components_are_those_of_scikit_learn(self, n, d):
        x = rows(n, d).astype(np.float64)
        found = principal_components(of_rows(x))
        oracle = PCA(svd_solver="full").fit(x)
        assert found.n == min(n - 1, d)
        assert_allclose(found.variances, oracle.explained_variance_[: found.n], rtol=1e-9)
        aligned = np.sum(found.directions * oracle.components_[: found.n].T, axis=0)
        assert_allclose(np.abs(aligned), 1, atol=1e-9)
        assert_allclose(found.directions.T @ found.directions, np.eye(found.n), atol=1e-12)

    def test_variances_fall_and_are_those_of_the_scores(self):
        x = rows(200, 30).astype(np.float64)
        found = principal_components(of_rows(x))
        assert (np.diff(found.variances) < 0).all()
        assert_allclose(np.var((x - x.mean(0)) @ found.directions, axis=0, ddof=1), found.variances, rtol=1e-10)

    def test_the_largest_entry_of_a_direction_is_positive(self):
        found = principal_components(of_rows(rows(200, 30)))
        largest = np.abs(found.directions).argmax(0)
        assert (found.directions[largest, np.arange(found.n)] > 0).all()
        assert (found.directions < 0).any(), "signs differ within directions: the convention decides something"

    def test_the_first_of_equally_large_entries_decides_the_sign(self):
        """A neuron and its negative load with opposite signs and equal size, but for rounding."""
        x = rows(100, 1).astype(np.float64)
        found = principal_components(of_rows(np.hstack([x, -x])))
        assert_allclose(found.directions, [[0.5**0.5], [-(0.5**0.5)]], atol=1e-12)
        jittered = of_rows(np.hstack([x, -x * (1 + 1e-9)]))
        assert_allclose(principal_components(jittered).directions, [[0.5**0.5], [-(0.5**0.5)]], atol=1e-8)

    def test_constant_and_duplicated_neurons_give_no_component(self):
        x = rows(200, 20)
        x[:, 3] = 0.1
        x[:, 7] = x[:, 8]
        x[:, 9] = 0
        x[:, 11] = 2 * x[:, 12]
        found = principal_components(of_rows(x))
        assert found.n == n_components(of_rows(x)) == 16
        assert_allclose(found.directions[[3, 9]], 0, atol=1e-9)
        assert_allclose(found.directions[7], found.directions[8], atol=1e-9)

    def test_real_images_have_as_many_as_numpy_counts(self):
        """Digits: 64 pixels, of which three are blank in every image."""
        x = load_digits().data
        assert n_components(of_rows(x)) == np.linalg.matrix_rank(x - x.mean(0)) == 61

    def test_a_small_component_exists(self):
        """A neuron that varies 1e-5 times as much as another is a dimension that a probe can use."""
        x = rows(100, 2).astype(np.float64)
        x[:, 1] *= 1e-5
        assert principal_components(of_rows(x)).n == 2

    @given(n=st.integers(2, 30), d=st.integers(1, 30), rank=st.integers(1, 30), seed=st.integers(0, 10**6))
    @settings(max_examples=60)
    def test_as_many_exist_as_the_rows_have_rank(self, n, d, rank, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) + rng.normal(size=d)
        expected = min(rank, d, n - 1)
        assert n_components(of_rows(x)) == expected
        found = principal_components(of_rows(x))
        assert found.n == expected
        assert found.directions.shape == (d, expected)
        back = (x - x.mean(0)) @ found.directions @ found.directions.T
        assert_allclose(back, x - x.mean(0), atol=1e-5 * np.abs(x).max())

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e5, -3.7])
    def test_a_constant_layer_has_none(self, value):
        constant = of_rows(np.full((7, 4), value, np.float32))
        for ask in (principal_components, n_components):
            with pytest.raises(InvalidProbe, match="all 4 neurons are constant over the 7 training rows"):
                ask(constant)

    def test_one_row_has_none(self):
        with pytest.raises(InvalidProbe, match="at least two training rows, got 1"):
            principal_components(of_rows(rows(1, 4)))

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_a_gpu_finds_the_same(self):
        pytest.importorskip("cupy", reason="needs CuPy")
        total = of_rows(rows(300, 60))
        on_cpu, on_gpu = principal_components(total), principal_components(total, device="cuda")
        assert_allclose(on_gpu.variances, on_cpu.variances, rtol=1e-9)
        assert_allclose(on_gpu.directions, on_cpu.directions, atol=1e-7)


def box_muller(uniform):
    """Return normal numbers as torch draws 16 at a time, from as many uniform ones (Box and Muller, 1958)."""
    a, b = uniform.reshape(-1, 2, 8).transpose(1, 0, 2)
    radius, angle = np.sqrt(-2 * np.log1p(-a)), 2 * np.pi * b
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


class TestGaussian:
    def test_directions_are_the_normalised_rows_of_the_documented_draw(self):
        drawn = torch.randn(48, 48, generator=torch.Generator().manual_seed(5), dtype=torch.float64).numpy()
        expected = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).T
        assert_allclose(gaussian_directions(5, 48, n_directions=48), expected, rtol=1e-14)

    def test_the_numbers_come_from_uniform_ones_that_are_the_same_everywhere(self):
        """The only step that a platform has a say in is a logarithm, a root and a cosine in float64."""
        uniform = torch.rand(4 * 64, generator=torch.Generator().manual_seed(9), dtype=torch.float64).numpy()
        drawn = np.stack([box_muller(u) for u in uniform.reshape(4, 64)])
        expected = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).T
        assert_allclose(gaussian_directions(9, 64, n_directions=4), expected, rtol=1e-12)

    def test_the_draw_is_pinned(self):
        """Numbers of this very release: a library that draws otherwise must not pass unseen."""
        found = gaussian_directions(1, 2048, n_directions=2)
        assert_allclose(
            [*found[:3, 0], *found[-3:, 1]],
            [
                -0.0069317315544920365,
                -0.015877611062604255,
                -0.01623473917700104,
                -0.01958070780563078,
                -0.009672101652800925,
                0.022644682618265546,
            ],
            rtol=1e-12,
        )

    @given(seed=st.integers(0, 2**31), width=st.integers(1, 70), data=st.data())
    def test_directions_nest_have_length_one_and_are_the_same_again(self, seed, width, data):
        k = data.draw(st.integers(1, width))
        before = torch.random.get_rng_state()
        whole, part = (gaussian_directions(seed, width, n_directions=r) for r in (width, k))
        assert part.shape == (width, k)
        assert_array_equal(whole[:, :k], part)
        assert_allclose(np.linalg.norm(whole, axis=0), 1, rtol=1e-13)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_entries_are_those_of_random_directions(self):
        """Mean 0, variance 1/d, and inner products of variance 1/d: within 5 standard deviations of each."""
        d = 512
        found = gaussian_directions(1, d, n_directions=d)
        assert abs(found.mean()) < 5 / np.sqrt(d * d * d)
        inner = (found.T @ found)[np.triu_indices(d, 1)]
        assert abs(inner.mean()) < 5 / np.sqrt(d * len(inner))
        assert_allclose(inner.var(), 1 / d, rtol=5 * np.sqrt(2 / len(inner)))
        assert_allclose(np.mean(found**4) * d**2, 3, rtol=0.05)

    def test_threads_do_not_matter(self):
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            one = gaussian_directions(2, 300, n_directions=300), uniform_directions(2, 300, n_directions=300)
            torch.set_num_threads(4)
            four = gaussian_directions(2, 300, n_directions=300), uniform_directions(2, 300, n_directions=300)
        finally:
            torch.set_num_threads(threads)
        assert_array_equal(one[0], four[0])
        assert_array_equal(one[1], four[1])


class TestUniform:
    def test_it_is_the_matrix_that_the_authors_notebook_prints(self):
        """`paper_protocol.md`, D2: corner entries of the first column for seed 1 and d = 2048, to 4 digits."""
        column = uniform_directions(1, 2048, n_directions=1)[:, 0]
        assert [f"{v:.4f}" for v in column[:3]] == ["0.0293", "0.0092", "0.0327"]
        assert [f"{v:.4f}" for v in column[-3:]] == ["0.0364", "0.0066", "0.0316"]

    @pytest.mark.parametrize("width", [1, 5, 300, 700])
    def test_it_is_what_the_released_code_computes(self, width):
        drawn = torch.rand((width, width), generator=torch.Generator().manual_seed(3))
        released = torch.nn.functional.normalize(drawn, dim=0).numpy()
        found = uniform_directions(3, width, n_directions=width)
        assert found.dtype == np.float32
        assert_allclose(found, released, rtol=2e-6)

    @given(seed=st.integers(0, 2**31), width=st.integers(1, 70), data=st.data())
    def test_directions_nest_have_length_one_and_are_positive(self, seed, width, data):
        k = data.draw(st.integers(1, width))
        whole, part = (uniform_directions(seed, width, n_directions=r) for r in (width, k))
        assert part.shape == (width, k)
        assert_array_equal(whole[:, :k], part)
        assert_allclose(np.linalg.norm(whole.astype(np.float64), axis=0), 1, rtol=1e-6)
        assert (whole >= 0).all()


def test_uniform_directions_are_ill_conditioned_and_normal_ones_are_not():
    """`paper_protocol.md`, D2 and section 3, for d = 2048 and k = 204, 409: 36 and 63 against 1.9 and 2.6."""
    uniform = uniform_directions(1, 2048, n_directions=409).astype(np.float64)
    normal = gaussian_directions(1, 2048, n_directions=409)
    gram = uniform.T @ uniform
    for inner, expected in ((gram, (36, 63)), (normal.T @ normal, (1.9, 2.6))):
        for k, condition in zip((204, 409), expected, strict=True):
            values = np.linalg.eigvalsh(inner[:k, :k])
            assert_allclose(np.sqrt(values[-1] / values[0]), condition, rtol=0.05)
    assert_allclose(gram[np.triu_indices(len(gram), 1)].mean(), 0.75, atol=0.01)


@pytest.mark.parametrize("draw", [gaussian_directions, uniform_directions])
@pytest.mark.parametrize(
    ("width", "n", "message"), [(0, 1, "got width 0"), (4, 5, "of 5 neurons"), (4, 0, "of 0 neur")]
)
def test_directions_that_can_not_be_drawn_are_refused(draw, width, n, message):
    with pytest.raises(InvalidProbe, match=message):
        draw(1, width, n_directions=n)
