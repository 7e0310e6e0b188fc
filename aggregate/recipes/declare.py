"""What a recipe is: a figure of the paper as data. Blocks of panels, and which lines each panel has. Pure (no I/O)."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from aggregate._runs import Measure
from aggregate.published import deviations_of
from aggregate.recipes.grids import SizeGrid

Form: TypeAlias = Literal["fraction", "neurons", "delta", "gini", "cv", "heatmap", "table"]
"""What a panel shows: T against k/d or against k, DR against delta, inequality against accuracy, class heat-map."""
PanelBy: TypeAlias = Literal["model", "dataset", "layer", "cell"]
"""What a panel is of; `cell`: of one curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One network by one method, on every data set of its block."""

    model: str
    """Role of the network, see `aggregate.recipes.cast`."""
    grid: SizeGrid
    """Sizes of the paper."""
    method: str = "random"
    """How dimensions are chosen."""
    n_seeds: int = 5
    """Seeds of the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Panels of one form: every entry on every data set and layer."""

    form: Form
    """What a panel shows."""
    entries: tuple[Entry, ...]
    """Networks and methods."""
    datasets: tuple[str, ...]
    """Roles of the data sets."""
    panel: PanelBy
    """What a panel is of. With panels of models and layers a line is a data set, with panels of data sets a network."""
    measure: Measure = "accuracy"
    """What is measured."""
    layers: tuple[str, ...] = ("penultimate",)
    """Layers of the networks."""
    deltas: tuple[float, ...] = ()
    """Levels of a block of form `delta`."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods of the block, each once, in order."""
        return tuple(dict.fromkeys(entry.method for entry in self.entries))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A figure (or the table) of the paper: what it shows, what it needs, what to know when comparing."""

    name: str
    """`fig1` ... `fig22`, `table1`."""
    title: str
    """The paper's caption in short."""
    blocks: tuple[Block, ...]
    """From top to bottom."""
    notes: tuple[str, ...] = ()
    """What else to know: how the paper measured it where that is not what its text says."""

    @property
    def deviations(self) -> tuple[str, ...]:
        """Places where the paper's text, code and notebooks disagree (D1 ... D22) that touch this figure."""
        return tuple(deviation.id for deviation in deviations_of(self.name))
