"""``drfarm store ...`` and ``drfarm import ...``: looking into a store, checking and tidying it, taking results in."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from drfarm import _show
from drfarm._cli_options import EXIT_FAILED, NeededStore
from drfarm.study import load_study
from store import InvalidRequest
from store import open_store as open_plain_store
from store import verify as verify_store

Names = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only these; a pattern such as resnet*; several times.")
]

import_app = typer.Typer(no_args_is_help=True, help="Take in results that were measured elsewhere.")
store_app = typer.Typer(no_args_is_help=True, help="Look into a store, check it, tidy it.")


@import_app.command(name="results")
def import_results_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Columns as in the view probes.")],
    store: NeededStore,
) -> None:
    """Take in accuracies from a CSV file; the same file again changes nothing."""
    from drfarm.imports import import_results

    n_new = import_results(file, store)
    typer.echo(f"{n_new} new results of {file} are in {store}.")


@import_app.command(name="archive")
def import_archive_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `drfarm store export` wrote.")],
    store: NeededStore,
) -> None:
    """Take in what another store exported; the same archive again changes nothing."""
    from drfarm.export import import_archive, imported_text

    typer.echo(imported_text(import_archive(file, store), store))


@store_app.command(name="ls")
def store_ls(
    store: NeededStore,
    model: Names = None,
    layer: Names = None,
    dataset: Names = None,
    split: Names = None,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Only those that are not complete.")] = False,
    gathered: Annotated[
        bool, typer.Option("--gathered", help="Only those of which some of the layer's neurons are stored.")
    ] = False,
    output_format: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="How to print it.")
    ] = "table",
) -> None:
    """List the representations, and what they take; filters are names, or patterns such as "resnet*"."""
    from drfarm._show_answer import answer_bytes
    from drfarm.asking import nothing_measured
    from drfarm.catalogue import catalogue_table, catalogue_text

    opened = open_plain_store(store)
    infos = opened.features.catalogue()
    asked = {"model": model, "layer": layer, "dataset": dataset, "split": split}
    filters = {name: wanted for name, wanted in asked.items() if wanted}
    table = catalogue_table(infos, filters if infos else {}, incomplete=incomplete, gathered=gathered)
    if output_format != "table":
        typer.echo(answer_bytes(table, output_format).decode(), nl=False)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(catalogue_text(table, n_all=len(infos), width=width))
    if not infos:
        why = nothing_measured(opened)
        told = "its results were measured elsewhere, or their features are not kept." if why is None else why
        typer.echo(f"drfarm: note: {told}", err=True)


@store_app.command(name="export")
def store_export(
    store: NeededStore,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where it goes: .tar, .tar.zst or .tar.gz.")],
    study: Annotated[
        Path | None, typer.Option("--study", metavar="STUDY", help="Only what this study (its file) names.")
    ] = None,
    study_name: Annotated[
        str | None, typer.Option("--study-name", metavar="NAME", help="The same, by the study's name.")
    ] = None,
    without_features: Annotated[
        bool, typer.Option("--without-features", help="Leave the activations out: results only.")
    ] = False,
) -> None:
    """Write a study, or all that is finished, into one file that `drfarm import archive` takes into another store."""
    from drfarm.export import export_archive, exported_text

    if study is not None and study_name is not None:
        raise InvalidRequest("give either --study STUDY or --study-name NAME.")
    name = load_study(study).study if study is not None else study_name
    typer.echo(exported_text(export_archive(store, out, study=name, features=not without_features), out))


@store_app.command(name="info")
def store_info(store: NeededStore) -> None:
    """Count what is in the store."""
    typer.echo(_show.info_text(open_plain_store(store)))


@store_app.command(name="verify")
def store_verify(
    store: NeededStore,
    discard: Annotated[
        bool, typer.Option("--discard", help="Forget what is bad, so that the next run makes it anew.")
    ] = False,
) -> None:
    """Re-read everything and name each bad chunk or file."""
    n_checked, problems = 0, []
    for checked in verify_store(open_plain_store(store)):
        n_checked += 1
        if checked.problem is not None:
            problems.append(checked.problem)
            typer.echo(f"bad {checked.problem.kind}: {checked.problem.name}\n    {checked.problem.reason}")
            if discard:
                checked.problem.discard()
    typer.echo(f"{n_checked} objects were read again, {len(problems)} are bad.")
    if problems:
        done = "They are forgotten: run" if discard else "Forget them with --discard, then run"
        typer.echo(f"{done} the study again to make them anew.")
        raise typer.Exit(EXIT_FAILED)


@store_app.command(name="compact")
def store_compact(store: NeededStore) -> None:
    """Merge the many small results files into a few; run one at a time."""
    from store.schema import KINDS

    opened = open_plain_store(store)
    for kind in KINDS:
        typer.echo(f"{kind}: {opened.results.compact(kind)} files were merged.")


@store_app.command(name="gc")
def store_gc(
    store: NeededStore,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="STUDY", help="A study that keeps nothing any more; several times."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without this it is only shown.")] = False,
) -> None:
    """Show what no study names: features, their statistics, what was left half-made; with --yes, remove it."""
    from drfarm.collect import carry_out, collection_text, plan_collection

    opened = open_plain_store(store)
    collection = plan_collection(opened, without=tuple(forget or ()))
    typer.echo(collection_text(collection))
    if yes:
        removed = carry_out(opened, collection)
        typer.echo(f"{len(removed)} removed, {_show.size(sum(r.n_bytes for r in removed))} are free.")
