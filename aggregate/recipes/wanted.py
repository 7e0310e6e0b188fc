"""From a recipe to the lines that it wants: the paper's networks, or a store's own in the same form. Pure (no I/O)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from aggregate._runs import Measure
from aggregate.recipes import grids
from aggregate.recipes.cast import DATASETS, MODELS, DatasetRole, ModelRole
from aggregate.recipes.choice import Choice
from aggregate.recipes.declare import Block, Entry, Form, PanelBy, Recipe
from aggregate.recipes.grids import SizeGrid
from aggregate.recipes.measured_cells import MeasuredCells

PENULTIMATE: Final = "penultimate"
METHOD_LABELS: Final[Mapping[str, str]] = {
    "random": "random neurons",
    "random_independent": "random neurons, drawn anew",
    "first": "first neurons",
    "ranked": "ranked neurons",
    "pca": "top principal components",
    "pca_least": "least principal components",
    "random_projection": "random projection",
    "random_projection_uniform": "random projection (uniform)",
}
# The paper's text projects with a Gaussian matrix, its code with a uniform one.
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {"random_projection": ("random_projection_uniform",)}
_OWN_SEEDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLine:
    """One line of a recipe: what has to be measured for it, and where it goes."""

    form: Form
    """What its panel shows."""
    panel_by: PanelBy
    """What its panel is of."""
    model: ModelRole
    """Whose representation."""
    dataset: DatasetRole
    """Of which data."""
    method: str
    """How dimensions are chosen."""
    methods: tuple[str, ...]
    """Names of methods that will do, `method` first."""
    names_method: bool
    """Whether its label has to say the method."""
    measure: Measure
    """What is measured."""
    layer: str | None
    """Which layer; None: the penultimate one, or whichever a store has of a network without."""
    grid: SizeGrid
    """Sizes of the paper."""
    n_seeds: int
    """Seeds of the paper."""
    deltas: tuple[float, ...]
    """Levels, where the form is `delta`."""


def wanted_lines(recipe: Recipe, cells: MeasuredCells, choice: Choice) -> list[WantedLine]:
    """Return the lines of a recipe, in order of blocks, networks, methods, layers, data sets.

    Parameters
    ----------
    choice
        As `Choice.checked` returns it.
    """
    return [line for block in recipe.blocks for line in _of_block(block, cells, choice)]


def _of_block(block: Block, cells: MeasuredCells, choice: Choice) -> Iterator[WantedLine]:
    models, entries = _entries(block, choice)
    datasets = [DATASETS[role] for role in block.datasets]
    if choice.datasets is not None:
        datasets = [own_dataset(name) for name in choice.datasets]
    n_methods: dict[str, int] = {}
    for entry in entries:
        n_methods[entry.model] = n_methods.get(entry.model, 0) + 1
    for entry in entries:
        for layer in _layers(block, models[entry.model], cells, choice):
            for dataset in datasets:
                yield WantedLine(
                    form=block.form,
                    panel_by=block.panel,
                    model=models[entry.model],
                    dataset=dataset,
                    method=entry.method,
                    methods=(entry.method, *_ALSO.get(entry.method, ())),
                    names_method=n_methods[entry.model] > 1,
                    measure=block.measure,
                    layer=layer,
                    grid=entry.grid,
                    n_seeds=entry.n_seeds,
                    deltas=block.deltas,
                )


def _entries(block: Block, choice: Choice) -> tuple[Mapping[str, ModelRole], list[Entry]]:
    if choice.models is None:
        return MODELS, list(block.entries)
    models = {name: own_model(name, look) for look, name in enumerate(choice.models)}
    # The grid and seeds that the paper used with the method stand for what a study of other networks would measure.
    of_method = {entry.method: entry for entry in reversed(block.entries)}
    entries = []
    for name in models:
        for method in block.methods:
            like = of_method[method]
            seeds = like.n_seeds if method in ("pca", "pca_least", "first") else _OWN_SEEDS
            grid = like.grid if like.grid.fractions else grids.WIDE
            entries.append(Entry(model=name, grid=grid, method=method, n_seeds=seeds))
    return models, entries


def _layers(block: Block, model: ModelRole, cells: MeasuredCells, choice: Choice) -> tuple[str | None, ...]:
    if choice.layers is not None:
        return choice.layers
    if block.panel != "layer":
        return (None,)
    if choice.models is None:
        return block.layers
    return cells.layers(model.role) or (None,)


def own_model(name: str, look: int) -> ModelRole:
    """Return a model of the store as a role of its own."""
    return ModelRole(role=name, label=name, names=(name,), zoo=None, width=None, look=look)


def own_dataset(name: str) -> DatasetRole:
    """Return a data set of the store as a role of its own."""
    return DatasetRole(role=name, label=name, names=(name,), zoo=None)
