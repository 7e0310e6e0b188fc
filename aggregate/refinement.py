"""Where to measure next, so that the bracket of k* becomes as narrow as asked for. Pure (no I/O).

Eq. 1 takes the *smallest* measured size that reaches delta, so k* lies in (below, star]: `star` the smallest measured
size that reaches delta, `below` the largest measured size under it, which therefore fails (0 where there is none).
Whatever a new size between them measures, it becomes one of the two ends: the bracket shrinks in every round, for
curves that dip as well, and what counts is only how fast.

Each round proposes a pair around the place where the curve should cross, `resolution` apart: if the crossing lies
between the two, the search is over in that round. The middle of the bracket joins them where they are far from it, so
that a bad guess costs one size and never the halving. The middle is geometric while star > 4 below, for then the order
of magnitude of k* is unknown, and halving the logarithm finds it in log log d rounds; after that it is arithmetic, in
at most log1.5(d / resolution) rounds.
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Final

from aggregate._crossing import TOLERANCE
from aggregate.errors import InvalidOption

_MAGNITUDE: Final = 4
"""From this ratio of the ends of a bracket on, its middle is the geometric one."""
_MOST_UNDEFINED: Final = 8
"""Sizes inside a bracket whose probes diverged, at which the search gives up: the next would diverge as well."""


def next_sizes(
    sizes: Sequence[int],
    mean_ratios: Sequence[float | None],
    *,
    delta: float,
    width: int,
    resolution: int,
    proposal: int | None = None,
) -> tuple[int, ...]:
    """Return the sizes to measure next, so that the bracket of k* gets at most `resolution` neurons wide.

    Call it, measure, and call it again with all sizes and ratios, until it returns nothing. That takes at most
    2 log2(d / resolution) + log2(log2(d)) + 4 rounds of at most three sizes each, whatever the curve does; one or two
    where the curve is smooth on the scale of the bracket.

    Parameters
    ----------
    sizes
        Measured sizes of one cell, distinct, in any order.
    mean_ratios
        mean T(k) / T(whole) of each; None or NaN where it is undefined (a probe diverged): such a size is no end of a
        bracket, and is never proposed again.
    delta
        Level of the ratio, in [0, 1].
    width
        Neurons in the layer, d.
    resolution
        Width asked for, in neurons, >= 1: max(1, floor(to * d)) for a bracket of a share `to` of the layer.
    proposal
        Where the crossing should be, from elsewhere (ridge's exact curve). It is tried first, with
        `proposal - resolution`; outside the bracket it is ignored.

    Returns
    -------
    tuple[int, ...]
        New sizes, rising, all strictly inside the bracket, none of them measured. Empty where the bracket is narrow
        enough, no measured size reaches delta, every ratio is undefined, or eight sizes inside the bracket are.

    Raises
    ------
    InvalidOption
        If an argument is out of its range, a size appears twice, or the lists differ in length.
    """
    _check(sizes, mean_ratios, delta=delta, width=width, resolution=resolution)
    measured = {int(k) for k in sizes}
    curve = {
        int(k): float(ratio)
        for k, ratio in sorted(zip(sizes, mean_ratios, strict=True))
        if ratio is not None and math.isfinite(ratio)
    }
    star = next((k for k, ratio in curve.items() if ratio >= delta - TOLERANCE), None)
    if star is None:
        return ()
    below = max((k for k in curve if k < star), default=0)
    if star - below <= resolution or sum(below < k < star for k in measured) >= _MOST_UNDEFINED:
        return ()
    if proposal is not None:
        wanted = _inside({proposal, proposal - resolution}, below, star, measured)
        if wanted:
            return wanted
    low = max(below, resolution)
    unknown_magnitude = star > _MAGNITUDE * low
    middle = round(math.sqrt(low * star)) if unknown_magnitude else (below + star) // 2
    pair = _pair(_guess(curve, below, star, delta), below, star, resolution) if below else set()
    chosen = _inside(pair, below, star, measured)
    # At most two thirds of the bracket may be left after a round, on the scale on which it is halved.
    if unknown_magnitude or not any((star - below) <= 3 * (k - below) <= 2 * (star - below) for k in chosen):
        free = _nearest_free(middle, below, star, measured)
        chosen = _inside({*chosen, *free}, below, star, measured)
    return chosen


def _guess(curve: dict[int, float], below: int, star: int, delta: float) -> float:
    """Return where the line through both ends reaches delta, over log k: curves bend less there than over k."""
    share = (delta - curve[below]) / (curve[star] - curve[below])
    return float(below * (star / below) ** min(max(share, 0.0), 1.0))


def _pair(guess: float, below: int, star: int, resolution: int) -> set[int]:
    """Return two sizes `resolution` apart around the guess; one, where an end of the bracket serves as the other."""
    low = max(round(guess) - resolution // 2, below)
    return {low, low + resolution} if low + resolution < star else {star - resolution}


def _inside(sizes: set[int], below: int, star: int, measured: set[int]) -> tuple[int, ...]:
    return tuple(sorted(k for k in sizes if below < k < star and k not in measured))


def _nearest_free(middle: int, below: int, star: int, measured: set[int]) -> tuple[int, ...]:
    """Return the unmeasured size of the bracket nearest to its middle; nothing where there is none.

    Measured sizes inside a bracket are undefined ones: there are few.
    """
    near = (k for step in range(star - below) for k in (middle + step, middle - step))
    return tuple(islice((k for k in near if below < k < star and k not in measured), 1))


def _check(
    sizes: Sequence[int], mean_ratios: Sequence[float | None], *, delta: float, width: int, resolution: int
) -> None:
    if len(sizes) != len(mean_ratios):
        raise InvalidOption(f"every size must have one ratio, got {len(sizes)} sizes and {len(mean_ratios)} ratios")
    if len(set(sizes)) != len(sizes):
        raise InvalidOption(f"sizes must be distinct, got {sorted(sizes)}: give the mean over seeds of each, once")
    if any(not 1 <= k <= width for k in sizes):
        raise InvalidOption(f"sizes must lie in 1 .. width = {width}, got {min(sizes)} .. {max(sizes)}")
    if not 0 <= delta <= 1:
        raise InvalidOption(f"delta must lie in [0, 1], got {delta}: give a level of T(part) / T(whole), such as 0.9")
    if resolution < 1:
        raise InvalidOption(f"resolution must be at least one neuron, got {resolution}: give max(1, floor(to * width))")
