"""Draw curves of accuracy or CKA into given axes: mean, band of one standard deviation, whole layer dotted."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from aggregate._sheet import set_grid
from aggregate._style import LineStyle
from aggregate.recipes._looks import GREY, has_whole
from aggregate.recipes.matching import FoundLine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS: Final = 24
_TICKS: Final = (0.001, 0.01, 0.1, 1.0)
_SHORT_TICKS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)


def curve_axes(
    ax: "Axes", lines: Sequence[FoundLine], *, style: Mapping[str, LineStyle], absolute: bool, log_x: bool
) -> None:
    """Draw curves against the fraction k / d, or against k.

    Parameters
    ----------
    style
        How each line looks, by `FoundLine.name`.
    absolute
        Draw against k, the number of neurons.
    log_x
        Whether x is logarithmic: the paper's grids run from 0.0005 to 1.
    """
    for line in lines:
        look, curve = style[line.name], line.curve
        x = curve.size.astype(np.float64) if absolute else curve.size / curve.key.width
        if curve.has_spread:
            low, high = curve.mean - curve.std, curve.mean + curve.std
            ax.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0)
        every = 1 if x.size <= _MARKS else 0.1
        ax.plot(
            x, curve.mean, color=look.color, linestyle=look.dash, linewidth=1.3, marker=look.marker, markersize=3.6,
            markevery=every, zorder=2.5,
        )  # fmt: skip
    _whole_layers(ax, lines, style)
    if log_x:
        _log_ticks(ax, lines, absolute=absolute)
    else:
        ax.set_xlim(left=0)
    set_grid(ax)


def value_range(lines: Sequence[FoundLine]) -> tuple[float, float]:
    """Return limits of y that hold every line with its band, from 0 where nothing is negative."""
    if not lines:
        return 0.0, 1.0
    bottom = min(float((line.curve.mean - line.curve.std).min()) for line in lines)
    top = max(float((line.curve.mean + line.curve.std).max()) for line in lines)
    wholes = [line.curve.whole for line in lines if has_whole(line)]
    top = max([top, *wholes, 1e-3])
    # The debiased estimator of CKA can be negative; a band that dips below 0 is only a band.
    means = min(float(line.curve.mean.min()) for line in lines)
    return (0.0 if means >= 0 else bottom * 1.05), top * 1.05


def _whole_layers(ax: "Axes", lines: Sequence[FoundLine], style: Mapping[str, LineStyle]) -> None:
    drawn: set[tuple[str, float]] = set()
    known = [line for line in lines if has_whole(line)]
    several = len({line.name for line in known}) > 1
    for line in known:
        color = style[line.name].color if several else GREY
        # Several methods of one layer have one whole layer.
        if (color, line.curve.whole) not in drawn:
            drawn.add((color, line.curve.whole))
            ax.axhline(line.curve.whole, color=color, linestyle=":", linewidth=1.0, alpha=0.9, zorder=2.1)


def _log_ticks(ax: "Axes", lines: Sequence[FoundLine], *, absolute: bool) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    sizes = [(line.curve.size[0], line.curve.size[-1], line.curve.key.width) for line in lines]
    ax.set_xscale("log")
    if absolute:
        low, high = min(s[0] for s in sizes), max(s[1] for s in sizes)
        ax.set_xlim(low / 1.25, high * 1.25)
    else:
        lowest = min(s[0] / s[2] for s in sizes)
        ax.set_xlim(min(lowest, 0.5) / 1.25, 1.25)
        ax.set_xticks([tick for tick in (_SHORT_TICKS if lowest > 0.04 else _TICKS) if tick >= min(lowest, 0.5) / 1.25])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
