"""What has to be said below a DR table: rules, the grid's steps, intervals, censored cells, whose whole layer. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from aggregate._redundancy import Rule
from aggregate._whole import MIXTURES, method_name

Rows: TypeAlias = Sequence[Mapping[str, Any]]

RULE_MEANINGS: Final[Mapping[Rule, str]] = {
    "strict": "1 - k*/d with k* the smallest measured size whose mean ratio to the whole is at least δ (Eq. 1)",
    "nearest": "1 - k/d at the measured size whose mean ratio is nearest to δ, above or below it",
    "interpolated": "1 - k/d where the line between the measured sizes around the crossing reaches δ",
}
AMBIGUOUS: Final = (
    "Some names stand for several representations (other weights, transform or data): these have a row for each id, "
    "given by its first characters. They are never averaged."
)


def bracket_widths(rows: Rows) -> list[float]:
    """Return how much of DR the grid leaves open in each row that has a ratio."""
    return [row["bracket_high"] - row["bracket_low"] for row in rows if row["bracket_high"] is not None]


def digits_of(rows: Rows) -> int:
    """Return the decimals that are worth printing: two, three where some grid is finer than 0.01."""
    return 3 if any(0 < width < 0.01 for width in bracket_widths(rows)) else 2


def quantisation_notes(rows: Rows) -> list[str]:
    """Say how coarse the grid makes DR."""
    widths = [width for width in bracket_widths(rows) if width > 0]
    if not widths:
        return []
    return [f"The measured grid quantises DR: steps of {min(widths):.2g} to {max(widths):.2g} in this table."]


def grid_notes(rows: Rows) -> list[str]:
    """Say what the bracket is, and how coarse the grid makes DR."""
    meaning = "[low, high): where DR of Eq. 1 lies on an infinitely fine grid."
    return [f"{meaning} {note}" for note in quantisation_notes(rows)]


def sign_notes(rows: Rows) -> list[str]:
    """Say what stands where there is no DR: `never`, `< bound`, a dash."""
    notes = []
    if any(row["censored"] and row["bracket_high"] == 0 for row in rows):
        notes.append("never: all d dimensions of the method together stay below δ times the whole layer.")
    if any(row["censored"] and row["bracket_high"] for row in rows):
        notes.append("< bound: no measured size reaches δ; DR lies below the bound.")
    if any(row["censored"] and row["bracket_high"] is None for row in rows):
        notes.append("—: the whole layer was not measured, or has accuracy 0; there is no ratio.")
    return notes


def constant_notes(rows: Rows, shown: Collection[str]) -> list[str]:
    """Name the method, solver and protocol that all rows share, unless they are shown already."""
    notes = []
    for name in ("method", "solver", "protocol"):
        about_it = rows if name == "method" else [row for row in rows if row["measure"] == "accuracy"]
        values = sorted({row[name] for row in about_it if row[name] is not None})
        if len(values) == 1 and name not in shown:
            notes.append(f"{name.capitalize()}: {values[0]}.")
    return notes


def estimator_notes(rows: Rows) -> list[str]:
    """Say which estimator of CKA has no word after it, where there are several."""
    if any(row["measure"] != "accuracy" and row["protocol"] is not None for row in rows):
        return ["CKA without a word after it is the biased estimator of the paper; others are named."]
    return []


def whole_notes(rows: Rows) -> list[str]:
    """Say whose k = d stands for the whole layer, where it is another method's, or no order's."""
    notes = []
    borrowed: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["whole_method"] is not None and row["whole_method"] != row["method"]:
            borrowed[row["whole_method"]].add(row["method"])
    for source, methods in sorted(borrowed.items()):
        notes.append(
            f"The whole layer of {', '.join(sorted(methods))} is k = d of {source}: the layer is the same in any order."
        )
    own = {row["method"] for row in rows if row["whole_method"] == row["method"] is not None}
    mixed = sorted(method for method in own if method_name(method) in MIXTURES)
    if mixed:
        notes.append(
            f"The ratio of {', '.join(mixed)} is to its own k = d, a mixture of all neurons: no method that orders "
            "neurons was run at k = d."
        )
    return notes


def undefined_notes(rows: Rows) -> list[str]:
    """Say how many sizes are left out of a curve, where some are."""
    most = max((row["n_undefined"] for row in rows), default=0)
    if not most:
        return []
    why = "a probe diverged, or CKA of constant neurons"
    return [f"Left out: sizes at which some value is undefined ({why}), up to {most} in one curve."]
