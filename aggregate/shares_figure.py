"""How unequal the classes are against the overall accuracy, as in Figures 8 and 10 of the paper.

One marker per subset size: a probe of few neurons is both less accurate and less equal, and the question is whether two
networks of equal accuracy are equally fair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from aggregate._cell_names import PanelBy, name_cells, names_of, of_first_method
from aggregate._runs import CELL_TYPES, Floats, Integers
from aggregate._sheet import draw_sheet, set_grid
from aggregate._style import LineStyle, line_style
from aggregate.class_shares import class_shares
from aggregate.errors import InvalidOption
from aggregate.measured import CellKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Index: TypeAlias = Literal["gini", "cv"]
INDEX_NAMES: Final[Mapping[Index, str]] = {"gini": "Gini index of classes", "cv": "coefficient of variation of classes"}
Zoom: TypeAlias = tuple[float, float] | Literal["auto"] | None

# Ranges of accuracy that the authors' notebook (class_wise_error_profiles) enlarges.
PAPER_ZOOMS: Final[Mapping[str, tuple[float, float]]] = {
    "cifar10": (0.4, 0.8),
    "cifar100": (0.15, 0.35),
    "flowers102": (0.05, 0.2),
    "oxford-iiit-pets": (0.7, 0.85),
}

_FEWEST_IN_ZOOM = 4
_WIDEST_ZOOM = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareMarks:
    """One cell: how accurate and how unequal its probes are at every subset size."""

    panel: str
    """Title of the panel that the marks belong to."""
    label: str
    """Name of the marks in the legend."""
    key: CellKey
    """What was measured."""
    fraction: Floats
    """k / d, rising, shape (m,)."""
    accuracy: Floats
    """Overall accuracy, mean over seeds, shape (m,)."""
    inequality: Floats
    """Gini index or coefficient of variation of the seed-mean class accuracies, shape (m,)."""
    n_seeds: Integers
    """Seeds behind the mean, shape (m,)."""


def share_marks(shares: pa.Table, *, index: Index = "gini", panel_by: PanelBy = "dataset") -> list[ShareMarks]:
    """Read the marks of every cell, in order of names.

    Parameters
    ----------
    shares
        As `class_shares` returns it.
    index
        `gini` or `cv`.
    panel_by
        `dataset`: marks are of a model and layer. `model`: of a dataset.

    Raises
    ------
    InvalidOption
        If the index is unknown.
    """
    if index not in INDEX_NAMES:
        raise InvalidOption(f"index must be among {', '.join(INDEX_NAMES)}, got {index!r}")
    cells: dict[CellKey, list[dict[str, float]]] = {}
    for row in shares.select([*CELL_TYPES, "fraction", "accuracy", index, "n_seeds"]).to_pylist():
        cells.setdefault(CellKey(**{name: row[name] for name in CELL_TYPES}), []).append(row)
    names = name_cells([key._asdict() for key in cells], panel_by=panel_by)
    return [
        ShareMarks(
            panel=panel,
            label=label,
            key=key,
            fraction=np.array([row["fraction"] for row in rows]),
            accuracy=np.array([row["accuracy"] for row in rows]),
            inequality=np.array([row[index] for row in rows]),
            n_seeds=np.array([row["n_seeds"] for row in rows], dtype=np.int64),
        )
        for (key, rows), (panel, label) in zip(cells.items(), names, strict=True)
    ]


def shares_axes(
    ax: "Axes",
    marks: Sequence[ShareMarks],
    *,
    style: Mapping[str, LineStyle],
    zoom: Zoom = "auto",
    connect: bool = False,
) -> None:
    """Draw marks into given axes: x accuracy, y inequality; and enlarge a range of accuracy in an inset.

    Parameters
    ----------
    style
        How the marks of each label look.
    zoom
        Range of accuracy to enlarge; `auto`: where half of the marks crowd, if they do; None: no inset. A range with
        fewer than four marks is not enlarged.
    connect
        Join the marks of a cell by a faint line, in order of size.
    """
    _draw(ax, marks, style, connect=connect, size=4.2)
    accuracy, inequality = _all(marks)
    if accuracy.size:
        low, high = float(accuracy.min()), float(accuracy.max())
        room = 0.04 * (high - low) or 0.02
        ax.set_xlim(low - room, high + room)
        ax.set_ylim(0, float(inequality.max()) * 1.06 or 1.0)
    set_grid(ax)
    window = zoom_range(marks) if zoom == "auto" else zoom
    if window is None:
        return
    inside = (accuracy >= window[0]) & (accuracy <= window[1])
    if inside.sum() < _FEWEST_IN_ZOOM:
        return
    shown = inequality[inside]
    room = 0.08 * float(np.ptp(shown)) or 0.02
    # Accurate probes are equal ones: the corner of high accuracy and high inequality is empty.
    inset = ax.inset_axes((0.52, 0.5, 0.46, 0.47))
    _draw(inset, marks, style, connect=connect, size=3.6)
    inset.set_xlim(*window)
    inset.set_ylim(max(0.0, float(shown.min()) - room), float(shown.max()) + room)
    set_grid(inset)
    inset.tick_params(labelsize=6, pad=1.5, length=2)
    inset.locator_params(nbins=4)
    ax.indicate_inset_zoom(inset, edgecolor="#555555", linewidth=0.8)


def zoom_range(marks: Sequence[ShareMarks]) -> tuple[float, float] | None:
    """Return the shortest range of accuracy with half of the marks; None where they do not crowd, or are few."""
    accuracy, _ = _all(marks)
    half = (accuracy.size + 1) // 2
    if half < _FEWEST_IN_ZOOM:
        return None
    values = np.sort(accuracy)
    lengths = values[half - 1 :] - values[: values.size - half + 1]
    start = int(np.argmin(lengths))
    low, high = float(values[start]), float(values[start + half - 1])
    if not 0 < high - low < _WIDEST_ZOOM * float(np.ptp(values)):
        return None
    room = 0.08 * (high - low)
    return low - room, high + room


def shares_figure(
    probes: pa.Table,
    *,
    index: Index = "gini",
    panel_by: PanelBy = "dataset",
    connect: bool = False,
    zooms: Mapping[str, Zoom] | None = None,
) -> "Figure":
    """Draw inequality of the classes against accuracy, one panel per dataset, one kind of marker per model and layer.

    Where there are several methods the first of `random`, `first`, `ranked`, `random_independent`, PCA and projections
    is drawn, and the caption says which.

    Parameters
    ----------
    probes
        View `probes` with `class_accuracy`.
    zooms
        Range of accuracy to enlarge, by dataset; `auto` for others.

    Raises
    ------
    InvalidOption, InvalidTable
        As `share_marks` and `class_shares`.
    """
    kept, method = of_first_method(share_marks(class_shares(probes), index=index, panel_by=panel_by))
    names = names_of(kept, panel_by=panel_by)
    marks = [replace(one, panel=panel, label=label) for one, (panel, label) in zip(kept, names, strict=True)]
    style = {label: line_style(i) for i, label in enumerate(sorted({one.label for one in marks}))}
    ranges: Mapping[str, Zoom] = zooms or {}

    def draw(ax: "Axes", panel: str) -> None:
        here = [one for one in marks if one.panel == panel]
        zoom = ranges.get(str(here[0].key.dataset), "auto") if panel_by == "dataset" else "auto"
        shares_axes(ax, here, style=style, zoom=zoom, connect=connect)

    return draw_sheet(
        sorted({one.panel for one in marks}),
        draw,
        handles=share_handles(style),
        caption=share_caption(marks, index=index) + method,
        x_label="accuracy (mean over seeds)",
        y_label=INDEX_NAMES[index],
    )


def share_handles(style: Mapping[str, LineStyle]) -> "list[Line2D]":
    """Return the legend of marks: a handle per label."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=s.color, marker=s.marker, linestyle="None", markersize=5, label=label)
        for label, s in style.items()
    ]


def share_caption(marks: Sequence[ShareMarks], *, index: Index) -> str:
    """Say what a mark is, and over how many seeds."""
    seeds = sorted({int(n) for one in marks for n in one.n_seeds})
    counted = "" if not seeds else f" Seeds per mark: {seeds[0]}" + (f" to {seeds[-1]}." if seeds[1:] else ".")
    what = "Gini index" if index == "gini" else "Standard deviation (ddof 0) over mean"
    return (
        f"{what} of the class accuracies, each the mean over seeds; 0: all classes alike. One mark per subset size; "
        f"the inset enlarges a part.{counted}"
    )


def _draw(
    ax: "Axes", marks: Sequence[ShareMarks], style: Mapping[str, LineStyle], *, connect: bool, size: float
) -> None:
    for one in marks:
        look = style[one.label]
        if connect:
            ax.plot(one.accuracy, one.inequality, color=look.color, linewidth=0.8, alpha=0.35)
        ax.plot(
            one.accuracy,
            one.inequality,
            linestyle="None",
            marker=look.marker,
            markersize=size,
            color=look.color,
            markeredgecolor="white",
            markeredgewidth=0.4,
        )


def _all(marks: Sequence[ShareMarks]) -> tuple[Floats, Floats]:
    if not marks:
        return np.empty(0), np.empty(0)
    return np.concatenate([one.accuracy for one in marks]), np.concatenate([one.inequality for one in marks])
