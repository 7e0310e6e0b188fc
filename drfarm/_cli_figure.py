"""``drfarm figure``: accuracy and CKA of a study, or any figure of the paper by its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from drfarm._cli_answers import names_and_study, pairs_of_roles, read_results
from drfarm._cli_options import StoreUrl, beside
from drfarm.study import load_study
from store import InvalidRequest, UnknownName
from store import open_store as open_plain_store

if TYPE_CHECKING:
    from aggregate.recipes import Choice, MeasuredCells

_FORMATS: Final = ("png", "pdf", "svg")
_Models = Annotated[
    list[str] | None,
    typer.Option(
        "--models", metavar="NAME|all", help="Draw these models of the store, or all, instead of the paper's."
    ),
]
_Datasets = Annotated[
    list[str] | None,
    typer.Option("--datasets", metavar="NAME|all", help="Data sets instead of the paper's; with --models: all."),
]
_Roles = Annotated[
    list[str] | None,
    typer.Option("--as", metavar="ROLE=NAME", help="A model or data set that plays one of the paper: resnet50=mine."),
]
_Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="strict|nearest|interpolated",
        help="DR of the paper's figures; several are drawn together. By default strict (Eq. 1).",
    ),
]
_Formats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="png|pdf|svg", help="May be given several times; by default png and pdf."),
]


def figure(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME ...] [STUDY]", help="fig1 to fig22, or all; a study, or give --store."),
    ] = None,
    store: StoreUrl = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the figures go.")] = Path(),
    models: _Models = None,
    datasets: _Datasets = None,
    layers: Annotated[
        list[str] | None, typer.Option("--layer", metavar="NAME", help="Layer instead of the penultimate one.")
    ] = None,
    roles: _Roles = None,
    solver: Annotated[str | None, typer.Option("--solver", help="Only probes of this solver.")] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help="Only probes under this protocol.")] = None,
    rules: _Rules = None,
    formats: _Formats = None,
    linear: Annotated[bool, typer.Option("--linear", help="Number of neurons on a linear axis.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the paper's figures and how much of each is there.")
    ] = False,
    lacking: Annotated[
        bool, typer.Option("--missing", help="Say what is missing of the figures that are named; draw nothing.")
    ] = False,
) -> None:
    """Draw accuracy and CKA against the fraction of neurons, or figures of the paper by name.

    Without a name: accuracy, methods and CKA of the study. With names (fig1 ... fig22, all): the paper's figures, as
    far as the store has them; see docs/figures.md.

    Examples: drfarm figure study.yaml -o figures; drfarm figure fig4 fig15 --store S -o figures;
    drfarm figure fig1 study.yaml --models all
    """
    from aggregate.recipes import FIGURES, RECIPES, Choice

    for name in formats or ():
        if name not in _FORMATS:
            raise UnknownName.among("format", name, _FORMATS, where="--format")
    names, study = names_and_study(what or [], {*RECIPES, "all"}, "figure")
    if "table1" in names:
        raise InvalidRequest("table1 is a table, not a figure: `drfarm table table1`.")
    chosen: dict[str, Any] = {
        "--models": models,
        "--datasets": datasets,
        "--layer": layers,
        "--as": roles,
        "--solver": solver,
        "--protocol": protocol,
        "--rule": rules,
        "--linear": linear,
        "--missing": lacking,
    }
    given = [option for option, value in chosen.items() if value]
    if not names and not listed:
        if given:
            raise InvalidRequest(
                f"{given[0]} is for the figures of the paper: name some, {FIGURES[0]} to {FIGURES[-1]}, or all."
            )
        _general(study, store, out, tuple(formats or ("png", "pdf")))
        return
    needed = list(RECIPES) if listed or "all" in names else names
    cells = _cells(study, store, needed)
    choice = Choice(
        solver=solver,
        protocol=protocol,
        roles=pairs_of_roles(roles or ()),
        models=_split(models),
        datasets=_split(datasets),
        layers=_split(layers),
        rules=tuple(rules or ("strict",)),  # type: ignore[arg-type]
    ).checked(cells)
    _paper(names, cells, choice, out, formats=formats or ["png", "pdf"], linear=linear, listed=listed, lacking=lacking)


def _general(study: Path | None, store: str | None, out: Path, formats: tuple[Any, ...]) -> None:
    from drfarm.outputs import write_figures

    for file in write_figures(read_results(study, store, ()), out, formats):
        typer.echo(file)


def _paper(
    names: Sequence[str],
    cells: "MeasuredCells",
    choice: "Choice",
    out: Path,
    *,
    formats: Sequence[Any],
    linear: bool,
    listed: bool,
    lacking: bool,
) -> None:
    from aggregate.recipes import FIGURES
    from drfarm._show import text_table
    from drfarm.recipes import figures_of, missing_texts, recipe_rows, write_recipes

    if listed:
        typer.echo(text_table(("figure", "there", "jobs", "what it shows"), recipe_rows(cells, choice)))
        return
    if lacking:
        typer.echo("\n\n".join(missing_texts(FIGURES if "all" in names else names, cells, choice)))
        return
    drawn = figures_of(names, cells, choice)
    for file in write_recipes(drawn, cells, choice, out, formats=formats, log_x=not linear):
        typer.echo(file)
    rows = [row for row in recipe_rows(cells, choice, drawn) if row[1] != "complete"]
    if rows and not choice.is_own:
        lines = text_table(("figure", "there", "jobs", "what it shows"), rows)
        typer.echo(f"\nNot complete (`--missing` says what would fill it):\n{lines}", err=True)


def _cells(study: Path | None, store: str | None, names: Sequence[str]) -> "MeasuredCells":
    from drfarm.planning import plan_study
    from drfarm.recipes import read_cells

    if study is None:
        if store is None:
            raise InvalidRequest("give a study file, or a store with --store.")
        return read_cells(open_plain_store(store), None, names)
    with beside(study):
        plan = plan_study(load_study(study), store_url=store)
        return read_cells(open_plain_store(plan.store_url), plan, names)


def _split(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if not names else tuple(part for name in names for part in name.split(",") if part)
