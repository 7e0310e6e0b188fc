"""The caption of a recipe's figure: what is drawn, over how many seeds, what the band is, and what is missing. Pure."""

from collections.abc import Sequence

from aggregate.recipes._looks import has_whole
from aggregate.recipes.matching import FoundLine, Match
from aggregate.recipes.measured_cells import MeasuredCells
from aggregate.recipes.missing import missing_of
from aggregate.recipes.wanted import WantedLine

_MOST_MISSING = 3
_CURVES = ("fraction", "neurons")


def caption(matched: Match, cells: MeasuredCells, *, has_ends: bool = False) -> str:
    """Write the caption of a figure.

    Parameters
    ----------
    has_ends
        Whether a line of DR ends before the last delta.
    """
    recipe, found = matched.recipe, matched.found
    title = f"Figure {recipe.name.removeprefix('fig')} of the paper"
    if matched.choice.is_own:
        title = f'Models of this store, in the form of {title} ("{recipe.title}").'
    else:
        title = f"{title}. {recipe.title}."
    parts = [title, *_drawn(found), *_forms(matched, has_ends=has_ends), *_protocol(matched, cells)]
    if not matched.choice.is_own:
        if recipe.deviations:
            parts.append(f"What the paper's own figure deviates in: {', '.join(recipe.deviations)}.")
        parts += recipe.notes
    parts += _missing(matched, cells)
    return " ".join(parts)


def _drawn(found: Sequence[FoundLine]) -> list[str]:
    curves = [line for line in found if line.wanted.form in _CURVES]
    if not curves:
        return []
    words = []
    single = [line for line in curves if line.wanted.measure != "cka_pair"]
    pairs = [line for line in curves if line.wanted.measure == "cka_pair"]
    if single:
        words.append(f"Mean over seeds ({_span([int(n) for line in single for n in line.curve.n_seeds])} per point)")
    if pairs:
        counts = [n for line in pairs for n in line.curve.n_values.values()]
        words.append(f"{'mean' if words else 'Mean'} over pairs of seeds ({_span(counts)} per point)")
    text = "; ".join(words)
    if any(line.curve.has_spread for line in curves):
        text += "; band: ± 1 standard deviation (ddof 0)"
    if any(has_whole(line) for line in curves):
        text += "; dotted: whole layer"
    return [f"{text}."]


def _forms(matched: Match, *, has_ends: bool) -> list[str]:
    forms = {line.wanted.form for line in matched.found}
    words = []
    if "delta" in forms:
        meaning = {
            "strict": "strict (Eq. 1)",
            "nearest": "nearest (as the paper's code did)",
            "interpolated": "interpolated",
        }
        rules = [meaning[rule] for rule in matched.choice.rules]
        first = f"DR by the rule {rules[0]}" + (f", dotted: {', '.join(rules[1:])}" if rules[1:] else "")
        words.append(f"{first}; only 1 - k/d of measured k can occur.")
        if has_ends:
            words.append("A cross ends a line where no measured size reaches the next δ.")
    if "gini" in forms or "cv" in forms:
        index = "Gini index" if "gini" in forms else "Standard deviation (ddof 0) over mean"
        words.append(
            f"{index} of the seed-mean accuracies of classes; 0: all alike. One mark per size; insets enlarge a part."
        )
    if "heatmap" in forms:
        words.append("Share of a class's test samples that are right, mean over seeds.")
    return words


def _protocol(matched: Match, cells: MeasuredCells) -> list[str]:
    words = []
    if matched.variant is not None and any(line.wanted.measure == "accuracy" for line in matched.found):
        words.append(f"Probes: {matched.variant}.")
        if matched.variant.protocol == "imported":
            words.append("Imported results may themselves be means over seeds.")
    if any(line.wanted.measure != "accuracy" for line in matched.found):
        words.append(f"CKA: {matched.estimator or 'biased'} estimator.")
    sizes = cells.n_test([line.curve.key for line in matched.found if line.wanted.measure == "accuracy"])
    if sizes:
        listed = ", ".join(f"{'/'.join(f'{n:,}' for n in counts)} ({name})" for name, counts in sizes.items())
        words.append(f"Test samples: {listed}.")
    return words


def _missing(matched: Match, cells: MeasuredCells) -> list[str]:
    lack = missing_of(matched, cells)
    words = []
    absent = [line for line in matched.wanted if not matched.of(line)]
    if absent:
        words.append(f"Not in the store: {_grouped(absent, matched.wanted)}.")
    if not matched.choice.is_own and lack.n_there < lack.n_wanted:
        words.append(f"{lack.n_there:,} of the {lack.n_wanted:,} jobs of the paper's grid are there.")
    return words


def _grouped(absent: Sequence[WantedLine], wanted: Sequence[WantedLine]) -> str:
    """Name lines by data set, those that lack the same ones together; and all of a data set as such."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for dataset in dict.fromkeys(line.dataset.label for line in absent):
        here = tuple(dict.fromkeys(_short(line, wanted) for line in absent if line.dataset.label == dataset))
        lacking.setdefault(here, []).append(dataset)
    words = []
    for names, datasets in lacking.items():
        everything = {_short(line, wanted) for line in wanted if line.dataset.label in datasets}
        where = " and ".join([", ".join(datasets[:-1]), datasets[-1]] if datasets[1:] else datasets)
        if set(names) == everything:
            words.append(where)
            continue
        more = f" and {len(names) - _MOST_MISSING} more" if len(names) > _MOST_MISSING else ""
        words.append(f"{', '.join(names[:_MOST_MISSING])}{more} on {where}")
    return "; ".join(words)


def _short(line: WantedLine, wanted: Sequence[WantedLine]) -> str:
    parts = [line.model.label]
    if line.layer is not None and len({other.layer for other in wanted}) > 1:
        parts.append(line.layer)
    if line.names_method:
        parts.append(line.method)
    if len({other.measure for other in wanted}) > 1:
        parts.append({"accuracy": "accuracy", "cka": "CKA", "cka_pair": "CKA of pairs"}[line.measure])
    return " ".join(parts)


def _span(values: Sequence[int]) -> str:
    low, high = min(values, default=0), max(values, default=0)
    return f"{low}" if low == high else f"{low} to {high}"
