"""Subsets are the authors' very subsets: exact, nested, shared by layers of equal width."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe import METHODS, PAPER_FRACTIONS, InvalidProbe, neuron_order, size_of_fraction
from probe.subsets import DIRECTION_METHODS, NEURON_METHODS, VARIANTS, check_sizes, independent_subset, parse_method
from store import UnknownName

# The sizes that the authors' code draws, for the paper's 22 fractions (int(f d), truncated).
SIZES = {
    384: "0 0 0 1 1 1 3 7 11 15 19 28 38 57 76 96 115 153 192 307 345 384",
    512: "0 0 1 1 2 2 5 10 15 20 25 38 51 76 102 128 153 204 256 409 460 512",
    2048: "1 2 4 6 8 10 20 40 61 81 102 153 204 307 409 512 614 819 1024 1638 1843 2048",
    4096: "2 4 8 12 16 20 40 81 122 163 204 307 409 614 819 1024 1228 1638 2048 3276 3686 4096",
}


@pytest.mark.parametrize("width", SIZES)
def test_sizes_are_truncated_as_in_the_authors_code(width):
    assert [size_of_fraction(f, width) for f in PAPER_FRACTIONS] == [int(k) for k in SIZES[width].split()]


@given(seed=st.integers(0, 2**31), width=st.integers(1, 600))
def test_random_is_what_manual_seed_and_randperm_draw(seed, width):
    torch.manual_seed(seed)
    assert neuron_order("random", seed, width).tolist() == torch.randperm(width).tolist()


@given(seed=st.integers(0, 1000), width=st.integers(1, 300), method=st.sampled_from(["random", "first"]))
def test_an_order_holds_each_neuron_once_and_leaves_the_global_generator_alone(seed, width, method):
    before = torch.random.get_rng_state()
    order = neuron_order(method, seed, width)
    assert sorted(order.tolist()) == list(range(width))
    assert order.dtype == np.int64
    assert torch.equal(torch.random.get_rng_state(), before)


def test_first_takes_neurons_as_they_stand():
    assert neuron_order("first", 7, 5).tolist() == [0, 1, 2, 3, 4]


def test_seeds_differ():
    orders = {tuple(neuron_order("random", s, 50).tolist()) for s in range(1, 6)}
    assert len(orders) == 5


def test_unknown_method_names_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'random'"):
        neuron_order("randm", 1, 5)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"random", "first"}))
def test_methods_that_need_more_than_a_seed_say_where_they_are_made(method):
    with pytest.raises(InvalidProbe, match=r"take probe\.coordinates"):
        neuron_order(method, 1, 5)


def test_a_layer_has_neurons():
    with pytest.raises(InvalidProbe, match="at least one neuron, got width 0"):
        neuron_order("random", 1, 0)


@pytest.mark.parametrize(("sizes", "message"), [([], "at least one"), ([0, 3], "of 0 neurons"), ([9], "of 9 neurons")])
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(InvalidProbe, match=message):
        check_sizes(sizes, 8)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_fractions_out_of_range_are_refused(fraction):
    with pytest.raises(InvalidProbe, match=r"lies in \(0, 1\]"):
        size_of_fraction(fraction, 10)


def test_sizes_are_distinct_and_rising():
    assert check_sizes([5, 1, 5, 3], 5) == (1, 3, 5)


class TestIndependent:
    @given(seed=st.integers(0, 2**31), width=st.integers(1, 300), data=st.data())
    def test_exactly_k_distinct_neurons_and_the_same_again(self, seed, width, data):
        k = data.draw(st.integers(1, width))
        chosen = independent_subset(seed, k, width)
        assert chosen.shape == (k,)
        assert chosen.dtype == np.int64
        assert len(set(chosen.tolist())) == k
        assert 0 <= chosen.min() <= chosen.max() < width
        assert independent_subset(seed, k, width).tolist() == chosen.tolist()

    def test_the_derivation_is_the_documented_one(self):
        drawn = np.random.SeedSequence([3, 40, 2048]).generate_state(1)[0]
        torch.manual_seed(int(drawn))
        assert independent_subset(3, 40, 2048).tolist() == torch.randperm(2048)[:40].tolist()

    def test_the_draw_is_pinned(self):
        """Numbers of this very release: a library that draws otherwise must not pass unseen."""
        assert independent_subset(1, 5, 2048).tolist() == [1440, 397, 1517, 2039, 1976]

    def test_sizes_are_not_nested_and_share_what_chance_gives(self):
        """Of k = 500 in d = 1000, a size drawn beside it holds a share k/d: 250 of 500 with a deviation of 8."""
        small, large = independent_subset(1, 500, 1000), independent_subset(1, 501, 1000)
        shared = len(set(small.tolist()) & set(large.tolist()))
        assert abs(shared - 250) < 50

    def test_seeds_and_widths_draw_anew(self):
        draws = {tuple(independent_subset(s, 10, d).tolist()) for s in range(5) for d in (100, 101)}
        assert len(draws) == 10

    def test_every_neuron_is_as_likely(self):
        """4,000 draws of 5 of 20: each neuron in a quarter of them, within 5 standard deviations."""
        counts = np.bincount(np.concatenate([independent_subset(s, 5, 20) for s in range(4000)]), minlength=20)
        assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)

    @pytest.mark.parametrize(
        ("seed", "k", "width", "message"),
        [
            (-1, 1, 5, "seed of an independent draw is >= 0, got -1"),
            (1, 6, 5, "of 6 neurons"),
            (1, 0, 5, "of 0 neurons"),
            (1, 1, 0, "got width 0"),
        ],
    )
    def test_what_can_not_be_drawn_is_refused(self, seed, k, width, message):
        with pytest.raises(InvalidProbe, match=message):
            independent_subset(seed, k, width)


class TestParse:
    def test_every_method_chooses_neurons_or_directions(self):
        assert sorted(NEURON_METHODS + DIRECTION_METHODS) == sorted(METHODS)
        assert set(VARIANTS) <= set(METHODS)

    @pytest.mark.parametrize("name", METHODS)
    def test_a_plain_name_is_its_own_label(self, name):
        method = parse_method(name)
        assert (method.name, method.label) == (name, name)
        assert method.centred == (name in ("pca", "pca_least"))
        assert not method.unit_variance
        assert method.by == "variance"

    @pytest.mark.parametrize(
        ("label", "canonical"),
        [
            ("pca:centred", "pca"),
            ("pca:as-released", "pca:uncentred"),
            ("pca:unit-variance", "pca:unit-variance"),
            ("pca:unit-variance+centred", "pca:unit-variance"),
            ("pca:unit-variance+uncentred", "pca:uncentred+unit-variance"),
            ("pca_least:as-released+uncentred", "pca_least:uncentred"),
            ("random_projection:uncentred", "random_projection"),
            ("random_projection:centred", "random_projection:centred"),
            ("random_projection:as-released", "random_projection_uniform"),
            ("random_projection_uniform:as-released", "random_projection_uniform"),
            ("random_projection_uniform:uncentred", "random_projection_uniform"),
            ("random_projection_uniform:centred", "random_projection_uniform:centred"),
            ("ranked:by-variance", "ranked"),
            ("ranked:by-weight", "ranked:by-weight"),
        ],
    )
    def test_labels_that_mean_the_same_are_one(self, label, canonical):
        assert parse_method(label).label == canonical
        assert parse_method(label) == parse_method(canonical)

    @given(st.data())
    def test_a_canonical_label_reads_back_as_the_same_method(self, data):
        name = data.draw(st.sampled_from(sorted(VARIANTS)))
        variants = data.draw(st.lists(st.sampled_from(VARIANTS[name]), unique=True, min_size=1))
        try:
            method = parse_method(f"{name}:{'+'.join(variants)}")
        except InvalidProbe:
            assert len(variants) > 1
            return
        assert parse_method(method.label) == method
        assert parse_method(f"{name}:{'+'.join(reversed(variants))}") == method

    def test_different_methods_have_different_labels(self):
        """One label stands for one way to choose: jobs are named by it."""
        labels = [*METHODS, *(f"{n}:{v}" for n, vs in VARIANTS.items() for v in vs)]
        labels += ["pca:uncentred+unit-variance", "pca_least:uncentred+unit-variance"]
        methods = {parse_method(label) for label in labels}
        assert len({m.label for m in methods}) == len(methods) == 17

    @pytest.mark.parametrize(
        ("label", "nested", "seeded", "projects", "needs_statistics", "limited"),
        [
            ("random", True, True, False, False, False),
            ("random_independent", False, True, False, False, False),
            ("first", True, False, False, False, False),
            ("ranked", True, False, False, True, False),
            ("pca", True, False, True, True, True),
            ("pca_least:as-released", True, False, True, True, True),
            ("random_projection", True, True, True, False, False),
            ("random_projection:centred", True, True, True, True, False),
            ("random_projection_uniform", True, True, True, False, False),
        ],
    )
    def test_a_method_says_what_it_needs(self, label, nested, seeded, projects, needs_statistics, limited):
        method = parse_method(label)
        assert method.nested == nested
        assert method.seeded == seeded
        assert method.projects == projects
        assert method.needs_statistics == needs_statistics
        assert method.limited_by_rows == limited
        assert method.needs_whole == (projects or label.startswith("ranked"))

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("pca_lest", "no method 'pca_lest'. Did you mean 'pca_least'"),
            ("pca-least", "Did you mean 'pca_least'"),
            ("PCA", "Did you mean 'pca'"),
            ("", "no method ''"),
            ("pca:centered", "no variant of pca 'centered'. Did you mean 'centred'"),
            ("pca:", "no variant of pca ''"),
            ("pca:centred+", "no variant of pca ''"),
            ("ranked:by-wait", "Did you mean 'by-weight'"),
            ("random_projection:unit-variance", "no variant of random_projection 'unit-variance'"),
        ],
    )
    def test_unknown_names_say_the_nearest(self, label, message):
        with pytest.raises(UnknownName, match=message):
            parse_method(label)

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("random:centred", "'random' takes no variant, got 'random:centred'"),
            ("first:", "'first' takes no variant"),
            ("pca:centred+uncentred", "asks for centred and uncentred at once"),
            ("pca:as-released+centred", "asks for as-released and centred at once"),
            ("pca:as-released+unit-variance", "released code scales no component"),
            ("ranked:by-weight+by-variance", "asks for by-variance and by-weight at once"),
        ],
    )
    def test_contradictions_are_refused(self, label, message):
        with pytest.raises(InvalidProbe, match=message):
            parse_method(label)
