"""What a store lacks for a figure of the paper: which lines, how many jobs, and how to measure them. Pure (no I/O).

A job is one value: a (seed, size), or a (pair of seeds, size). The paper's grid and seeds say how many a line needs;
the same jobs serve several panels and are counted once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pyarrow as pa

from aggregate._runs import Measure
from aggregate.recipes.catalogue import RECIPES
from aggregate.recipes.choice import Choice
from aggregate.recipes.declare import Recipe
from aggregate.recipes.grids import SizeGrid, wanted_values
from aggregate.recipes.matching import FoundLine, Match, Variant, match, match_variant, variants
from aggregate.recipes.measured_cells import MeasuredCells
from aggregate.recipes.wanted import PENULTIMATE, WantedLine
from store.errors import UnknownName

State: TypeAlias = Literal["complete", "partly", "nothing"]
_MEASURE_WORDS: Final[Mapping[str, str]] = {
    "accuracy": "accuracy",
    "cka": "CKA, part and whole",
    "cka_pair": "CKA of two parts",
    "classes": "accuracy by class",
}
_HEAD: Final = ("model", "data set", "method", "layer", "measure", "solver", "there", "missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededCell:
    """What a figure needs of one network, data set, method and layer, and what is there."""

    wanted: WantedLine
    """The (first) line that needs it."""
    found: tuple[FoundLine, ...]
    """What is there of it."""
    variant: Variant | None
    """Solver and protocol that were looked at."""
    n_wanted: int
    """Jobs of the paper's grid."""
    n_there: int
    """Those of them that are there, of the fullest curve where several play it."""

    @property
    def n_missing(self) -> int:
        """Jobs that would fill it."""
        return self.n_wanted - self.n_there

    @property
    def measure(self) -> str:
        """What is measured, in words."""
        return _MEASURE_WORDS[_what(self.wanted)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a store has and lacks of one recipe, under one solver and protocol."""

    recipe: Recipe
    """The recipe."""
    variant: Variant | None
    """Solver and protocol of its probes; None where there is none."""
    cells: tuple[NeededCell, ...]
    """What it needs, in the order of its lines."""

    @property
    def n_wanted(self) -> int:
        """Jobs of the paper's grid."""
        return sum(cell.n_wanted for cell in self.cells)

    @property
    def n_there(self) -> int:
        """Those of them that are there."""
        return sum(cell.n_there for cell in self.cells)

    @property
    def state(self) -> State:
        """Whether all of it, something, or nothing can be drawn."""
        if not any(cell.found for cell in self.cells):
            return "nothing"
        return "complete" if self.n_there == self.n_wanted else "partly"


def missing(
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
) -> Missing:
    """Say what results have and lack of a figure of the paper.

    Parameters
    ----------
    name
        `fig1` ... `fig22` or `table1`.
    probes, cka
        Views `probes` and `cka`, or None where there is none.
    solver, protocol, roles, models, datasets, layers
        As in `draw_recipe`.

    Raises
    ------
    UnknownName
        If there is no such recipe, role, model, data set or layer.
    InvalidOption
        If there are several solvers or protocols.
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    cells = MeasuredCells(probes, cka)
    choice = Choice(
        solver=solver, protocol=protocol, roles=roles or {}, models=models, datasets=datasets, layers=layers
    )
    return missing_of(match(recipe_named(name), cells, choice.checked(cells)), cells)


def recipe_named(name: str) -> Recipe:
    """Return a recipe by name; raise `UnknownName` with the nearest where there is none."""
    if name not in RECIPES:
        raise UnknownName.among("figure", name, RECIPES, most=0)
    return RECIPES[name]


def missing_by_variant(recipe: Recipe, cells: MeasuredCells, choice: Choice) -> list[Missing]:
    """Return what is there for each solver and protocol that a store has anything under; at least one entry."""
    several = variants(recipe, cells, choice) or (None,)
    return [missing_of(match_variant(recipe, cells, choice, variant), cells) for variant in several]


def missing_of(matched: Match, cells: MeasuredCells) -> Missing:
    """Count what a match needs and has."""
    widths = {(found.wanted.model.role, found.curve.key.layer): found.curve.key.width for found in matched.found}
    seen: dict[tuple[str | None, ...], NeededCell] = {}
    for line in matched.wanted:
        key = (line.model.role, line.dataset.role, line.method, line.layer, _what(line))
        if key in seen and not _adds(seen[key].wanted.grid, line.grid):
            continue
        found = matched.of(line)
        width = _width(line, found, widths)
        counts = wanted_values(line.grid, width, n_seeds=line.n_seeds, measure=line.measure)
        there = max((_there(line, one, counts, cells) for one in found), default=0)
        cell = NeededCell(
            wanted=line, found=found, variant=matched.variant, n_wanted=sum(counts.values()), n_there=there
        )
        seen[key if key not in seen else (*key, str(len(seen)))] = cell
    return Missing(recipe=matched.recipe, variant=matched.variant, cells=tuple(seen.values()))


def missing_text(lack: Missing) -> str:
    """Write what is there and what is missing as text: a table, and a study that would fill it."""
    title = f"{lack.recipe.name}: {lack.recipe.title}"
    if lack.variant is not None:
        title += f" ({lack.variant})"
    rows = [_row(cell) for cell in lack.cells if cell.n_missing or not cell.found]
    head = f"{title}\n{lack.n_there:,} of the {lack.n_wanted:,} jobs of the paper's grid are there."
    if not rows:
        return f"{head} Nothing is missing."
    columns = list(zip(_HEAD, *rows, strict=True))
    widths = [max(len(text) for text in column) for column in columns]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in (_HEAD, *rows)
    ]
    return "\n".join([head, "", *lines, "", *_hint(lack)])


def _row(cell: NeededCell) -> tuple[str, ...]:
    line = cell.wanted
    solver = "-" if line.measure != "accuracy" else "any" if cell.variant is None else cell.variant.solver or "-"
    there = "nothing" if not cell.found else f"{cell.n_there:,} of {cell.n_wanted:,}"
    layer = line.layer or PENULTIMATE
    names = (line.model.label, line.dataset.label, line.method, layer, cell.measure, solver)
    return (*names, there, f"{cell.n_missing:,} job{'s' if cell.n_missing != 1 else ''}")


def _hint(lack: Missing) -> Iterator[str]:
    """Say in the words of a study file what would fill it, one entry per grid."""
    groups: dict[tuple[SizeGrid, int], list[NeededCell]] = {}
    for cell in lack.cells:
        if cell.n_missing:
            groups.setdefault((cell.wanted.grid, cell.wanted.n_seeds), []).append(cell)
    n = len(groups)
    yield f"To fill it, run {'a study' if n == 1 else f'{n} studies (one for each grid)'} with:"
    for position, ((grid, n_seeds), needed) in enumerate(groups.items()):
        if position:
            yield ""
        lines = [cell.wanted for cell in needed]
        sizes = f"fractions: {_listed(grid.fractions)}" if grid.fractions else f"n_neurons: {_listed(grid.n_neurons)}"
        measures = _listed(dict.fromkeys(_study_measure(line.measure, lack.variant) for line in lines))
        yield f"  models: {_listed(dict.fromkeys(_source(line.model.zoo, line.model.role) for line in lines))}"
        yield f"  layers: {_listed(dict.fromkeys(line.layer or PENULTIMATE for line in lines))}"
        yield f"  datasets: {_listed(dict.fromkeys(_source(line.dataset.zoo, line.dataset.role) for line in lines))}"
        methods = _listed(dict.fromkeys(line.method for line in lines))
        yield f"  subsets: {{methods: {methods}, {sizes}, seeds: {n_seeds}}}"
        yield f"  measures: {measures}"


def _study_measure(measure: Measure, variant: Variant | None) -> str:
    if measure != "accuracy":
        return f"{{measure: {measure}}}"
    solver, protocol = ("sgd", "paper") if variant is None or variant.protocol == "imported" else (
        variant.solver, variant.protocol
    )  # fmt: skip
    return f"{{measure: accuracy, solver: {solver}, protocol: {protocol}}}"


def _source(zoo: str | None, name: str) -> str:
    return name if zoo is None else f"zoo:{zoo}"


def _listed(values: Mapping[str, None] | tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:g}' if isinstance(value, float) else str(value) for value in values)}]"


def _what(line: WantedLine) -> str:
    return "classes" if line.form in ("gini", "cv", "heatmap") else line.measure


def _adds(known: SizeGrid, grid: SizeGrid) -> bool:
    return not (set(grid.fractions) <= set(known.fractions) and set(grid.n_neurons) <= set(known.n_neurons))


def _width(line: WantedLine, found: tuple[FoundLine, ...], widths: Mapping[tuple[str, str | None], int]) -> int:
    """Return the width to count sizes for: what is there, else of the same layer on other data, else the paper's."""
    if found:
        return found[0].curve.key.width
    others = [
        width
        for (model, layer), width in widths.items()
        if model == line.model.role and (line.layer is None or line.layer == layer)
    ]
    # A layer that nobody measured is taken to be wide enough for every fraction of the grid.
    middle = line.layer is not None and line.layer != PENULTIMATE
    return others[0] if others else 100_352 if middle else line.model.width or 2048


def _there(line: WantedLine, found: FoundLine, counts: Mapping[int, int], cells: MeasuredCells) -> int:
    classes = _what(line) == "classes"
    values = cells.class_values.get(found.curve.key, {}) if classes else found.curve.n_values
    return sum(min(values.get(size, 0), n) for size, n in counts.items())
