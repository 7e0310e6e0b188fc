"""Draw curves in panels with one legend below them: what all figures of the package share.

Matplotlib's object interface only: no pyplot, no global state, nothing to close. It is imported when a figure is made.
"""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from aggregate._series import Series
from aggregate._style import LineStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES: Final = (3.9, 3.0)
_LEGEND_LINE_INCHES: Final = 0.21
_TITLE_CHARACTERS: Final = 46
_WHOLE_COLOR: Final = "#555555"
_MARKS: Final = 12


def draw_panels(series: list[Series], *, style: Mapping[str, LineStyle], y_label: str, caption: str) -> "Figure":
    """Draw every series in its panel, panels in the order in which they come.

    Parameters
    ----------
    style
        How the line of each label looks; the order of the legend.
    caption
        What the legend says above its entries; the number of seeds is added.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels = list(dict.fromkeys(line.panel for line in series))
    labels = list(style)
    n_columns = _panel_columns(len(panels))
    n_rows = max(1, math.ceil(len(panels) / n_columns))
    width = max(5.2, n_columns * _PANEL_INCHES[0])
    legend_columns = _legend_columns(labels, width)
    legend_lines = math.ceil((len(labels) + 1) / legend_columns) + 3
    figure = Figure(
        figsize=(width, n_rows * _PANEL_INCHES[1] + legend_lines * _LEGEND_LINE_INCHES), layout="constrained"
    )
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    bottom = min((float((line.mean - line.std).min()) for line in series), default=0.0)
    lowest = min((float(line.fraction[0]) for line in series), default=0.01)
    top = max((float((line.mean + line.std).max()) for line in series), default=1.0)
    for position, ax in enumerate(axes.flat):
        if position >= max(1, len(panels)):
            ax.set_axis_off()
            continue
        title = panels[position] if panels else "no results"
        _frame(ax, title=title, lowest=lowest, bottom=bottom, top=max(1.0, top) if y_label != "accuracy" else top)
        lines = sorted((line for line in series if line.panel == title), key=lambda line: labels.index(line.label))
        for line in lines:
            _plot(ax, line, style[line.label])
        _plot_whole(ax, lines, style)
        if position % n_columns == 0:
            ax.set_ylabel(y_label)
        if position + n_columns >= len(panels):
            ax.set_xlabel("fraction of neurons k/d (log scale)")
    handles = [
        Line2D([], [], color=s.color, marker=s.marker, linestyle=s.dash, linewidth=1.4, markersize=4.5, label=label)
        for label, s in style.items()
    ]
    handles.append(Line2D([], [], color=_WHOLE_COLOR, linestyle=":", linewidth=1.2, label="whole layer"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=legend_columns,
        fontsize=8,
        frameon=False,
        handlelength=3.0,
        title=_caption(caption, series, width),
        title_fontsize=8,
    )
    # Laid out once: saving the same figure twice gives the same bytes.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _panel_columns(n_panels: int) -> int:
    """Return the panels per row: up to three, or what fills the last row (2 x 2; the four datasets of the paper)."""
    if n_panels <= 3:
        return max(1, n_panels)
    if n_panels == 4:
        return 2
    return 4 if n_panels % 4 == 0 else 3


def _legend_columns(labels: list[str], width: float) -> int:
    """Return how many legend entries fit side by side: a character of 8 pt takes about 0.068 inch."""
    longest = max((len(label) for label in labels), default=12) * 0.068 + 0.55
    return max(1, min(len(labels) + 1, int(width / longest)))


def _caption(text: str, series: list[Series], width: float) -> str:
    seeds = sorted({int(n) for line in series for n in line.n_seeds})
    counted = "" if not seeds else f" Seeds per point: {seeds[0]}" + (f" to {seeds[-1]}." if seeds[1:] else ".")
    return "\n".join(textwrap.wrap(text + counted, width=int(width / 0.07)))


def _frame(ax: "Axes", *, title: str, lowest: float, bottom: float, top: float) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, _TITLE_CHARACTERS)]
    ax.set_title("\n".join(lines), fontsize=10 if len(lines) < 2 else 9)
    ax.set_xscale("log")
    ax.set_xlim(min(lowest, 0.5) / 1.25, 1.25)
    # The debiased estimator of CKA can be negative.
    ax.set_ylim(min(0.0, bottom * 1.05), max(top, 1e-3) * 1.05)
    if lowest > 0.04:
        # Less than two decades: their powers alone would be one or two ticks.
        ax.set_xticks([tick for tick in (0.05, 0.1, 0.2, 0.5, 1.0) if tick >= lowest or tick >= 0.5])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def _plot(ax: "Axes", line: Series, style: LineStyle) -> None:
    if (line.n_seeds > 1).any():
        ax.fill_between(
            line.fraction, line.mean - line.std, line.mean + line.std, color=style.color, alpha=0.15, linewidth=0
        )
    ax.plot(
        line.fraction,
        line.mean,
        color=style.color,
        linestyle=style.dash,
        linewidth=1.4,
        marker=style.marker,
        markersize=4,
        markevery=1 if line.fraction.size <= 2 * _MARKS else 0.1,
    )


def _plot_whole(ax: "Axes", lines: list[Series], style: Mapping[str, LineStyle]) -> None:
    known = [line for line in lines if math.isfinite(line.whole)]
    if known and known[0].shares_whole:
        ax.axhline(known[0].whole, color=_WHOLE_COLOR, linestyle=":", linewidth=1.2)
        return
    for line in known:
        ax.axhline(line.whole, color=style[line.label].color, linestyle=":", linewidth=1.2)
