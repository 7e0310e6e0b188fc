"""Figures after Fig. 1 of the paper: accuracy, or CKA, against the fraction of neurons kept.

Matplotlib's object interface only: no pyplot, no global state, nothing to close. It is imported when a figure is made.
"""

import math
import textwrap
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from aggregate._series import Series, read_series
from aggregate._style import LineStyle, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES: Final = (3.9, 3.0)
_LEGEND_LINE_INCHES: Final = 0.21
_MARKS: Final = 12


def accuracy_figure(probes: pa.Table) -> "Figure":
    """Draw accuracy against the fraction of neurons, one panel per dataset, one line per model and layer.

    x is k / d on a log scale (the paper's grid runs from 0.0005 to 1); y the mean over seeds, with a band of one
    standard deviation (ddof 0) on both sides; the dotted line is the whole layer. Where one name stands for several
    methods, protocols or ids, each has a line of its own and the label says which.

    Parameters
    ----------
    probes
        View `probes`.

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    return _draw(read_series(probes, measure="accuracy"), y_label="accuracy", spread="seeds")


def cka_figure(cka: pa.Table) -> "Figure":
    """Draw linear CKA against the fraction of neurons; part-whole and pairs in panels of their own per dataset.

    Axes, band and dotted line as in `accuracy_figure`; the whole layer has CKA 1. The band of pairs is over pairs.

    Parameters
    ----------
    cka
        View `cka`.

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    series = [
        *read_series(cka, measure="cka", panel_suffix=": part and whole"),
        *read_series(cka, measure="cka_pair", panel_suffix=": two parts"),
    ]
    return _draw(series, y_label="linear CKA", spread="seeds (pairs of seeds, for two parts)")


def _draw(series: list[Series], *, y_label: str, spread: str) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels = list(dict.fromkeys(line.panel for line in series))
    labels = sorted({line.label for line in series})
    style = {label: line_style(index) for index, label in enumerate(labels)}
    n_columns = _panel_columns(len(panels))
    n_rows = max(1, math.ceil(len(panels) / n_columns))
    width = max(5.2, n_columns * _PANEL_INCHES[0])
    legend_columns = _legend_columns(labels, width)
    legend_lines = math.ceil((len(labels) + 1) / legend_columns) + 3
    figure = Figure(
        figsize=(width, n_rows * _PANEL_INCHES[1] + legend_lines * _LEGEND_LINE_INCHES), layout="constrained"
    )
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    lowest = min((float(line.fraction[0]) for line in series), default=0.01)
    top = max((float((line.mean + line.std).max()) for line in series), default=1.0)
    for position, ax in enumerate(axes.flat):
        if position >= max(1, len(panels)):
            ax.set_axis_off()
            continue
        title = panels[position] if panels else "no results"
        _frame(ax, title=title, lowest=lowest, top=1.0 if y_label != "accuracy" else top)
        for line in series:
            if line.panel == title:
                _plot(ax, line, style[line.label])
        if position % n_columns == 0:
            ax.set_ylabel(y_label)
        if position + n_columns >= len(panels):
            ax.set_xlabel("fraction of neurons k/d (log scale)")
    handles = [
        Line2D([], [], color=s.color, marker=s.marker, linestyle=s.dash, linewidth=1.4, markersize=4.5, label=label)
        for label, s in style.items()
    ]
    handles.append(Line2D([], [], color="#555555", linestyle=":", linewidth=1.2, label="whole layer"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=legend_columns,
        fontsize=8,
        frameon=False,
        handlelength=3.0,
        title=_caption(spread, series, width),
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


def _caption(spread: str, series: list[Series], width: float) -> str:
    seeds = sorted({int(n) for line in series for n in line.n_seeds})
    counted = "" if not seeds else f" Seeds per point: {seeds[0]}" + (f" to {seeds[-1]}." if seeds[1:] else ".")
    text = f"Mean over {spread}; band: ± 1 standard deviation (ddof 0); dotted: whole layer.{counted}"
    return "\n".join(textwrap.wrap(text, width=int(width / 0.07)))


def _frame(ax: "Axes", *, title: str, lowest: float, top: float) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ax.set_title(title, fontsize=10)
    ax.set_xscale("log")
    ax.set_xlim(min(lowest, 0.5) / 1.25, 1.25)
    ax.set_ylim(0.0, max(top, 1e-3) * 1.05)
    if lowest > 0.04:
        # Less than two decades: their powers alone would be one or two ticks.
        ax.set_xticks([tick for tick in (0.05, 0.1, 0.2, 0.5, 1.0) if tick >= lowest or tick >= 0.5])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def _plot(ax: "Axes", line: Series, style: LineStyle) -> None:
    if math.isfinite(line.whole):
        ax.axhline(line.whole, color=style.color, linestyle=":", linewidth=1.2)
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
