"""All lines of one interactive figure in a few long columns, and which of them each panel shows. Pure (no I/O).

A page of 100,000 probes is small because numbers are stored once, as arrays, and texts that repeat once each; the
page's script cuts the lines of a panel out of the columns when the reader asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate._runs import Floats, Integers

MOST_LINES = 10
"""Lines in a panel, so that its legend and its colours can be told apart; more make further panels."""
MOST_POINTS = 400
"""Points drawn of a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: its names, and its slices of the pool's columns."""

    label: str
    """In the legend."""
    about: str
    """In the hover: what else is known of the whole line, such as solver and method."""
    panel: str
    """Title of the panel it belongs to."""
    width: int
    """Neurons in the layer."""
    whole: float
    """Value of the whole layer, drawn dotted; NaN where there is none to draw."""
    points: tuple[int, int]
    """Its first entry of `Pool.points`, and the one after its last."""
    dots: tuple[int, int]
    """The same of `Pool.dots`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The data of one figure."""

    lines: tuple[Line, ...]
    """In the order of their panels."""
    panels: tuple[tuple[str, tuple[int, ...]], ...]
    """Title of each, and its lines, at most `MOST_LINES`."""
    points: Mapping[str, NDArray[Any]]
    """Columns of what lines go through: `k` (or `x`), `mean`, `low`, `high`, and coded texts."""
    dots: Mapping[str, NDArray[Any] | list[str]]
    """Columns of single runs: `k`, `value`, `seed`, and their ids; empty where only means are drawn."""
    texts: Mapping[str, tuple[str, ...]]
    """What the codes of a column of that name stand for."""
    thinned: bool
    """Whether some line has more measured sizes than are drawn."""


def panels_of(titles: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Group lines by their titles, in the order of the first of each, and split what is too full to be read."""
    groups: dict[str, list[int]] = {}
    for at, title in enumerate(titles):
        groups.setdefault(title, []).append(at)
    panels = []
    for title, members in groups.items():
        n_parts = -(-len(members) // MOST_LINES)
        for part, chunk in enumerate(np.array_split(members, n_parts), 1):
            name = title if n_parts == 1 else f"{title} ({part} of {n_parts})"
            panels.append((name, tuple(int(at) for at in chunk)))
    return tuple(panels)


def drawn(sizes: Integers, most: int, keep: Integers) -> Integers:
    """Choose at most about `most` of the rising `sizes`, evenly spread both on a linear and on a log axis.

    The first, the last and those that are also in `keep` are always there. Returns positions, rising.
    """
    if sizes.size <= most:
        return np.arange(sizes.size)
    half = max(most // 2, 2)
    wanted = [np.linspace(sizes[0], sizes[-1], half), np.geomspace(sizes[0], sizes[-1], half)]
    at = np.minimum(np.searchsorted(sizes, np.concatenate(wanted)), sizes.size - 1)
    kept = np.flatnonzero(np.isin(sizes, keep))
    return np.unique(np.concatenate([at, kept, [0, sizes.size - 1]]))


def as_float32(values: Floats) -> NDArray[np.float32]:
    """Halve the bytes of a column: seven digits are more than can be seen."""
    return values.astype(np.float32)
