"""A small chart in the cell of a table: DR or a difference, with its interval and what the grid leaves open. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drfarm.notebook._markup import BLUE, Markup, text

_WIDTH, _HEIGHT, _PAD = 190, 18, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What one chart shows, in the units of its axis; None where it is not known."""

    low: float
    """Left end of the axis."""
    high: float
    """Right end of the axis."""
    point: float | None
    """The estimate: a dot."""
    interval: tuple[float, float] | None
    """Confidence interval: a line."""
    grid: tuple[float, float] | None
    """What the grid leaves open: a pale bar."""
    zero: float | None = None
    """Where a dotted line stands."""
    words: str
    """The same in words: title, and what a screen reader reads."""


def chart(marks: Marks) -> Markup:
    """Draw it."""
    middle = _HEIGHT / 2
    scale = (_WIDTH - 2 * _PAD) / (marks.high - marks.low)

    def x(value: float) -> float:
        return _PAD + (min(max(value, marks.low), marks.high) - marks.low) * scale

    drawn = [
        f'<line x1="{_PAD}" x2="{_WIDTH - _PAD}" y1="{middle}" y2="{middle}" stroke="currentColor" opacity=".25"/>'
    ]
    drawn += [
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{middle - 3}" y2="{middle + 3}" stroke="currentColor" opacity=".25"/>'
        for at in (x(marks.low), x((marks.low + marks.high) / 2), x(marks.high))
    ]
    if marks.zero is not None:
        at = x(marks.zero)
        drawn.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{_HEIGHT}" stroke="currentColor" stroke-dasharray="2 2" '
            'opacity=".7"/>'
        )
    if marks.grid is not None:
        left, right = x(marks.grid[0]), x(marks.grid[1])
        drawn.append(
            f'<rect x="{left:.1f}" y="{middle - 5}" width="{max(right - left, 1):.1f}" height="10" rx="2" '
            f'fill="{BLUE}" opacity=".25"/>'
        )
    if marks.interval is not None:
        left, right = x(marks.interval[0]), x(marks.interval[1])
        drawn.append(
            f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" stroke="{BLUE}" stroke-width="2"/>'
        )
        drawn += [
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{middle - 4}" y2="{middle + 4}" stroke="{BLUE}" stroke-width="2"/>'
            for at in (left, right)
        ]
    if marks.point is not None:
        drawn.append(f'<circle cx="{x(marks.point):.1f}" cy="{middle}" r="4" fill="{BLUE}"/>')
    words = text(marks.words)
    return Markup(
        f'<svg role="img" aria-label="{words}" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'style="vertical-align:middle"><title>{words}</title>{"".join(drawn)}</svg>'
    )


def dr_chart(row: Mapping[str, Any]) -> Markup:
    """Draw a row of the view `redundancy` on an axis from 0 to 1."""
    bracket = None if row["bracket_low"] is None else (row["bracket_low"], row["bracket_high"])
    interval = None if row["ci_low"] is None else (row["ci_low"], row["ci_high"])
    parts = ["DR unknown" if row["dr"] is None else f"DR {row['dr']:.3f}"]
    if interval is not None:
        parts.append(f"interval {interval[0]:.3f} to {interval[1]:.3f}")
    if bracket is not None:
        parts.append(f"grid {bracket[0]:.3f} to {bracket[1]:.3f}")
    return chart(Marks(low=0, high=1, point=row["dr"], interval=interval, grid=bracket, words=", ".join(parts)))


def difference_chart(row: Mapping[str, Any], reach: float) -> Markup:
    """Draw a difference with its interval on an axis from -reach to reach."""
    interval = None if row["ci_low"] is None else (row["ci_low"], row["ci_high"])
    parts = ["no difference known" if row["difference"] is None else f"A - B {row['difference']:+.3f}"]
    if interval is not None:
        parts.append(f"interval {interval[0]:+.3f} to {interval[1]:+.3f}")
    return chart(
        Marks(
            low=-reach,
            high=reach,
            point=row["difference"],
            interval=interval,
            grid=None,
            zero=0.0,
            words=", ".join(parts),
        )
    )
