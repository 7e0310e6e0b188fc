"""Subsets are the authors' very subsets: exact, nested, shared by layers of equal width."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe import METHODS, PAPER_FRACTIONS, InvalidProbe, neuron_order, size_of_fraction
from probe.subsets import check_sizes
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


@given(seed=st.integers(0, 1000), width=st.integers(1, 300), method=st.sampled_from(METHODS))
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
