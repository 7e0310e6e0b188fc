"""Colours, markers and dashes that stay apart: for colour-blind eyes, in grey print, and beyond eight lines. Pure."""

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
