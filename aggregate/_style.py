"""Colours, markers and dashes that stay apart: for colour-blind eyes, in grey print, and beyond eight lines. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

# Okabe and Ito, https://jfly.uni-koeln.de/color/ ; its yellow is left out: too pale for a line on white.
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
Dash: TypeAlias = Literal["-", "--", "-."]
DASHES: Final[tuple[Dash, ...]] = ("-", "--", "-.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStyle:
    """How one line is drawn."""

    color: str
    """Hexadecimal RGB."""
    marker: str
    """Matplotlib marker; repeats with another period than the colours, so that pairs differ for 63 lines."""
    dash: Dash
    """Matplotlib line style; changes when the colours have been used up. Dotted is kept for the whole layer."""


def line_style(index: int) -> LineStyle:
    """Return the style of the line with this index, >= 0."""
    return LineStyle(
        color=PALETTE[index % len(PALETTE)],
        marker=MARKERS[index % len(MARKERS)],
        dash=DASHES[index // len(PALETTE) % len(DASHES)],
    )


_METHODS: Final[dict[str, LineStyle]] = {
    "random": LineStyle(color="#0072B2", marker="o", dash="-"),
    "random_independent": LineStyle(color="#56B4E9", marker="P", dash="--"),
    "first": LineStyle(color="#009E73", marker="^", dash="-"),
    "ranked": LineStyle(color="#E69F00", marker="D", dash="-"),
    "pca": LineStyle(color="#D55E00", marker="s", dash="-"),
    "pca_least": LineStyle(color="#CC79A7", marker="v", dash="--"),
    "random_projection": LineStyle(color="#000000", marker="X", dash="-."),
    "random_projection_uniform": LineStyle(color="#888888", marker="<", dash="--"),
}


def method_style(methods: Sequence[str]) -> dict[str, LineStyle]:
    """Return how each method is drawn, in the order given: always the same, and variants of one by their dashes."""
    seen: dict[str, int] = {}
    styles = {}
    for label in methods:
        name = label.partition(":")[0]
        base = _METHODS.get(name) or line_style(len(_METHODS) + len(seen))
        variant = seen[name] = seen.get(name, -1) + 1
        dash = DASHES[(DASHES.index(base.dash) + variant) % len(DASHES)]
        marker = MARKERS[(MARKERS.index(base.marker) + variant // len(DASHES)) % len(MARKERS)]
        styles[label] = LineStyle(color=base.color, marker=marker, dash=dash)
    return styles
