import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate import InvalidTable, coefficient_of_variation, gini

accuracies = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(values=accuracies)
def test_gini_is_half_the_mean_absolute_difference_over_the_mean(values):
    a = [x + 1e-7 for x in values]
    n = len(a)
    expected = sum(abs(x - y) for x in a for y in a) / (2 * n * n * (sum(a) / n))
    assert gini(values) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(values=accuracies)
def test_coefficient_of_variation_is_deviation_over_mean(values):
    a = [x + 1e-7 for x in values]
    mean = sum(a) / len(a)
    expected = math.sqrt(sum((x - mean) ** 2 for x in a) / len(a)) / mean
    assert coefficient_of_variation(values) == pytest.approx(expected, abs=1e-9)


def test_extremes():
    assert gini([0.7] * 10) == pytest.approx(0.0, abs=1e-12)
    assert gini([0.0] * 9 + [1.0]) == pytest.approx(0.9, abs=1e-5)
    assert gini([0.0] * 10) == pytest.approx(0.0, abs=1e-12)
    assert coefficient_of_variation([0.0, 0.0]) == 0.0


def test_the_mean_over_seeds_comes_first():
    seeds = [[1.0, 0.0], [0.0, 1.0]]
    assert gini(seeds) == pytest.approx(0.0, abs=1e-12)
    assert coefficient_of_variation(seeds) == pytest.approx(0.0, abs=1e-12)


def test_a_class_without_samples_is_left_out():
    assert gini([[np.nan, 0.2, 0.8], [np.nan, 0.4, np.nan]]) == pytest.approx(gini([0.3, 0.8]))


@pytest.mark.parametrize(
    ("values", "match"),
    [([], "at least one finite"), ([np.nan], "at least one finite"), ([-0.1, 1.0], "must lie"), ([np.inf], "must lie")],
)
def test_impossible_values_are_refused(values, match):
    with pytest.raises(InvalidTable, match=match):
        gini(values)


def test_more_than_two_axes_are_refused():
    with pytest.raises(InvalidTable, match="must have shape"):
        gini(np.zeros((2, 2, 2)))
