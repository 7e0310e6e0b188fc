"""The paper's figures from a store: reading what they need, drawing all that is there, saying what is not."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from aggregate import save_figure
from aggregate.recipes import (
    FIGURES,
    RECIPES,
    Choice,
    MeasuredCells,
    Missing,
    draw_match,
    match_variant,
    missing_by_variant,
    missing_text,
    variants,
)
from aggregate.save import FigureFormat
from drfarm.outputs import make_folder, rows_of_study
from drfarm.planning import StudyPlan
from store import InvalidRequest, Store
from store.schema import CKA, PROBES

_CLASS_FORMS = ("gini", "cv", "heatmap")
_ROW = "row_in_table"
_OWN = (
    "The paper's networks and data sets are known by the zoo's names; `--as ROLE=MODEL` names others, and `--models "
    "all` draws the same figure with the models of the store."
)


def read_cells(store: Store, plan: StudyPlan | None, names: Sequence[str]) -> MeasuredCells:
    """Read the results that some recipes need, of a study (under its own names) or of the whole store.

    Parameters
    ----------
    names
        Recipes; lists of class accuracies are read only if one of them needs them.
    """
    with_classes = any(block.form in _CLASS_FORMS for name in names for block in RECIPES[name].blocks)
    narrow = [name for name in PROBES.names if name not in ("class_accuracy", "predicted_count")]
    probes = store.results.table("probes", columns=[*narrow, *(["class_accuracy"] if with_classes else [])])
    cka = store.results.table("cka", columns=CKA.names)
    if plan is not None:
        # Arrow's joins carry no lists: their rows are looked up afterwards.
        rows = pa.array(np.arange(probes.num_rows))
        kept, cka = rows_of_study(plan, probes.select(narrow).append_column(_ROW, rows), cka)
        lists = probes["class_accuracy"].take(kept[_ROW]) if with_classes else None
        probes = kept.drop_columns([_ROW])
        if lists is not None:
            probes = probes.append_column("class_accuracy", lists)
    return MeasuredCells(probes, cka)


def write_recipes(
    names: Sequence[str],
    cells: MeasuredCells,
    choice: Choice,
    folder: Path,
    *,
    formats: Sequence[FigureFormat],
    log_x: bool,
) -> list[Path]:
    """Draw recipes into a folder: one figure for each solver and protocol that has anything of one; return the files.

    A figure is `NAME`, or `NAME-SOLVER-PROTOCOL` where there are several. Recipes that have nothing are passed over.

    Parameters
    ----------
    choice
        As `Choice.checked` returns it.
    """
    make_folder(folder)
    files: list[Path] = []
    for name in names:
        recipe = RECIPES[name]
        several = variants(recipe, cells, choice)
        for variant in several or (None,):
            matched = match_variant(recipe, cells, choice, variant)
            if not matched.found:
                continue
            stem = name
            if variant is not None and len(several) > 1:
                stem = "-".join([name, _file_name(variant.solver), _file_name(variant.protocol)])
            files += save_figure(draw_match(matched, cells, log_x=log_x), folder / stem, formats)
    return files


def figures_of(names: Sequence[str], cells: MeasuredCells, choice: Choice) -> list[str]:
    """Return the figures among some names (`all`: every one that has anything in the store).

    Raises
    ------
    InvalidRequest
        If one that was named, or every one, has nothing; says what is missing of it, and how to draw others.
    """
    if "all" not in names:
        for name in dict.fromkeys(names):
            lacks = missing_by_variant(RECIPES[name], cells, choice)
            if all(lack.state == "nothing" for lack in lacks):
                raise InvalidRequest(
                    f"nothing of {name} is there. {missing_text(lacks[0])}\n{_other_ways(cells, choice)}"
                )
        return list(dict.fromkeys(names))
    found = [
        name
        for name in FIGURES
        if any(lack.state != "nothing" for lack in missing_by_variant(RECIPES[name], cells, choice))
    ]
    if not found:
        raise InvalidRequest(f"nothing of any figure of the paper is there. {_other_ways(cells, choice)}")
    return found


def missing_texts(names: Sequence[str], cells: MeasuredCells, choice: Choice) -> list[str]:
    """Say for each recipe, and each solver and protocol, what is there and what would fill it."""
    return [missing_text(lack) for name in names for lack in missing_by_variant(RECIPES[name], cells, choice)]


def recipe_rows(cells: MeasuredCells, choice: Choice, names: Sequence[str] = tuple(RECIPES)) -> list[tuple[str, ...]]:
    """Return a row for each recipe: name, state, jobs that are there and that the paper's grid has, title.

    Of several solvers and protocols the fullest counts.
    """
    rows: list[tuple[str, ...]] = []
    for name in names:
        best = max(missing_by_variant(RECIPES[name], cells, choice), key=_worth)
        rows.append((name, best.state, f"{best.n_there:,} of {best.n_wanted:,}", RECIPES[name].title))
    return rows


def _worth(lack: Missing) -> tuple[int, int]:
    return ("nothing", "partly", "complete").index(lack.state), lack.n_there


def _other_ways(cells: MeasuredCells, choice: Choice) -> str:
    if choice.is_own:
        return "Among the models and data sets that were named, nothing was measured that the figure shows."
    models = ", ".join(cells.models) or "none"
    return f"{_OWN} Models with results here: {models}; data sets: {', '.join(cells.datasets) or 'none'}."


def _file_name(word: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", word) or "none"
