"""``drfarm store ...`` and ``drfarm import ...``: looking into a store, checking and tidying it, taking results in."""

from pathlib import Path
from typing import Annotated

import typer

from drfarm import _show
from drfarm._cli_options import EXIT_FAILED, NeededStore
from store import open_store as open_plain_store
from store import verify as verify_store

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


@store_app.command(name="ls")
def store_ls(store: NeededStore) -> None:
    """List the representations."""
    typer.echo(_show.catalogue_text(open_plain_store(store).features.catalogue()))


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
