"""Accuracy of every class at every subset size as heat-maps, as in Figures 11 to 13 of the paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from aggregate._cell_names import names_of, of_first_method
from aggregate._sheet import freeze_layout, set_title, wrap_caption
from aggregate.class_maps import ClassMap, ClassOrder, class_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Perceptually uniform, and made for colour-blind eyes: https://doi.org/10.1371/journal.pone.0199239
COLORS: Final = "cividis"

_ANNOTATED_CLASSES = 40
_COLUMN_INCHES: Final = 0.27
_PLAIN_COLUMN_INCHES: Final = 0.17
_PAGE_INCHES: Final = 11.0
_NAME_CHARACTERS: Final = 18


def heatmap_axes(ax: "Axes", class_map: ClassMap, *, annotate: bool | None = None) -> Any:
    """Draw a heat-map into given axes, colours from 0 to 1, small subsets on the left; return what a colour bar needs.

    Parameters
    ----------
    annotate
        Write each value into its cell; by default where there are at most 40 classes.
    """
    from matplotlib import colormaps

    n_classes, n_sizes = class_map.accuracy.shape
    few = n_classes <= _ANNOTATED_CLASSES
    written = few if annotate is None else annotate
    colors = colormaps[COLORS].with_extremes(bad="white")
    # Quadrilaterals, not an image: viewers of PDF smooth images.
    mesh = ax.pcolormesh(
        np.arange(n_sizes + 1) - 0.5,
        np.arange(n_classes + 1) - 0.5,
        np.ma.masked_invalid(class_map.accuracy),
        cmap=colors,
        vmin=0.0,
        vmax=1.0,
        edgecolors="white" if few else "face",
        linewidth=0.4 if few else 0.1,
    )
    ax.set_xlim(-0.5, n_sizes - 0.5)
    ax.set_ylim(n_classes - 0.5, -0.5)
    ax.set_xticks(range(n_sizes), [f"{x:.2g}" for x in class_map.fraction], rotation=90 if n_sizes > 8 else 0)
    ticks = range(0, n_classes, _tick_step(n_classes))
    ax.set_yticks(ticks, [_short(class_map.classes[i]) for i in ticks])
    ax.tick_params(labelsize=7, length=0 if few else 2)
    for side in ax.spines.values():
        side.set_visible(False)
    if written:
        for i, j in np.argwhere(np.isfinite(class_map.accuracy)):
            value = class_map.accuracy[i, j]
            dark = value < 0.55
            ax.text(j, i, _decimals(value), ha="center", va="center", fontsize=5.5, color="white" if dark else "black")
    return mesh


def class_heatmap_figure(
    probes: pa.Table,
    *,
    order: ClassOrder = "index",
    class_names: Mapping[str, Sequence[str]] | None = None,
) -> "Figure":
    """Draw a heat-map of every model, layer and dataset, with one colour bar.

    Where there are several methods the first of `random`, `first`, `ranked`, `random_independent`, PCA and projections
    is drawn, and the caption says which. Parameters and errors as in `class_maps`.
    """
    kept, method = of_first_method(class_maps(probes, order=order, class_names=class_names))
    names = names_of(kept, panel_by="model")
    maps = [replace(one, title=f"{panel}\n{label}") for one, (panel, label) in zip(kept, names, strict=True)]
    return draw_heatmaps(maps, caption=heatmap_caption(maps, order=order) + method)


def draw_heatmaps(maps: Sequence[ClassMap], *, caption: str, columns: int | None = None) -> "Figure":
    """Draw heat-maps side by side with one colour bar and a caption.

    Parameters
    ----------
    columns
        Heat-maps in a row. By default as many as fit the width of a page, and those with more classes in rows of their
        own, below.
    """
    from matplotlib.figure import Figure

    panel_width = max((_width(one) for one in maps), default=4.0)
    rows = _rows(maps, columns, at_most=int(_PAGE_INCHES / panel_width))
    n_columns = max((len(row) for row in rows), default=1)
    heights = [max(_height(len(one.classes)) for one in row) for row in rows] or [3.0]
    width = max(5.2, n_columns * panel_width + 0.9)
    words = wrap_caption(caption, width)
    figure = Figure(
        figsize=(width, sum(heights) + 0.95 * len(heights) + 0.16 * (words.count("\n") + 2)), layout="constrained"
    )
    axes = figure.subplots(len(heights), n_columns, squeeze=False, height_ratios=heights)
    mesh = None
    for place, line in enumerate(axes):
        for column, ax in enumerate(line):
            if place >= len(rows) or column >= len(rows[place]):
                ax.set_axis_off()
                continue
            one = rows[place][column]
            mesh = heatmap_axes(ax, one)
            set_title(ax, one.title)
            if column == 0:
                ax.set_ylabel("class", fontsize=9)
            if place + 1 == len(rows) or column >= len(rows[place + 1]):
                ax.set_xlabel("fraction of neurons k/d", fontsize=9)
    if mesh is None:
        set_title(axes[0, 0], "no class accuracies")
    else:
        bar = figure.colorbar(mesh, ax=axes, shrink=min(1.0, 3.0 / sum(heights)), aspect=25, pad=0.01)
        bar.set_label("accuracy of the class", fontsize=9)
        bar.ax.tick_params(labelsize=7)
    figure.supxlabel(words, fontsize=8, ha="center")
    freeze_layout(figure)
    return figure


def _rows(maps: Sequence[ClassMap], columns: int | None, *, at_most: int) -> list[list[ClassMap]]:
    """Arrange heat-maps in rows; without `columns` maps of unequal height never share one, and rows are even."""
    groups: list[list[ClassMap]] = []
    for one in maps if columns else sorted(maps, key=lambda one: len(one.classes)):
        if not groups or (not columns and len(groups[-1][0].classes) != len(one.classes)):
            groups.append([])
        groups[-1].append(one)
    most = max((len(group) for group in groups), default=1)
    step = columns or math.ceil(most / math.ceil(most / max(1, at_most)))
    return [group[start : start + step] for group in groups for start in range(0, len(group), step)]


def heatmap_caption(maps: Sequence[ClassMap], *, order: ClassOrder) -> str:
    """Say what the colours are, how the rows are ordered, and over how many seeds."""
    seeds = sorted({int(n) for one in maps for n in one.n_seeds})
    counted = "" if not seeds else f" Seeds: {seeds[0]}" + (f" to {seeds[-1]}." if seeds[1:] else ".")
    by = {"index": "label", "name": "name", "accuracy": "accuracy at the largest size, best first"}[order]
    most = max((one.n_left_out for one in maps), default=0)
    close = f" Up to {most} sizes of a map are left out: they are close to those shown." if most else ""
    return f"Share of a class's test samples that are right, mean over seeds. Classes by {by}.{counted}{close}"


def _width(one: ClassMap) -> float:
    """Return the width of a heat-map with its labels in inches."""
    column = _COLUMN_INCHES if len(one.classes) <= _ANNOTATED_CLASSES else _PLAIN_COLUMN_INCHES
    names = 0.07 * min(max(len(name) for name in one.classes), _NAME_CHARACTERS)
    return max(2.6, column * one.fraction.size + names + 0.9)


def _height(n_classes: int) -> float:
    """Return the height of a heat-map in inches."""
    return max(1.4, 0.17 * n_classes) if n_classes <= _ANNOTATED_CLASSES else min(9.0, 0.05 * n_classes + 1.0)


def _tick_step(n_classes: int) -> int:
    """Return every how many classes a row is named: a label of 7 pt needs 0.11 inch."""
    needed = math.ceil(0.11 * n_classes / _height(n_classes))
    return next((step for step in (1, 2, 5, 10, 20, 50, 100) if step >= needed), needed)


def _decimals(value: float) -> str:
    text = f"{value:.2f}"
    return "1" if text == "1.00" else text.removeprefix("0")


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: _NAME_CHARACTERS - 1]}…"
