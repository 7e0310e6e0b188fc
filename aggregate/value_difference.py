"""Accuracy or CKA of one cell less that of another, at equal size or equal fraction, with t intervals."""

from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from aggregate._curves import Curves
from aggregate._redundancy import checked_options
from aggregate._runs import Floats, Integers
from aggregate._sides import Side, match_sides
from aggregate._verdict import Evidence, holm, verdict
from aggregate.difference import SIDE_FIELDS, side_names
from aggregate.errors import InvalidOption

At: TypeAlias = Literal["k", "fraction"]
_AT: Final = ("k", "fraction")

VALUE_DIFFERENCE_SCHEMA: Final = pa.schema(
    [
        ("measure", pa.string()),
        *SIDE_FIELDS,
        ("n_neurons_a", pa.int64()),
        ("n_neurons_b", pa.int64()),
        ("fraction_a", pa.float64()),
        ("fraction_b", pa.float64()),
        ("mean_a", pa.float64()),
        ("mean_b", pa.float64()),
        ("difference", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("pairing", pa.string()),
        ("n_seeds_a", pa.int64()),
        ("n_seeds_b", pa.int64()),
        ("p_value", pa.float64()),
        ("p_holm", pa.float64()),
        ("verdict", pa.string()),
    ]
)


def value_differences(
    a: Side, b: Side, *, at: At, confidence: float = 0.95, adjust: bool = False
) -> tuple[pa.Table, tuple[str, ...]]:
    """Compare accuracy or CKA of side A with that of side B at every size that both have.

    The cells are those of `differences`. Where both sizes have the same seeds, the interval is that of the paired t
    test (n - 1 degrees of freedom), else that of Welch's (Satterthwaite's degrees of freedom); null below two seeds on
    either side. For `cka_pair` jackknife pseudo-values of the seeds take the place of their values.

    Parameters
    ----------
    at
        `k`: equal numbers of neurons. `fraction`: equal k / d, to within one neuron of the narrower layer; of several
        such sizes the nearest.
    confidence
        Two-sided level of the intervals, in (0, 1); each is one at a time.
    adjust
        Let verdicts stand for all rows at once, by Holm's method.

    Returns
    -------
    tuple
        `VALUE_DIFFERENCE_SCHEMA`, one row per pair of cells and size, and notes on what was left out.

    Raises
    ------
    InvalidOption, UnknownName
        As `differences`; also where the sides have no size in common.
    """
    if at not in _AT:
        raise InvalidOption(f"at must be among {', '.join(_AT)}, got {at!r}")
    checked_options((), (), confidence)
    matched, notes = match_sides(a, b)
    rows: list[dict[str, Any]] = []
    for part in matched:
        curves, bounds, n = part.curves.both, part.curves.bounds, part.curves.n_pairs
        for pair in range(n):
            sizes_a, sizes_b = _equal(
                curves,
                np.arange(bounds[pair], bounds[pair + 1]),
                np.arange(bounds[pair + n], bounds[pair + n + 1]),
                at=at,
            )
            names = {"measure": part.measure, **side_names(part, pair)}
            rows += [{**names, **row, "verdict": ""} for row in _rows(curves, sizes_a, sizes_b, confidence=confidence)]
    if not rows:
        how = "k" if at == "k" else "fraction k / d"
        raise InvalidOption(
            f"{a.label} and {b.label} must have sizes in common, got none of equal {how}: "
            + ("compare at equal fraction" if at == "k" else "measure both on one grid of fractions")
        )
    for row, p_holm in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = p_holm
        few = "".join(side for side in "ab" if row[f"n_seeds_{side}"] < 2)
        row["verdict"] = verdict(
            Evidence(low=row["ci_low"], high=row["ci_high"], few_seeds=few),
            what="accurate" if row["measure"] == "accuracy" else "similar",
            significant=p_holm is not None and p_holm <= 1 - confidence if adjust else None,
        )
    rows.sort(key=lambda row: row["dataset_a"] or "")
    return pa.Table.from_pylist(rows, schema=VALUE_DIFFERENCE_SCHEMA), tuple(notes)


def _equal(curves: Curves, a: Integers, b: Integers, *, at: At) -> tuple[Integers, Integers]:
    """Return the sizes of both cells that are equal, as indices into the curves, shape (s,) each."""
    if not a.size or not b.size:
        return a[:0], b[:0]
    if at == "k":
        _, in_a, in_b = np.intersect1d(curves.size[a], curves.size[b], return_indices=True)
        return a[in_a], b[in_b]
    width_a, width_b = curves.width[curves.cell[a[0]]], curves.width[curves.cell[b[0]]]
    fraction_a, fraction_b = curves.size[a] / width_a, curves.size[b] / width_b
    right = np.clip(np.searchsorted(fraction_b, fraction_a), 0, b.size - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(fraction_b[left] - fraction_a) <= np.abs(fraction_b[right] - fraction_a), left, right)
    distance = np.abs(fraction_b[nearest] - fraction_a)
    # One size stands for one: the nearest of those that share a partner, and the whole layer only for the whole.
    whole_a, whole_b = curves.size[a] == width_a, curves.size[b[nearest]] == width_b
    fits = (distance < 1 / min(width_a, width_b)) & (whole_a == whole_b)
    order = np.lexsort((distance, nearest))
    order = order[fits[order]]
    _, first = np.unique(nearest[order], return_index=True)
    chosen = np.sort(order[first])
    return a[chosen], b[nearest[chosen]]


def _rows(curves: Curves, a: Integers, b: Integers, *, confidence: float) -> list[dict[str, Any]]:
    """Return what is known of each pair of sizes."""
    n_a, n_b = curves.n_seeds[a], curves.n_seeds[b]
    variance_a, variance_b = _variance(curves)[a], _variance(curves)[b]
    paired, variance_of_pairs = _paired(curves, a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        share_a, share_b = variance_a / n_a, variance_b / n_b
        welch = (share_a + share_b) ** 2 / (share_a**2 / (n_a - 1) + share_b**2 / (n_b - 1))
        error = np.sqrt(np.where(paired, variance_of_pairs / n_a, share_a + share_b))
    welch = np.where(np.isfinite(welch), welch, n_a + n_b - 2.0)
    degrees = np.where(paired, n_a - 1.0, welch)
    difference = curves.mean[a] - curves.mean[b]
    half, p_value = _t(difference, error, degrees, confidence)
    rows = []
    for i, (size_a, size_b) in enumerate(zip(a, b, strict=True)):
        known = bool(np.isfinite(half[i]))
        k_a, k_b = int(curves.size[size_a]), int(curves.size[size_b])
        rows.append(
            {
                "n_neurons_a": k_a,
                "n_neurons_b": k_b,
                "fraction_a": k_a / int(curves.width[curves.cell[size_a]]),
                "fraction_b": k_b / int(curves.width[curves.cell[size_b]]),
                "mean_a": float(curves.mean[size_a]),
                "mean_b": float(curves.mean[size_b]),
                "difference": float(difference[i]),
                "ci_low": float(difference[i] - half[i]) if known else None,
                "ci_high": float(difference[i] + half[i]) if known else None,
                "pairing": "none" if not known else "paired" if paired[i] else "unpaired",
                "n_seeds_a": int(n_a[i]),
                "n_seeds_b": int(n_b[i]),
                "p_value": float(p_value[i]) if np.isfinite(p_value[i]) else None,
            }
        )
    return rows


def _variance(curves: Curves) -> Floats:
    """Return the variance over seeds at each size, ddof 1, shape (m,); NaN below two seeds."""
    return curves.standard_error(curves.seed_value) ** 2 * curves.n_seeds


def _paired(curves: Curves, a: Integers, b: Integers) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], Floats]:
    """Return whether both sizes have the same seeds, two at least, and the variance of the differences of these."""
    paired, variance = np.zeros(a.size, dtype=np.bool_), np.full(a.size, np.nan)
    same_count = (curves.n_seeds[a] == curves.n_seeds[b]) & (curves.n_seeds[a] >= 2)
    for n in np.unique(curves.n_seeds[a[same_count]]):
        at = np.flatnonzero(same_count & (curves.n_seeds[a] == n))
        rows_a, rows_b = (curves.starts[side[at]][:, None] + np.arange(n) for side in (a, b))
        paired[at] = (curves.seed[rows_a] == curves.seed[rows_b]).all(axis=1)
        variance[at] = (curves.seed_value[rows_a] - curves.seed_value[rows_b]).var(axis=1, ddof=1)
    return paired, np.where(paired, variance, np.nan)


def _t(difference: Floats, error: Floats, degrees: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return half the length of the t interval and the two-sided p-value; NaN where there is no error, or it is 0."""
    from scipy.special import stdtr, stdtrit

    half: Floats = stdtrit(degrees, (1 + confidence) / 2) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value: Floats = 2 * stdtr(degrees, -np.abs(difference) / error)
    # No spread at all and no difference: nothing speaks against equality.
    p_value = np.where(error > 0, p_value, np.where(error == 0, np.where(difference == 0, 1.0, 0.0), np.nan))
    return half, p_value
