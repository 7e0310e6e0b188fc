"""DR against delta, as in Figures 1b, 1d, 15 to 17 and 22 of the paper.

A line ends where no measured size reaches delta: DR is unknown there, and is not 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aggregate._cell_names import PanelBy, name_cells, names_of, of_first_method
from aggregate._redundancy import Rule, redundancy
from aggregate._runs import CELL_TYPES, Floats, Measure
from aggregate._sheet import draw_sheet, set_grid
from aggregate._style import LineStyle, line_style
from aggregate.errors import InvalidOption
from aggregate.measured import CellKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Cell 9 of the authors' notebook `transfer_comparison`: 20 points up to 0.8, 10 points from there on (Figs. 1, 22).
PAPER_DELTAS: Final[tuple[float, ...]] = tuple(
    sorted({round(float(x), 12) for x in (*np.linspace(0, 0.8, 20), *np.linspace(0.8, 1, 10))})
)
# Figures 15 to 17.
HIGH_DELTAS: Final[tuple[float, ...]] = tuple(round(float(x), 12) for x in np.linspace(0.75, 1, 10))

_GREY: Final = "#555555"
_MEASURES: Final = {"accuracy": "accuracy", "cka": "linear CKA, part and whole", "cka_pair": "linear CKA of two parts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaLine:
    """DR of one cell, by one rule, at every delta."""

    panel: str
    """Title of the panel that the line belongs to."""
    label: str
    """Name of the line in the legend."""
    rule: Rule
    """How DR is read off the curve."""
    key: CellKey
    """What was measured."""
    delta: Floats
    """Levels of T(part) / T(whole), rising, shape (m,)."""
    dr: Floats
    """1 - k/d, shape (m,); NaN where no measured size reaches delta, or the whole layer is unknown."""


def delta_lines(
    table: pa.Table,
    *,
    measure: Measure = "accuracy",
    deltas: Sequence[float] = PAPER_DELTAS,
    rules: Sequence[Rule] = ("strict",),
    panel_by: PanelBy = "dataset",
) -> list[DeltaLine]:
    """Compute DR of every cell at every delta: one line per cell and rule, cells in order of names.

    Parameters
    ----------
    table
        View `probes` (for `accuracy`) or `cka` (for `cka` and `cka_pair`).
    deltas
        Levels in [0, 1], at least one, in any order.
    rules
        `strict` (Eq. 1), `nearest` (as the authors' code drew it), `interpolated`; see `redundancy`.
    panel_by
        `dataset`: a line is a model and layer. `model`: a line is a dataset (Fig. 1).

    Raises
    ------
    InvalidOption
        If there is no delta or rule, or one that is not allowed.
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    levels = np.unique(np.asarray(deltas, dtype=np.float64))
    rules = tuple(dict.fromkeys(rules))
    if not levels.size or not rules:
        raise InvalidOption(
            f"a line needs at least one delta in [0, 1] and one rule, got deltas {list(deltas)} and rules "
            f"{list(rules)}: give some, such as 0.8, 0.9, 1 and strict"
        )
    probes, cka = (table, None) if measure == "accuracy" else (None, table)
    rows = redundancy(probes, cka, deltas=levels.tolist(), rules=rules)
    rows = rows.filter(pc.equal(rows["measure"], measure))
    # `redundancy` has cells outermost, then deltas, then rules.
    dr = rows["dr"].to_numpy().reshape(-1, levels.size, len(rules))
    first = pa.array(np.arange(0, rows.num_rows, levels.size * len(rules)))
    keys = rows.select(list(CELL_TYPES)).take(first).to_pylist()
    return [
        DeltaLine(panel=panel, label=label, rule=rule, key=CellKey(**key), delta=levels, dr=dr[cell, :, position])
        for cell, (key, (panel, label)) in enumerate(
            zip(keys, name_cells(keys, panel_by=panel_by, measure=measure), strict=True)
        )
        for position, rule in enumerate(rules)
    ]


def delta_axes(ax: "Axes", lines: Sequence[DeltaLine], *, style: Mapping[str, LineStyle]) -> None:
    """Draw lines of DR against delta into given axes; the first rule among them is drawn in full, others dotted.

    A line that stops short of the largest delta has a cross at its last point: no measured size reaches the next one.

    Parameters
    ----------
    style
        How the line of each label looks.
    """
    rules = list(dict.fromkeys(line.rule for line in lines))
    in_full = [line for line in lines if line.rule == rules[0]]
    for position, line in enumerate([*in_full, *(line for line in lines if line.rule != rules[0])]):
        look = style[line.label]
        first = position < len(in_full)
        # A coarse grid puts many lines on the same values: those below stay visible as rims of those above.
        rim = 1 - position / max(1, len(in_full) - 1) if len(in_full) > 1 else 0.0
        known = np.isfinite(line.dr)
        ax.plot(
            line.delta,
            line.dr,
            color=look.color,
            linestyle=look.dash if first else ":",
            linewidth=1.2 + 1.0 * rim if first else 1.3,
            marker=look.marker if first else "None",
            markersize=3.2 + 1.6 * rim,
            alpha=1.0 if first else 0.85,
            clip_on=False,
            zorder=2.5 if first else 2.2,
        )
        if known.any() and not known.all():
            last = int(np.flatnonzero(known)[-1])
            ax.plot(
                [line.delta[last]], [line.dr[last]], linestyle="None", marker="x", markersize=8, markeredgewidth=1.6,
                color=look.color, clip_on=False, zorder=3,
            )  # fmt: skip
    deltas = np.concatenate([line.delta for line in lines]) if lines else np.array([0.0, 1.0])
    low, high = float(deltas.min()), float(deltas.max())
    room = 0.02 * (high - low) or 0.02
    ax.set_xlim(low - room, high + room)
    ax.set_ylim(-0.02, 1.02)
    set_grid(ax)


def delta_figure(
    table: pa.Table,
    *,
    measure: Measure = "accuracy",
    deltas: Sequence[float] = PAPER_DELTAS,
    rules: Sequence[Rule] = ("strict",),
    panel_by: PanelBy = "dataset",
) -> "Figure":
    """Draw DR against delta, one panel per dataset (or model), one line per model and layer (or dataset).

    Where there are several methods the first of `random`, `first`, `ranked`, `random_independent`, PCA and projections
    is drawn, and the caption says which. Parameters and errors as in `delta_lines`.
    """
    found = delta_lines(table, measure=measure, deltas=deltas, rules=rules, panel_by=panel_by)
    kept, method = of_first_method(found)
    names = names_of(kept, panel_by=panel_by, measure=measure)
    lines = [replace(line, panel=panel, label=label) for line, (panel, label) in zip(kept, names, strict=True)]
    unknown = sorted({f"{line.label} ({line.panel})" for line in lines if np.isnan(line.dr).all()})
    drawn = [line for line in lines if np.isfinite(line.dr).any()]
    style = {label: line_style(i) for i, label in enumerate(sorted({line.label for line in drawn}))}
    panels = list(dict.fromkeys(line.panel for line in sorted(drawn, key=lambda line: line.panel)))
    return draw_sheet(
        panels,
        lambda ax, panel: delta_axes(ax, [line for line in drawn if line.panel == panel], style=style),
        handles=delta_handles(drawn, style=style),
        caption=delta_caption(drawn, measure=measure, left_out=unknown) + method,
        x_label="δ (share of the whole layer's value)",
        y_label="diffused redundancy DR",
    )


def delta_handles(lines: Sequence[DeltaLine], *, style: Mapping[str, LineStyle]) -> "list[Line2D]":
    """Return the legend of lines of DR: a handle per label, per further rule, and for ends where there are any."""
    from matplotlib.lines import Line2D

    rules = list(dict.fromkeys(line.rule for line in lines))
    handles = [
        Line2D([], [], color=s.color, marker=s.marker, linestyle=s.dash, linewidth=1.4, markersize=4, label=label)
        for label, s in style.items()
    ]
    if rules[1:]:
        handles.append(Line2D([], [], color=_GREY, linestyle=":", linewidth=1.2, label=f"rule {', '.join(rules[1:])}"))
    if any(np.isfinite(line.dr).any() and np.isnan(line.dr).any() for line in lines):
        handles.append(
            Line2D([], [], color=_GREY, linestyle="None", marker="x", markersize=7, label="no measured size has more")
        )
    return handles


def delta_caption(lines: Sequence[DeltaLine], *, measure: Measure, left_out: Sequence[str] = ()) -> str:
    """Say what the lines are: the rule of each, the grid, and what could not be drawn."""
    meaning = {
        "strict": "strict: Eq. 1, the smallest measured size whose mean ratio is at least δ",
        "nearest": "nearest: the measured size whose mean ratio is nearest to δ, above or below it, as in the paper",
        "interpolated": "interpolated: the line between the measured sizes around the crossing",
    }
    rules = list(dict.fromkeys(line.rule for line in lines))
    words = [f"DR = 1 - k/d of {_MEASURES[measure]}", *(meaning[rule] for rule in rules)]
    text = "; ".join(words) + ". DR can only be 1 - k/d of a measured k; the lines between points guide the eye."
    if left_out:
        shown = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if left_out[3:] else "")
        text += f" Not drawn, for the whole layer was not measured or has accuracy 0: {shown}."
    return text
