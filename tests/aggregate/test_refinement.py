"""Refinement ends, in few rounds, with the crossing in a bracket as narrow as asked for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate import InvalidOption, next_sizes


def refine(curve, start, *, delta, width, resolution, proposal=None):
    """Measure until nothing is left to measure; return the ratios by size, and what each round asked for."""
    known = {k: curve(k) for k in start}
    rounds = []
    while True:
        new = next_sizes(
            list(known), list(known.values()), delta=delta, width=width, resolution=resolution, proposal=proposal
        )
        if not new:
            return known, rounds
        below, star = bracket(known, delta)
        assert len(new) <= 3
        assert list(new) == sorted(set(new))
        assert all(below < k < star and k not in known for k in new)
        known |= {k: curve(k) for k in new}
        rounds.append(new)
        assert len(rounds) <= width


def bracket(known, delta):
    defined = {k: v for k, v in known.items() if v is not None and math.isfinite(v)}
    star = min(k for k, v in defined.items() if v >= delta - 1e-12)
    return max((k for k in defined if k < star), default=0), star


def most_rounds(width, resolution):
    return 2 * math.log2(max(width / resolution, 1)) + math.log2(max(math.log2(width), 1)) + 4


widths = st.one_of(st.integers(1, 40), st.integers(41, 200_000))


@st.composite
def searches(draw):
    width = draw(widths)
    resolution = draw(st.integers(1, max(1, width // 20)))
    start = draw(st.sets(st.integers(1, width), max_size=8)) | {width}
    proposal = draw(st.none() | st.integers(-5, width + 5))
    return width, resolution, sorted(start), proposal


@settings(max_examples=300, deadline=None, derandomize=True)
@given(search=searches(), truth=st.floats(0, 1), shape=st.floats(0.02, 50), step=st.booleans())
def test_monotone_curves_end_with_the_crossing_in_the_bracket(search, truth, shape, step):
    width, resolution, start, proposal = search
    crossing = 1 + int(truth * (width - 1))

    def curve(k):
        return float(k >= crossing) if step else min(1.0, 0.9 * (k / crossing) ** shape)

    known, rounds = refine(curve, start, delta=0.9, width=width, resolution=resolution, proposal=proposal)
    below, star = bracket(known, 0.9)
    assert below < crossing <= star
    assert star - below <= resolution
    assert len(rounds) <= most_rounds(width, resolution) + (2 if proposal is not None else 0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(search=searches(), seed=st.integers(0, 2**32 - 1), holes=st.sampled_from([0.0, 0.3, 1.0]))
def test_any_curve_ends(search, seed, holes):
    """Noise without any order, and sizes whose probe diverged."""
    width, resolution, start, proposal = search

    def curve(k):
        rng = np.random.default_rng([seed, k])
        return 1.0 if k == width else [None, math.nan][k % 2] if rng.random() < holes else float(rng.random())

    known, rounds = refine(curve, start, delta=0.9, width=width, resolution=resolution, proposal=proposal)
    below, star = bracket(known, 0.9)
    if holes == 0:
        assert star - below <= resolution
        assert len(rounds) <= most_rounds(width, resolution) + (2 if proposal is not None else 0)
    else:
        undefined = [k for k in known if below < k < star]
        assert star - below <= resolution or len(undefined) >= 8 or set(range(below + 1, star)) <= known.keys()


def test_a_smooth_curve_takes_a_round_or_two():
    """Twelve saturating curves at the paper's grid and width: against seven rounds and sizes of a plain bisection."""
    width, counts = 2048, []
    start = [int(f * width) for f in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1)]
    for scale in np.geomspace(20, 600, 12):
        _, rounds = refine(
            lambda k, tau=scale: (1 - math.exp(-k / tau)) / (1 - math.exp(-width / tau)),
            start, delta=0.9, width=width, resolution=20,
        )  # fmt: skip
        counts.append((len(rounds), sum(map(len, rounds))))
    assert np.mean([rounds for rounds, _ in counts]) <= 2.0, counts
    assert max(rounds for rounds, _ in counts) <= 4, counts
    assert np.mean([sizes for _, sizes in counts]) <= 4.5, counts


def test_a_right_proposal_is_one_round():
    known, rounds = refine(lambda k: k / 1000, [10, 500, 1000], delta=0.9, width=1000, resolution=10, proposal=903)
    assert rounds == [(893, 903)]
    assert bracket(known, 0.9) == (893, 903)


def test_a_proposal_that_is_measured_already_brings_its_neighbour():
    assert next_sizes([10, 900], [0.1, 0.9], delta=0.9, width=1000, resolution=10, proposal=900) == (890,)


@pytest.mark.parametrize(
    ("sizes", "ratios"),
    [
        ([], []),
        ([10, 50], [0.1, 0.5]),  # censored
        ([10, 100], [None, None]),  # the whole layer is not measured
        ([10, 100], [math.nan, None]),
        ([50, 53], [0.5, 0.95]),  # narrow enough
        ([3], [0.95]),  # 1 .. 3
    ],
)
def test_nothing_to_measure(sizes, ratios):
    assert next_sizes(sizes, ratios, delta=0.9, width=100, resolution=3) == ()


def test_an_undefined_size_is_no_end_and_not_repeated():
    new = next_sizes([40, 50, 60], [0.1, None, 0.95], delta=0.9, width=100, resolution=1)
    assert new
    assert 50 not in new
    assert all(40 < k < 60 for k in new)


def test_the_first_crossing_is_what_is_refined():
    new = next_sizes([10, 30, 60, 100], [0.1, 0.95, 0.5, 1.0], delta=0.9, width=100, resolution=1)
    assert all(10 < k < 30 for k in new)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sizes": [1, 1]}, "distinct"),
        ({"sizes": [1]}, "1 sizes and 2 ratios"),
        ({"sizes": [0, 10]}, "1 .. width = 100"),
        ({"sizes": [1, 101]}, "1 .. width = 100"),
        ({"delta": 1.1}, "delta must lie"),
        ({"delta": math.nan}, "delta must lie"),
        ({"resolution": 0}, "at least one neuron"),
    ],
)
def test_wrong_arguments_are_refused(change, match):
    options = {"sizes": [1, 10], "mean_ratios": [0.1, 1.0], "delta": 0.9, "width": 100, "resolution": 1} | change
    with pytest.raises(InvalidOption, match=match):
        next_sizes(options.pop("sizes"), options.pop("mean_ratios"), **options)
