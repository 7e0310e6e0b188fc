"""Columns of a layer of which only some neurons are stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe import InvalidProbe, parse_method
from probe.gathered import MOST_NEURONS, is_gathered, refuse_gathered, refuse_many, refuse_method, stored_columns


class Stored:
    """What these functions look at of a representation."""

    def __init__(self, neurons, layer_width):
        self.neurons = None if neurons is None else np.array(neurons, np.int64)
        self.layer_width = layer_width

    def __repr__(self):
        return "<some layer>"


@st.composite
def layers(draw):
    width = draw(st.integers(1, 60))
    neurons = sorted(draw(st.sets(st.integers(0, width - 1), min_size=1)))
    return Stored(neurons, width), np.array(draw(st.permutations(range(width))), np.int64)


@given(layers(), st.integers(1, 60))
def test_columns_hold_the_neurons_in_their_order_or_are_refused(layer, k):
    features, order = layer
    chosen = order[:k]
    there = np.isin(chosen, features.neurons)
    if there.all():
        columns = stored_columns(features, chosen, of="random, seed 1")
        assert columns.dtype == np.int64
        np.testing.assert_array_equal(features.neurons[columns], chosen)
        return
    most = int(np.flatnonzero(~there)[0])
    says = rf"k = {len(chosen)} of random, seed 1: " + (rf"those up to k = {most} \(" if most else "it is not stored")
    with pytest.raises(InvalidProbe, match=says):
        stored_columns(features, chosen, of="random, seed 1")
    with pytest.raises(InvalidProbe, match="it is not stored"):
        stored_columns(features, chosen, of="random, seed 1", nested=False)


def test_of_a_whole_layer_columns_are_neurons():
    order = np.array([4, 0, 2])
    assert stored_columns(Stored(None, 5), order, of="x") is order


@pytest.mark.parametrize(("label", "allowed"), [("random", True), ("first", True), ("ranked", False), ("pca", False)])
def test_what_needs_the_whole_layer_is_refused_of_a_part_alone(label, allowed):
    some, whole, method = Stored([1, 3], 5), Stored(None, 5), parse_method(label)
    assert (is_gathered(some), is_gathered(whole)) == (True, False)
    refuse_method(whole, method)
    refuse_gathered(whole, "anything")
    refuse_many(whole, 10**6, "anything")
    refuse_many(some, MOST_NEURONS, "anything")
    with pytest.raises(InvalidProbe, match=f"anything forms.*k = {MOST_NEURONS + 1} was asked of <some layer>"):
        refuse_many(some, MOST_NEURONS + 1, "anything")
    if allowed:
        refuse_method(some, method)
    else:
        with pytest.raises(InvalidProbe, match=f"<some layer> does not hold.*method '{label}' needs it.*`keep: whole`"):
            refuse_method(some, method)
