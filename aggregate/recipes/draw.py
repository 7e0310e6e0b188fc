"""Draw a figure of the paper from results: small multiples, one legend, and a caption that says what is in it.

Matplotlib's object interface only: no pyplot, nothing to close.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._redundancy import Rule
from aggregate._sheet import freeze_layout, panel_columns, set_title, wrap_caption
from aggregate._style import LineStyle
from aggregate.class_heatmap import draw_heatmaps
from aggregate.class_maps import class_maps
from aggregate.class_shares import class_shares
from aggregate.delta_figure import DeltaLine, delta_axes, delta_lines
from aggregate.errors import InvalidOption
from aggregate.measured import CellKey
from aggregate.recipes._axes import curve_axes, value_range
from aggregate.recipes._looks import handles, looks
from aggregate.recipes._words import caption
from aggregate.recipes.choice import Choice
from aggregate.recipes.matching import FoundLine, Match, match
from aggregate.recipes.measured_cells import MeasuredCells
from aggregate.recipes.missing import missing_of, missing_text, recipe_named
from aggregate.shares_figure import INDEX_NAMES, PAPER_ZOOMS, Zoom, share_marks, shares_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES: Final = (3.4, 2.6)
_LINE_INCHES: Final = 0.165
_MEASURES: Final = {"accuracy": "accuracy", "cka": "CKA, part and whole", "cka_pair": "CKA of two parts"}


def draw_recipe(
    name: str,
    probes: pa.Table | None = None,
    cka: pa.Table | None = None,
    *,
    solver: str | None = None,
    protocol: str | None = None,
    roles: Mapping[str, str] | None = None,
    models: tuple[str, ...] | None = None,
    datasets: tuple[str, ...] | None = None,
    layers: tuple[str, ...] | None = None,
    rules: tuple[Rule, ...] = ("strict",),
    log_x: bool = True,
) -> "Figure":
    """Draw a figure of the paper from results; what is missing of it is named in its caption.

    Parameters
    ----------
    name
        `fig1` ... `fig22`.
    probes, cka
        Views `probes` and `cka`, or None where there is none. Figures 8 and 10 to 13 need `class_accuracy`.
    solver, protocol
        Which probes, where the results have several.
    roles
        Model or data set of the results that plays a role of the paper, by role: `{"resnet50-AT": "mine"}`. Names of
        the zoo and of the authors' results are known without.
    models, datasets
        Names in the results that are drawn in the same form instead of the paper's; `("all",)` for all of them.
    layers
        Layers instead of the penultimate one.
    rules
        How DR is read off a curve, in figures of DR: `strict` (Eq. 1), `nearest` (the authors' code), `interpolated`.
    log_x
        Whether the fraction (or number) of neurons is on a logarithmic axis.

    Raises
    ------
    UnknownName
        If there is no such recipe, role, model, data set or layer.
    InvalidOption
        If there are several solvers or protocols, nothing of the figure is there, or it is a table.
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    recipe = recipe_named(name)
    cells = MeasuredCells(probes, cka)
    choice = Choice(
        solver=solver,
        protocol=protocol,
        roles=roles or {},
        models=models,
        datasets=datasets,
        layers=layers,
        rules=rules,
    ).checked(cells)
    return draw_match(match(recipe, cells, choice), cells, log_x=log_x)


def draw_match(matched: Match, cells: MeasuredCells, *, log_x: bool = True) -> "Figure":
    """Draw a recipe from what plays it.

    Raises
    ------
    InvalidOption
        If nothing does, or the recipe is of a table.
    """
    if any(block.form == "table" for block in matched.recipe.blocks):
        raise InvalidOption(f"{matched.recipe.name} is a table, not a figure: use `drfarm table {matched.recipe.name}`")
    if not matched.found:
        raise InvalidOption(
            f"nothing of {matched.recipe.name} is in these results. {missing_text(missing_of(matched, cells))}"
        )
    if matched.found[0].wanted.form == "heatmap":
        return _heatmaps(matched, cells, caption(matched, cells))
    return _sheet(_Ink.of(matched, cells, log_x=log_x))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Panels of one form and measure."""

    lines: tuple[FoundLine, ...]
    panels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ink:
    """All that the panels of one figure share."""

    matched: Match
    cells: MeasuredCells
    rows: tuple[_Row, ...]
    style: Mapping[str, LineStyle]
    deltas: Mapping[tuple[CellKey, Rule], DeltaLine]
    log_x: bool

    @classmethod
    def of(cls, matched: Match, cells: MeasuredCells, *, log_x: bool) -> "_Ink":
        grouped: dict[tuple[str, str], list[FoundLine]] = {}
        for line in matched.found:
            grouped.setdefault((line.wanted.form, line.wanted.measure), []).append(line)
        rows = tuple(
            _Row(lines=tuple(lines), panels=tuple(dict.fromkeys(line.panel for line in lines)))
            for lines in grouped.values()
        )
        return cls(
            matched=matched,
            cells=cells,
            rows=rows,
            style=looks(matched.found),
            deltas=_redundancies(matched, cells),
            log_x=log_x,
        )

    @property
    def has_ends(self) -> bool:
        """Whether a line of DR ends before its last delta."""
        return any(np.isfinite(line.dr).any() and np.isnan(line.dr).any() for line in self.deltas.values())


def _sheet(ink: _Ink) -> "Figure":
    from matplotlib.figure import Figure

    n_columns = max(panel_columns(len(row.panels)) for row in ink.rows)
    n_rows = sum(math.ceil(len(row.panels) / n_columns) for row in ink.rows)
    width = max(5.6, n_columns * _PANEL_INCHES[0])
    entries = handles(ink.matched.found, ink.style)
    longest = max((len(str(entry.get_label())) for entry in entries), default=12) * 0.068 + 0.6
    legend_columns = max(1, min(len(entries), int(width / longest)))
    text = wrap_caption(caption(ink.matched, ink.cells, has_ends=ink.has_ends), width)
    n_lines = math.ceil(len(entries) / legend_columns) * 1.15 + text.count("\n") + 2
    figure = Figure(figsize=(width, n_rows * _PANEL_INCHES[1] + n_lines * _LINE_INCHES), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    start = 0
    for row in ink.rows:
        used = math.ceil(len(row.panels) / n_columns)
        mine = list(axes[start : start + used].flat)
        start += used
        for ax in mine[len(row.panels) :]:
            ax.set_axis_off()
        _draw_row(ink, row, mine[: len(row.panels)], n_columns)
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=legend_columns,
        fontsize=8,
        frameon=False,
        handlelength=3.0,
        title=text,
        title_fontsize=8,
    )
    freeze_layout(figure)
    return figure


def _draw_row(ink: _Ink, row: _Row, axes: "Sequence[Axes]", n_columns: int) -> None:
    form, measure = row.lines[0].wanted.form, row.lines[0].wanted.measure
    limits = value_range(row.lines)
    for position, (ax, panel) in enumerate(zip(axes, row.panels, strict=True)):
        lines = [line for line in row.lines if line.panel == panel]
        if form in ("fraction", "neurons"):
            curve_axes(ax, lines, style=ink.style, absolute=form == "neurons", log_x=ink.log_x)
            ax.set_ylim(*limits)
            x_label = "number of neurons k" if form == "neurons" else "fraction of neurons k/d"
            x_label += " (log scale)" if ink.log_x else ""
            y_label = _MEASURES[measure]
        elif form == "delta":
            _deltas(ink, ax, lines)
            x_label, y_label = "δ (share of the whole layer's accuracy)", "diffused redundancy DR"
        else:
            _shares(ink, ax, lines)
            x_label, y_label = "accuracy (mean over seeds)", INDEX_NAMES["gini" if form == "gini" else "cv"]
        set_title(ax, panel)
        if position % n_columns == 0:
            ax.set_ylabel(y_label, fontsize=9)
        if position + n_columns >= len(row.panels):
            ax.set_xlabel(x_label, fontsize=9)


def _redundancies(matched: Match, cells: MeasuredCells) -> dict[tuple[CellKey, Rule], DeltaLine]:
    """Compute the lines of DR of a figure, once for all of its panels."""
    lines = [line for line in matched.found if line.wanted.form == "delta"]
    if not lines:
        return {}
    drawn = delta_lines(_rows_of(cells, lines), deltas=lines[0].wanted.deltas, rules=matched.choice.rules)
    wanted = {line.curve.key for line in lines}
    return {(line.key, line.rule): line for line in drawn if line.key in wanted}


def _deltas(ink: _Ink, ax: "Axes", lines: Sequence[FoundLine]) -> None:
    rules = ink.matched.choice.rules
    mine = [replace(ink.deltas[line.curve.key, rule], label=line.name) for line in lines for rule in rules]
    delta_axes(ax, mine, style=ink.style)


def _shares(ink: _Ink, ax: "Axes", lines: Sequence[FoundLine]) -> None:
    by_key = {line.curve.key: line for line in lines}
    index = "gini" if lines[0].wanted.form == "gini" else "cv"
    marks = share_marks(class_shares(_rows_of(ink.cells, lines)), index=index)  # type: ignore[arg-type]
    mine = [replace(one, label=by_key[one.key].name) for one in marks if one.key in by_key]
    zoom: Zoom = "auto"
    if not ink.matched.choice.is_own:
        zoom = PAPER_ZOOMS.get(lines[0].wanted.dataset.zoo or "", "auto")
    shares_axes(ax, mine, style=ink.style, zoom=zoom)


def _heatmaps(matched: Match, cells: MeasuredCells, words: str) -> "Figure":
    by_key = {line.curve.key: line for line in matched.found}
    maps = [
        replace(one, title=by_key[one.key].panel)
        for one in class_maps(_rows_of(cells, matched.found))
        if one.key in by_key
    ]
    order = {key: position for position, key in enumerate(by_key)}
    return draw_heatmaps(sorted(maps, key=lambda one: order[one.key]), caption=words)


def _rows_of(cells: MeasuredCells, lines: Sequence[FoundLine]) -> pa.Table:
    """Return the probes of the layers of some lines, every method: T(whole) of one may come from another."""
    if cells.probes is None:
        raise InvalidOption("DR and inequality are of accuracy: these results have no probes")
    table = cells.probes
    for name in ("model", "dataset", "layer"):
        names = pa.array({getattr(line.curve.key, name) for line in lines}, pa.string())
        table = table.filter(pc.is_in(table[name], names, skip_nulls=False))
    return table
