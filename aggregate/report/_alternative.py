"""The table beside a figure, for who can't see or point at it: what its lines are at a few places. Pure (no I/O)."""

from typing import Final

import numpy as np
from markupsafe import Markup

from aggregate.report._html import Cell, Head, Number, html_table
from aggregate.report._pool import Line, Pool

FRACTIONS: Final = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0)
"""Columns of the table, as far as some line has a size there."""
MOST_LINES: Final = 600
"""Rows of the table."""


def lines_table(pool: Pool, *, caption: str, panel: str) -> Markup:
    """Return the mean ± spread of each line at fractions of its neurons.

    Parameters
    ----------
    panel
        What the panels are called, such as `Data set`.
    """
    rows = [(line, _at_fractions(pool, line)) for line in pool.lines[:MOST_LINES]]
    used = [at for at in range(len(FRACTIONS)) if any(cells[at].text for _, cells in rows)]
    head = [
        Head(text="Line"),
        Head(text=panel),
        *(Head(text=f"{100 * FRACTIONS[at]:g} %", numeric=True) for at in used),
    ]
    body: list[list[Cell]] = [[line.label, line.panel, *(cells[at] for at in used)] for line, cells in rows]
    return html_table(head, body, caption=_whole_caption(pool, f"{caption}, at shares of the layer's neurons"))


def points_table(pool: Pool, *, caption: str, panel: str, at: tuple[float, ...], x: str) -> Markup:
    """Return the mean of each line at places of a horizontal axis that is no subset size.

    Parameters
    ----------
    at
        Places, as far as they are there.
    x
        Sign before each of them in the head.
    """
    rows: list[list[Cell]] = []
    for line in pool.lines[:MOST_LINES]:
        part = slice(*line.points)
        known = dict(zip(np.round(pool.points["x"][part], 6).tolist(), pool.points["mean"][part].tolist(), strict=True))
        rows.append([line.label, line.panel, *(_number(known.get(round(place, 6))) for place in at)])
    head = [Head(text="Line"), Head(text=panel), *(Head(text=f"{x} {place:g}", numeric=True) for place in at)]
    return html_table(head, rows, caption=_whole_caption(pool, caption))


def _at_fractions(pool: Pool, line: Line) -> list[Number]:
    """Return the cells of one line; a size stands for a fraction if rounding the product gives it."""
    part = slice(*line.points)
    sizes, means, spreads = (pool.points[name][part] for name in ("k", "mean", "std"))
    cells = []
    for fraction in FRACTIONS:
        exact = fraction * line.width
        fits = np.flatnonzero(np.abs(sizes - exact) < 1)
        if not fits.size:
            cells.append(Number("", None))
            continue
        at = fits[np.argmin(np.abs(sizes[fits] - exact))]
        cells.append(Number(f"{means[at]:.3f} ± {spreads[at]:.3f}", float(means[at])))
    return cells


def _number(value: float | None) -> Number:
    return Number("—", None) if value is None or np.isnan(value) else Number(f"{value:.2f}", value)


def _whole_caption(pool: Pool, caption: str) -> str:
    n = len(pool.lines)
    return caption if n <= MOST_LINES else f"{caption} (the first {MOST_LINES} of {n:,} lines)"
