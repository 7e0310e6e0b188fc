"""Heat-maps of the classes' accuracies, one at a time: hover says which class, which size, how accurate.

Bokeh's, for a white ground; the page's script puts another map into the figure when the reader asks for it.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from aggregate._runs import is_control
from aggregate._whole import method_rank
from aggregate.class_maps import ClassMap, class_maps
from aggregate.report._content import Control
from aggregate.report._html import Cell, Head, Number, html_table
from aggregate.report._line_plot import FONT, INK, plain, plain_axis

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure  # noqa: N812 - Bokeh's own name is a function's

MOST_MAPS: Final = 24
"""Maps in a page; each is as large as a curve of every class."""
_MOST_CELLS: Final = 60_000
"""Rectangles of all maps together."""
_FEW_CLASSES: Final = 25
_KEYS: Final = ("dataset", "model", "layer", "solver", "protocol", "train_id", "test_id", "width")


def chosen_maps(probes: pa.Table) -> tuple[list[ClassMap], int]:
    """Return the maps of at most `MOST_MAPS` curves of one method, classes best first, and how many there could be.

    Data sets take turns, so that each is there; of a data set, curves in order of their names. Where there are several
    methods, the first of `random`, `first`, `ranked`, `random_independent`, PCA and projections is shown.
    """
    table = probes.filter(pc.and_(pc.is_valid(probes["class_accuracy"]), pc.invert(is_control(probes))))
    if not table.num_rows:
        return [], 0
    first = min((str(method) for method in pc.unique(table["method"]).to_pylist()), key=method_rank)
    table = table.filter(pc.equal(table["method"], first))
    cells = table.group_by(list(_KEYS)).aggregate([]).to_pylist()
    cells.sort(key=lambda cell: tuple(str(cell[name] or "") for name in _KEYS))
    turns: dict[str, int] = {}
    taken = []
    for cell in cells:
        turn = turns[cell["dataset"]] = turns.get(cell["dataset"], -1) + 1
        taken.append((turn, cell))
    taken.sort(key=lambda pair: pair[0])
    maps: list[ClassMap] = []
    room = _MOST_CELLS
    for _, cell in taken[:MOST_MAPS]:
        found = class_maps(table.filter(_is(table, cell)), order="accuracy")
        if found and found[0].accuracy.size <= room:
            room -= found[0].accuracy.size
            maps += found
    maps.sort(key=lambda one: tuple(str(part or "") for part in (one.key.dataset, one.key.model, one.key.layer)))
    return maps, len(cells)


def map_controls(maps: Sequence[ClassMap]) -> tuple[Control, ...]:
    """Return the choice above the figure."""
    return (Control(name="map", label="Curve", options=_titles(maps)),)


def map_plot(maps: Sequence[ClassMap], *, id: str) -> "Figure":  # noqa: A002
    """Return a figure with the first map, and all others in its tags."""
    import bokeh.models
    import bokeh.plotting

    # Bokeh's stubs lack what its models take: Any at its face.
    models: Any = bokeh.models
    plotting: Any = bokeh.plotting
    tags = _tags(maps)
    source = models.ColumnDataSource(_columns(tags, 0))
    figure_ = plotting.figure(
        name=id,
        height=480,
        sizing_mode="stretch_width",
        x_range=(-0.5, len(tags["maps"][0]["sizes"]) - 0.5),
        y_range=(len(tags["maps"][0]["classes"]) - 0.5, -0.5),
        tools="save",
        toolbar_location="above",
        background_fill_color="white",
        border_fill_color="white",
    )
    figure_.toolbar.logo = None
    figure_.grid.grid_line_color = None
    figure_.outline_line_color = None
    mapper = models.LinearColorMapper(palette="Cividis256", low=0.0, high=1.0, nan_color="#ffffff")
    cells = figure_.rect(
        "x",
        "y",
        width=1,
        height=1,
        source=source,
        line_color=None,
        fill_color={"field": "accuracy", "transform": mapper},
    )
    tips = [
        ("class", "@class"),
        ("size", "k = @k{0,0}, k/d = @fraction{0.0000}"),
        ("accuracy", "@accuracy{0.000}"),
        ("seeds", "@seeds"),
    ]
    figure_.add_tools(models.HoverTool(renderers=[cells], tooltips=tips, visible=False))
    figure_.xaxis.axis_label = "fraction of neurons, k / d"
    figure_.yaxis.axis_label = "class, best first"
    first = tags["maps"][0]
    figure_.xaxis.ticker = models.FixedTicker(ticks=list(range(len(first["sizes"]))))
    figure_.xaxis.major_label_overrides = dict(enumerate(first["sizes"]))
    figure_.xaxis.major_label_orientation = np.pi / 3
    figure_.yaxis.ticker = models.FixedTicker(ticks=_class_ticks(len(first["classes"])))
    figure_.yaxis.major_label_overrides = dict(enumerate(first["classes"]))
    for axis in (*figure_.xaxis, *figure_.yaxis):
        plain_axis(axis)
    bar = models.ColorBar(
        color_mapper=mapper,
        width=12,
        ticker=models.BasicTicker(desired_num_ticks=5),
        major_label_text_color=INK,
        major_label_text_font_size=FONT,
        bar_line_color=None,
        background_fill_color="white",
    )
    figure_.add_layout(bar, "right")
    text = json.dumps({"maps": tags["maps"]}, ensure_ascii=False)
    figure_.tags = [{"text": text, "accuracy": tags["accuracy"], "source": source}]
    return figure_


def map_table(maps: Sequence[ClassMap]) -> Markup:
    """Return, for each map, how the classes are spread at the smallest, a middle and the largest size."""
    head = [
        Head(text="Curve"),
        Head(text="k/d", numeric=True),
        Head(text="worst class", numeric=True),
        Head(text="median class", numeric=True),
        Head(text="best class", numeric=True),
    ]
    body: list[list[Cell]] = []
    for one, title in zip(maps, _titles(maps), strict=True):
        for at in sorted({0, one.fraction.size // 2, one.fraction.size - 1}):
            values = one.accuracy[:, at][np.isfinite(one.accuracy[:, at])]
            if values.size:
                spread = [values.min(), np.median(values), values.max()]
                numbers = [Number(f"{value:.3f}", float(value)) for value in spread]
                body.append([title, Number(f"{one.fraction[at]:.3g}", float(one.fraction[at])), *numbers])
    return html_table(head, body, caption="Accuracy of the worst, the median and the best class")


def _is(table: pa.Table, cell: dict[str, Any]) -> pa.ChunkedArray:
    """Return which rows are of a cell; null equals null."""
    mask = pa.repeat(True, table.num_rows)
    for name, value in cell.items():
        mask = pc.and_(mask, pc.is_null(table[name]) if value is None else pc.equal(table[name], value))
    return mask


def _titles(maps: Sequence[ClassMap]) -> tuple[str, ...]:
    return tuple(" ".join(one.title.split()) for one in maps)


def _tags(maps: Sequence[ClassMap]) -> dict[str, Any]:
    """Return all maps in one column of accuracies, row by row of each."""
    described, start = [], 0
    for one in maps:
        described.append(
            {
                "start": start,
                "classes": [plain(name) for name in one.classes],
                "sizes": [f"{fraction:.3g}" for fraction in one.fraction],
                "fraction": one.fraction.tolist(),
                "k": one.n_neurons.tolist(),
                "seeds": one.n_seeds.tolist(),
                "ticks": _class_ticks(len(one.classes)),
            }
        )
        start += one.accuracy.size
    return {"maps": described, "accuracy": np.concatenate([one.accuracy.ravel() for one in maps]).astype(np.float32)}


def _columns(tags: dict[str, Any], at: int) -> dict[str, Any]:
    """Lay one map out as rectangles, as the page's script does."""
    one = tags["maps"][at]
    n_classes, n_sizes = len(one["classes"]), len(one["sizes"])
    y, x = (grid.ravel() for grid in np.indices((n_classes, n_sizes)))
    return {
        "x": x.tolist(),
        "y": y.tolist(),
        "accuracy": tags["accuracy"][one["start"] : one["start"] + x.size],
        "class": [one["classes"][row] for row in y],
        **{name: [one[name][column] for column in x] for name in ("k", "fraction", "seeds")},
    }


def _class_ticks(n: int) -> list[int]:
    step = 1 if n <= _FEW_CLASSES else -(-n // 10)
    return list(range(0, n, step))
