"""Which of a store's curves play the lines of a recipe, one solver and one protocol at a time. Pure (no I/O).

A curve plays a line if its model, data set, method and layer have names that the line knows. Several may: other ids, a
variant of the method, two models under names of one role. Then each is a line of its own, with what tells it apart in
its label; nothing is ever averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aggregate._labels import id_label, id_pair, shorten, varying
from aggregate._whole import method_name
from aggregate.errors import InvalidOption
from aggregate.recipes.choice import Choice
from aggregate.recipes.declare import Recipe
from aggregate.recipes.measured_cells import CellCurve, MeasuredCells
from aggregate.recipes.wanted import METHOD_LABELS, PENULTIMATE, WantedLine, wanted_lines

_CLASS_FORMS = ("gini", "cv", "heatmap")


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """Probes are comparable within one: a figure has one variant, and no more."""

    solver: str
    """Solver of the probes; empty where a store names none."""
    protocol: str
    """Protocol of the probes; empty where a store names none."""

    def __str__(self) -> str:
        return f"solver {self.solver or '-'}, protocol {self.protocol or '-'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLine:
    """A line of a recipe that a store has."""

    wanted: WantedLine
    """The line."""
    curve: CellCurve
    """What was measured."""
    panel: str
    """Title of its panel."""
    label: str
    """What its colour stands for: a data set, or a network (and method)."""
    style: str
    """What its dashes stand for: a method, where a panel is of a network; else empty."""

    @property
    def name(self) -> str:
        """Key of its look: label and style."""
        return f"{self.label} | {self.style}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A recipe and a store, for one variant: what is there for each line."""

    recipe: Recipe
    """The recipe."""
    choice: Choice
    """What was chosen."""
    variant: Variant | None
    """Solver and protocol of its probes; None where it has none."""
    estimator: str | None
    """Estimator of its CKA; None: the biased one, or no CKA."""
    wanted: tuple[WantedLine, ...]
    """Every line."""
    found: tuple[FoundLine, ...]
    """Those that are there, in the order of the lines."""

    def of(self, line: WantedLine) -> tuple[FoundLine, ...]:
        """Return what plays a line."""
        return tuple(found for found in self.found if found.wanted is line)


def variants(recipe: Recipe, cells: MeasuredCells, choice: Choice) -> tuple[Variant, ...]:
    """Return the solvers and protocols under which a store has something of a recipe, sorted; none for CKA alone."""
    found = {
        _variant(curve)
        for line in wanted_lines(recipe, cells, choice)
        if line.measure == "accuracy"
        for curve in _candidates(line, cells, choice)
    }
    return tuple(sorted(found))


def match(recipe: Recipe, cells: MeasuredCells, choice: Choice) -> Match:
    """Match a recipe with a store that has it under one solver and protocol.

    Parameters
    ----------
    choice
        As `Choice.checked` returns it.

    Raises
    ------
    InvalidOption
        If there are several solvers or protocols; the message lists them.
    """
    several = variants(recipe, cells, choice)
    if len(several) > 1:
        listed = "; ".join(str(variant) for variant in several)
        raise InvalidOption(
            f"{recipe.name} is drawn for one solver and protocol at a time, and these results have {len(several)}: "
            f"{listed}. Give solver and protocol."
        )
    return match_variant(recipe, cells, choice, several[0] if several else None)


def match_variant(recipe: Recipe, cells: MeasuredCells, choice: Choice, variant: Variant | None) -> Match:
    """Match a recipe with what a store has under one solver and protocol."""
    wanted = tuple(wanted_lines(recipe, cells, choice))
    estimator = _estimator(wanted, cells, choice)
    found: list[FoundLine] = []
    for line in wanted:
        curves = [
            curve
            for curve in _candidates(line, cells, choice)
            if (_variant(curve) == variant if line.measure == "accuracy" else curve.key.protocol == estimator)
        ]
        found += _named(line, curves)
    return Match(recipe=recipe, choice=choice, variant=variant, estimator=estimator, wanted=wanted, found=tuple(found))


def _candidates(line: WantedLine, cells: MeasuredCells, choice: Choice) -> list[CellCurve]:
    models, datasets = choice.model_names(line.model), choice.dataset_names(line.dataset)
    curves = [
        curve
        for curve in cells.of(line.measure)
        if (curve.key.model or "").casefold() in models
        and (curve.key.dataset or "").casefold() in datasets
        and method_name(curve.key.method) in line.methods
        and curve.size.size
        and (line.measure != "accuracy" or choice.solver in (None, curve.key.solver))
        and (line.measure != "accuracy" or choice.protocol in (None, curve.key.protocol))
    ]
    if line.form in _CLASS_FORMS:
        curves = [curve for curve in curves if curve.key in cells.class_values]
    if line.layer is not None:
        names = (line.layer, line.layer.removesuffix(".act3"))
        return [curve for curve in curves if curve.key.layer in names]
    last = [curve for curve in curves if curve.key.layer == PENULTIMATE]
    return last or curves


def _variant(curve: CellCurve) -> Variant:
    return Variant(curve.key.solver or "", curve.key.protocol or "")


def _estimator(wanted: Sequence[WantedLine], cells: MeasuredCells, choice: Choice) -> str | None:
    """Return the estimator of CKA that is drawn: the paper's biased one (None) where it is there."""
    found = {
        curve.key.protocol
        for line in wanted
        if line.measure != "accuracy"
        for curve in _candidates(line, cells, choice)
    }
    return None if not found or None in found else sorted(name for name in found if name is not None)[0]


def _named(line: WantedLine, curves: Sequence[CellCurve]) -> list[FoundLine]:
    keys = [curve.key._asdict() for curve in curves]
    apart = varying(keys, ("model", "dataset", "layer", "method"))
    short = shorten(identity for key in keys for identity in id_pair(key))
    named: list[FoundLine] = []
    for curve, key in zip(curves, keys, strict=True):
        rivals = {id_pair(other) for other in keys if all(other[name] == key[name] for name in apart)}
        model = line.model.label
        if "model" in apart:
            model = f"{model} ({key['model']})"
        if line.panel_by == "layer":
            where = str(key["layer"])
        else:
            where = model if key["layer"] in (None, PENULTIMATE) else f"{model}/{key['layer']}"
        dataset = f"{line.dataset.label} ({key['dataset']})" if "dataset" in apart else line.dataset.label
        method = str(key["method"])
        said = METHOD_LABELS.get(method, method)
        identity = id_label(id_pair(key), rivals, short)
        if line.panel_by == "dataset":
            panel, label, style = dataset, f"{where}, {said}" if line.names_method or "method" in apart else where, ""
        elif line.panel_by == "cell":
            panel = "\n".join([where, f"{dataset}, {said}"])
            label, style = panel, ""
        else:
            own = line.panel_by == "layer" and line.model.zoo is None
            panel = f"{line.model.label}/{where}" if own else where
            label, style = dataset, said if line.names_method or "method" in apart else ""
        if line.panel_by == "cell":
            panel = ", ".join(filter(None, [panel, identity]))
        else:
            label = ", ".join(filter(None, [label, identity]))
        named.append(FoundLine(wanted=line, curve=curve, panel=panel, label=label, style=style))
    return named
