"""What a difference and its interval say, in words; and Holm's adjustment for several at once. Pure (no I/O)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one difference A - B; None where it is not known."""

    low: float | None
    """Lower limit of the interval."""
    high: float | None
    """Upper limit of the interval."""
    seeds_low: float | None = None
    """Lower limit by the seeds alone, without what the grids leave open."""
    seeds_high: float | None = None
    """Upper limit by the seeds alone."""
    grid_low: float | None = None
    """Least difference that the grids leave open; None where that is no question."""
    grid_high: float | None = None
    """Largest difference that the grids leave open."""
    censored: str = ""
    """Sides that never reach delta on their grids: "", "a", "b" or "ab"."""
    whole_missing: str = ""
    """Sides without an accuracy of the whole layer."""
    never: str = ""
    """Sides of which even all dimensions stay below delta."""
    few_seeds: str = ""
    """Sides with less than two seeds."""


def verdict(evidence: Evidence, *, what: str, significant: bool | None = None) -> str:
    """Say which side is more so, that no difference is seen, or why that can't be decided.

    Parameters
    ----------
    what
        Adjective: "redundant" makes "A is more redundant".
    significant
        Decide by this (an adjusted p-value) instead of by the interval; None decides by the interval.
    """
    e = evidence
    if e.low is None or e.high is None:
        return _unknown(e)
    if (significant is None or significant) and (e.low > 0 or e.high < 0):
        return f"{'A' if e.low > 0 else 'B'} is more {what}"
    if e.low > 0 or e.high < 0:
        return "no difference is seen, all rows taken together"
    if e.censored:
        return f"undecided: {_sides(e.censored)} never {_does(e.censored, 'reaches', 'reach')} delta (censored)"
    if _grid_decides(e):
        return "undecided: the grid is too coarse"
    return "no difference is seen"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for being several (Holm 1979, https://www.jstor.org/stable/4615733); None stays None."""
    at = [i for i, p in enumerate(p_values) if p is not None]
    values = np.array([p for p in p_values if p is not None], dtype=np.float64)
    order = np.argsort(values, kind="stable")
    grown = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    adjusted: list[float | None] = [None] * len(p_values)
    for rank, i in enumerate(order):
        adjusted[at[i]] = float(min(grown[rank], 1.0))
    return adjusted


def _unknown(e: Evidence) -> str:
    if e.whole_missing:
        return f"unknown: the whole layer of {_sides(e.whole_missing)} was not measured"
    if e.never:
        return f"unknown: all dimensions of {_sides(e.never)} together stay below delta"
    if e.few_seeds:
        return f"unknown: {_sides(e.few_seeds)} {_does(e.few_seeds, 'has', 'have')} one seed"
    return "unknown: there is no interval"


def _grid_decides(e: Evidence) -> bool:
    """Whether the grids, and not the seeds, keep 0 in the interval."""
    if e.seeds_low is None or e.seeds_high is None or e.grid_low is None or e.grid_high is None:
        return False
    if not e.grid_low <= 0 <= e.grid_high:
        return False
    return not e.seeds_low <= 0 <= e.seeds_high or e.grid_high - e.grid_low > e.seeds_high - e.seeds_low


def _sides(sides: str) -> str:
    return " and ".join(sides.upper())


def _does(sides: str, one: str, several: str) -> str:
    return one if len(sides) == 1 else several
