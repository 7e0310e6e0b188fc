"""One interactive figure out of a pool of lines: Bokeh's, for a white ground, with the first panel in it.

The page turns the figure dark by a filter, because what is drawn on a canvas can't follow the reader's colour scheme.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aggregate._style import PALETTE
from aggregate.report._content import Control
from aggregate.report._pool import Line, Pool

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure  # noqa: N812 - Bokeh's own name is a function's

INK: Final = "#333333"
_GRID: Final = "#e3e3e3"
FONT: Final = "13px"
_MARKERS: Final = ("circle", "square", "triangle", "hex", "inverted_triangle", "diamond", "star")
_FRAME, _LEGEND_LINE = 400, 21
"""Height of a figure without its legend, and of a line of that, in pixels."""
_FEW: Final = 40
"""Points of a line up to which each has a large mark; the page's script knows it as well."""
_COLORS: Final = (*PALETTE[:4], "#B07800", "#56B4E9", "#000000")
"""The orange of print is too pale for dots on a screen: darker here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What the axes of a figure are called, and which of them the reader may choose."""

    y: str
    """Label of the vertical axis."""
    value: str
    """Name of the mean in the hover."""
    spread: str
    """Name and columns of the spread in the hover, in Bokeh's words: `@std{0.0000}`."""
    x: str = ""
    """Label of a horizontal axis that is no subset size: linear, and no choice. Empty: fraction or k, log or linear."""


def line_controls(pool: Pool, axes: Axes, *, panel: str) -> tuple[Control, ...]:
    """Return the choices above a figure of `line_plot`; `panel` is what its panels are called."""
    controls = []
    if len(pool.panels) > 1:
        controls.append(Control(name="panel", label=panel, options=tuple(title for title, _ in pool.panels)))
    if not axes.x:
        controls.append(Control(name="x", label="Size as", options=("fraction k/d", "neurons k")))
        controls.append(Control(name="scale", label="Axis", options=("logarithmic", "linear")))
    return tuple(controls)


def line_plot(pool: Pool, axes: Axes, *, id: str) -> "Figure":  # noqa: A002
    """Return a figure with the first panel of the pool, and all others in its tags for the page's script.

    Parameters
    ----------
    pool
        At least one line.
    id
        Name by which the page's script finds the figure.
    """
    import bokeh.models
    import bokeh.plotting

    # Bokeh's stubs lack what its models take: Any at its face.
    models: Any = bokeh.models
    plotting: Any = bokeh.plotting
    chooses = not axes.x
    n_slots = max(len(members) for _, members in pool.panels)
    figure_ = plotting.figure(
        name=id,
        height=_FRAME + _LEGEND_LINE * n_slots,
        sizing_mode="stretch_width",
        x_axis_type="log" if chooses else "linear",
        tools="pan,box_zoom,reset,save",
        toolbar_location="above",
        background_fill_color="white",
        border_fill_color="white",
    )
    figure_.toolbar.logo = None
    units = ("fraction of neurons, k / d", "neurons in the subset, k")
    figure_.xaxis.axis_label = units[0] if chooses else axes.x
    figure_.yaxis.axis_label = axes.y
    if chooses:
        figure_.xaxis.formatter = models.NumeralTickFormatter(format="0,0.[0000]")
    for axis in (*figure_.xaxis, *figure_.yaxis):
        plain_axis(axis)
    figure_.grid.grid_line_color = _GRID
    figure_.outline_line_color = None
    slots = [_slot(figure_, at, pool) for at in range(n_slots)]
    _add_hovers(figure_, slots, pool, axes)
    legend = models.Legend(
        items=[slot["item"] for slot in slots],
        click_policy="hide",
        label_text_color=INK,
        label_text_font_size="12px",
        background_fill_color="white",
        border_line_color=None,
        location="top_left",
        glyph_width=28,
        spacing=2,
        padding=4,
    )
    figure_.add_layout(legend, "below")
    scales = [
        {"scale": models.LogScale(), "ticker": models.LogTicker()},
        {"scale": models.LinearScale(), "ticker": models.BasicTicker()},
    ]
    # Bokeh walks through every list of a model many times: what is no array goes as one text.
    described = {
        "panels": [members for _, members in pool.panels],
        "lines": [_described(line) for line in pool.lines],
        "texts": pool.texts,
        "job": pool.dots.get("job", []),
        "units": units,
    }
    figure_.tags = [
        {
            "text": json.dumps(described, ensure_ascii=False),
            "points": dict(pool.points),
            "dots": {name: column for name, column in pool.dots.items() if name != "job"},
            "slots": [{name: slot[name] for name in ("points", "dots", "whole", "item")} for slot in slots],
            "scales": scales if chooses else [],
        }
    ]
    return figure_


def plain_axis(axis: Any) -> None:
    """Make the words of an axis large and dark enough, and its lines quiet."""
    axis.axis_label_text_color = axis.major_label_text_color = INK
    axis.axis_label_text_font_size = axis.major_label_text_font_size = FONT
    axis.axis_label_text_font_style = "normal"
    axis.axis_line_color = axis.major_tick_line_color = "#888888"
    axis.minor_tick_line_color = None


def plain(text: str) -> str:
    """Keep Bokeh from reading a name as TeX: a zero-width space parts the signs that open it."""
    for sign in ("$$", r"\(", r"\["):
        text = text.replace(sign, f"{sign[0]}\u200b{sign[1]}")
    return text


def _described(line: Line) -> dict[str, Any]:
    return {
        "label": plain(line.label),
        "about": line.about,
        "width": line.width,
        "whole": None if np.isnan(line.whole) else line.whole,
        "points": list(line.points),
        "dots": list(line.dots),
    }


def _slot(figure_: "Figure", at: int, pool: Pool) -> dict[str, Any]:
    """Add the glyphs of one line of a panel; they hold the first panel's."""
    import bokeh.models

    models: Any = bokeh.models
    members = pool.panels[0][1]
    used = at < len(members)
    line = pool.lines[members[at if used else 0]]
    points = models.ColumnDataSource(_columns(pool, line, "points", used=used))
    whole = models.ColumnDataSource({"y": [line.whole] if used and not np.isnan(line.whole) else []})
    color, dash = _COLORS[at % len(_COLORS)], ("solid", "dashed", "dotdash")[at // len(_COLORS) % 3]
    # `add_glyph` makes one glyph of each, where `figure.line` and its like make five for states that are never used.
    drawn = [
        figure_.add_glyph(points, models.VArea(x="x", y1="low", y2="high", fill_color=color, fill_alpha=0.13)),
        figure_.add_glyph(whole, models.HSpan(y="y", line_color=color, line_dash="dotted", line_width=1.5)),
        figure_.add_glyph(points, models.Line(x="x", y="mean", line_color=color, line_dash=dash, line_width=2)),
    ]
    dots = hit = None
    if pool.dots:
        dots = models.ColumnDataSource(_columns(pool, line, "dots", used=used))
        hit = figure_.add_glyph(
            dots, models.Scatter(x="x", y="value", size=4, fill_color=color, fill_alpha=0.35, line_color=None)
        )
        drawn.append(hit)
    marker = _MARKERS[at % len(_MARKERS)]
    marks = figure_.add_glyph(
        points,
        models.Scatter(
            x="x", y="mean", size={"field": "size"}, marker=marker, fill_color="white", line_color=color, line_width=1.6
        ),
    )
    drawn.append(marks)
    item = models.LegendItem(label={"value": plain(line.label)}, renderers=drawn, visible=used)
    return {"points": points, "dots": dots, "whole": whole, "item": item, "marks": marks, "hit": hit}


def _columns(pool: Pool, line: Line, part: str, *, used: bool) -> dict[str, Any]:
    """Cut one line out of the pool, as the page's script does."""
    columns = pool.points if part == "points" else pool.dots
    start, stop = (line.points if part == "points" else line.dots) if used else (0, 0)
    cut: dict[str, Any] = {}
    for name, column in columns.items():
        cut[name] = column[start:stop]
        if name in pool.texts:
            cut[name] = [pool.texts[name][code] for code in cut[name]]
    n = stop - start
    cut |= {"label": [plain(line.label)] * n, "about": [line.about] * n, "size": [7 if n <= _FEW else 3] * n}
    if "k" in cut:
        cut["x"] = cut["fraction"] = np.asarray(cut["k"]) / line.width
    return cut


def _add_hovers(figure_: "Figure", slots: list[dict[str, Any]], pool: Pool, axes: Axes) -> None:
    """Add what is said of a mean and of a single seed's dot."""
    import bokeh.models

    tool: Any = bokeh.models.HoverTool
    size = [] if axes.x else [("size", "k = @k{0,0}, k/d = @fraction{0.0000}")]
    where = [("", "@label"), ("", "@about")]
    ids = [("batch", "@batch")] if "batch" in pool.texts else []
    seeds = [("seeds", "@seeds")] if "seeds" in pool.points else []
    x = [(axes.x, "@x{0.00}")] if axes.x else []
    mean = [*where, *size, *x, (axes.value, f"@mean{{0.0000}}{axes.spread}"), *seeds, *ids]
    figure_.add_tools(
        tool(renderers=[slot["marks"] for slot in slots], tooltips=mean, attachment="above", limit=1, visible=False)
    )
    if pool.dots:
        dot = [*where, *size, ("seed", "@seed"), (axes.y, "@value{0.0000}"), ("job", "@job"), *ids]
        figure_.add_tools(
            tool(renderers=[slot["hit"] for slot in slots], tooltips=dot, attachment="below", limit=1, visible=False)
        )
