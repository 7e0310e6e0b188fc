"""Accuracy of every class at every subset size as heat-maps, as in Figures 11 to 13 of the paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from aggregate._cell_names import name_cells, names_of, of_first_method
from aggregate._class_rows import SIZE_KEYS, read_class_rows, stack_seeds
from aggregate._runs import Floats, Integers
from aggregate._sheet import freeze_layout, set_title, wrap_caption
from aggregate.errors import InvalidOption, InvalidTable
from aggregate.measured import CellKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ClassOrder: TypeAlias = Literal["index", "name", "accuracy"]
CLASS_ORDERS: Final = ("index", "name", "accuracy")
# Perceptually uniform, and made for colour-blind eyes: https://doi.org/10.1371/journal.pone.0199239
COLORS: Final = "cividis"
MOST_SIZES: Final = 24

_ANNOTATED_CLASSES = 40
_APART: Final = 1.05
_COLUMN_INCHES: Final = 0.27
_PLAIN_COLUMN_INCHES: Final = 0.17
_PAGE_INCHES: Final = 11.0
_NAME_CHARACTERS: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMap:
    """Accuracy of the classes of one cell at every subset size."""

    title: str
    """Model, layer, width and dataset, and what else tells cells apart."""
    key: CellKey
    """What was measured."""
    classes: tuple[str, ...]
    """Names, or indices as text, in the order of the rows."""
    fraction: Floats
    """k / d, rising, shape (size,)."""
    n_neurons: Integers
    """k, shape (size,)."""
    n_seeds: Integers
    """Seeds behind the mean, shape (size,)."""
    accuracy: Floats
    """Mean over seeds, shape (class, size); NaN where a class has no test sample."""
    n_left_out: int = 0
    """Measured sizes that are not shown, for they are close to one that is."""


def class_maps(
    probes: pa.Table,
    *,
    order: ClassOrder = "index",
    class_names: Mapping[str, Sequence[str]] | None = None,
    most_sizes: int = MOST_SIZES,
) -> list[ClassMap]:
    """Compute the mean over seeds of each class's accuracy at each size, for every cell that has class accuracies.

    Parameters
    ----------
    probes
        View `probes` with `class_accuracy`, in any row order.
    order
        Rows by `index` of the class (its label), `name`, or `accuracy` of the largest measured size, best first.
    class_names
        Names in order of labels, by dataset; a dataset without has its labels as names.
    most_sizes
        Sizes within 5 % of a smaller one are left out (refined grids have many), the largest excepted; of a cell that
        still has more sizes (`k: every`) so many are kept: smallest, largest, and evenly in log k between them.

    Raises
    ------
    InvalidOption
        If the order is unknown, or there are not as many names as classes.
    InvalidTable
        If a column is missing, or seeds or sizes of a cell differ in their number of classes.
    """
    if order not in CLASS_ORDERS:
        raise InvalidOption(f"order must be among {', '.join(CLASS_ORDERS)}, got {order!r}")
    cells: dict[CellKey, list[tuple[int, int, Floats]]] = {}
    for row, seeds in read_class_rows(probes, what="class heat-maps").items():
        named = dict(zip(SIZE_KEYS, row, strict=True))
        size = named.pop("n_neurons")
        cells.setdefault(CellKey(**named), []).append((size, len(seeds), _seed_mean(stack_seeds(row, seeds))))
    names = name_cells([key._asdict() for key in cells], panel_by="model")
    return [
        _class_map(key, columns, f"{panel}\n{label}", order, class_names or {}, most_sizes)
        for (key, columns), (panel, label) in zip(cells.items(), names, strict=True)
    ]


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


def _class_map(
    key: CellKey,
    columns: list[tuple[int, int, Floats]],
    title: str,
    order: ClassOrder,
    class_names: Mapping[str, Sequence[str]],
    most_sizes: int,
) -> ClassMap:
    counts = sorted({values.size for _, _, values in columns})
    if len(counts) > 1:
        raise InvalidTable(
            f"the sizes of one cell must have the same classes, got {counts} of model {key.model!r}, dataset "
            f"{key.dataset!r}: results of different label sets"
        )
    names = tuple(class_names.get(str(key.dataset), ())) or tuple(str(i) for i in range(counts[0]))
    if len(names) != counts[0]:
        raise InvalidOption(
            f"class_names of dataset {key.dataset!r} must hold {counts[0]} names, got {len(names)}: one per class, in "
            "order of labels"
        )
    n_sizes = len(columns)
    columns = [columns[i] for i in _kept([size for size, _, _ in columns], most_sizes)]
    accuracy = np.stack([values for _, _, values in columns], axis=1)
    rows = _row_order(accuracy, names, order)
    n_neurons = np.array([size for size, _, _ in columns], dtype=np.int64)
    return ClassMap(
        title=title,
        key=key,
        classes=tuple(names[i] for i in rows),
        fraction=n_neurons / key.width,
        n_neurons=n_neurons,
        n_seeds=np.array([n for _, n, _ in columns], dtype=np.int64),
        accuracy=accuracy[rows],
        n_left_out=n_sizes - len(columns),
    )


def _row_order(accuracy: Floats, names: tuple[str, ...], order: ClassOrder) -> list[int]:
    rows = list(range(len(names)))
    if order == "name":
        return sorted(rows, key=lambda i: (names[i], i))
    if order == "accuracy":
        largest = np.nan_to_num(accuracy[:, -1], nan=-1.0)
        return sorted(rows, key=lambda i: (-largest[i], i))
    return rows


def _kept(sizes: list[int], most: int) -> list[int]:
    """Return the indices of the sizes that are shown, of rising ones."""
    kept: list[int] = []
    for i, size in enumerate(sizes):
        if not kept or size >= _APART * sizes[kept[-1]]:
            kept.append(i)
    last = len(sizes) - 1
    if kept[-1] != last:
        kept = [*kept[: max(1, len(kept) - 1)], last]
    if len(kept) <= most:
        return kept
    logs = np.log([sizes[i] for i in kept])
    return [kept[i] for i in sorted({int(np.argmin(np.abs(logs - x))) for x in np.linspace(logs[0], logs[-1], most)})]


def _seed_mean(values: Floats) -> Floats:
    """Return the mean over the seeds that have the class, shape (class,); NaN where none has."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(counts.size, np.nan), where=counts > 0)


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
