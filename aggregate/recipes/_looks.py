"""How the lines of a recipe look, and the legend that says so. Pure but for matplotlib's handles.

Where a panel is of a network, colour and marker are the data set and dashes the method; where it is of a data set,
colour is the architecture and dashes the training or method. Dotted is kept for the whole layer.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from aggregate._style import DASHES, MARKERS, PALETTE, LineStyle
from aggregate.recipes.matching import FoundLine

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

GREY: Final = "#555555"


def looks(found: Sequence[FoundLine]) -> dict[str, LineStyle]:
    """Return how each line looks, by `FoundLine.name`, in order of the legend."""
    labels = list(dict.fromkeys(line.label for line in found))
    styles = list(dict.fromkeys(line.style for line in found if line.style))
    seen: dict[str, LineStyle] = {}
    for line in found:
        if line.name in seen:
            continue
        position = labels.index(line.label)
        if line.wanted.panel_by == "dataset":
            look, dash = line.wanted.model.look, line.wanted.model.variant
            # What shares the colour of a network (a second method, a second id) differs by its dashes.
            shared = sum(1 for other in seen.values() if other.color == PALETTE[look % len(PALETTE)])
            dash = max(dash, shared)
        else:
            look, dash = position, styles.index(line.style) if line.style else 0
        seen[line.name] = LineStyle(
            color=PALETTE[look % len(PALETTE)], marker=MARKERS[position % len(MARKERS)], dash=DASHES[dash % len(DASHES)]
        )
    return seen


def handles(found: Sequence[FoundLine], style: Mapping[str, LineStyle]) -> "list[Line2D]":
    """Return the legend: labels by colour, then methods by dashes, then the whole layer."""
    from matplotlib.lines import Line2D

    forms = {line.wanted.form for line in found}
    joined = bool(forms & {"fraction", "neurons", "delta"})
    first: dict[str, LineStyle] = {}
    dashes: dict[str, LineStyle] = {}
    for line in found:
        first.setdefault(line.label, style[line.name])
        if line.style:
            dashes.setdefault(line.style, style[line.name])
    entries = [
        Line2D([], [], color=s.color, marker=s.marker, linestyle=s.dash if joined else "None", linewidth=1.4,
               markersize=4.5, label=label)
        for label, s in first.items()
    ]  # fmt: skip
    entries += [Line2D([], [], color=GREY, linestyle=s.dash, linewidth=1.4, label=name) for name, s in dashes.items()]
    if any(has_whole(line) for line in found):
        entries.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1.2, label="whole layer"))
    return entries


def has_whole(line: FoundLine) -> bool:
    """Whether the whole layer has a dotted line of its own: its CKA is 1, and needs none."""
    wanted = line.wanted
    return (
        wanted.form in ("fraction", "neurons") and wanted.measure == "accuracy" and bool(np.isfinite(line.curve.whole))
    )
