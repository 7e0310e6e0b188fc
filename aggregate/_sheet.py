"""A sheet of panels with one legend and one caption below them, whatever is drawn in a panel.

Matplotlib's object interface only, as in `_panels`: no pyplot, nothing to close.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES: Final = (3.9, 3.0)
_LINE_INCHES: Final = 0.19
_TITLE_CHARACTERS: Final = 46
# A character of 8 pt takes about 0.068 inch.
_CHARACTER_INCHES: Final = 0.068


def draw_sheet(
    panels: Sequence[str],
    draw: "Callable[[Axes, str], None]",
    *,
    handles: Sequence[Any],
    caption: str,
    x_label: str,
    y_label: str,
) -> "Figure":
    """Draw each panel by its name, and the legend and caption below all of them.

    Parameters
    ----------
    panels
        Names, which are the titles; `no results` where there is none.
    draw
        Draws into the given axes what belongs to the panel of the given name.
    handles
        Artists with labels: the legend.
    x_label, y_label
        Shown at the left column and below the last row only.
    """
    from matplotlib.figure import Figure

    n_columns = panel_columns(len(panels))
    n_rows = max(1, math.ceil(len(panels) / n_columns))
    width = max(5.2, n_columns * PANEL_INCHES[0])
    legend_columns = _legend_columns([handle.get_label() for handle in handles], width)
    words = wrap_caption(caption, width)
    n_lines = math.ceil(len(handles) / legend_columns) + words.count("\n") + 2
    figure = Figure(figsize=(width, n_rows * PANEL_INCHES[1] + n_lines * _LINE_INCHES), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for position, ax in enumerate(axes.flat):
        if position >= max(1, len(panels)):
            ax.set_axis_off()
            continue
        if panels:
            draw(ax, panels[position])
        set_title(ax, panels[position] if panels else "no results")
        if position % n_columns == 0:
            ax.set_ylabel(y_label)
        if position + n_columns >= len(panels):
            ax.set_xlabel(x_label)
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=legend_columns,
        fontsize=8,
        frameon=False,
        handlelength=3.0,
        title=words,
        title_fontsize=8,
    )
    freeze_layout(figure)
    return figure


def freeze_layout(figure: "Figure") -> None:
    """Lay a figure out once, so that saving it twice gives the same bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def panel_columns(n_panels: int) -> int:
    """Return the panels per row: up to three, or what fills the last row (2 x 2; the four datasets of the paper)."""
    if n_panels <= 3:
        return max(1, n_panels)
    if n_panels == 4:
        return 2
    return 4 if n_panels % 4 == 0 else 3


def set_title(ax: "Axes", title: str) -> None:
    """Write a title over the panel, wrapped to its width."""
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, _TITLE_CHARACTERS)]
    ax.set_title("\n".join(lines), fontsize=10 if len(lines) < 2 else 9)


def set_grid(ax: "Axes") -> None:
    """Give axes the ticks and the pale grid that all panels have."""
    ax.tick_params(labelsize=8)
    ax.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)


def wrap_caption(text: str, width: float) -> str:
    """Wrap a caption of 8 pt to a figure of `width` inches."""
    return "\n".join(textwrap.wrap(text, width=int(width / 0.07)))


def _legend_columns(labels: Sequence[str], width: float) -> int:
    longest = max((len(label) for label in labels), default=12) * _CHARACTER_INCHES + 0.55
    return max(1, min(len(labels), int(width / longest)))
