"""``drfarm report``: one HTML page about a study or a store."""

from pathlib import Path
from typing import Annotated

import typer

from drfarm._cli_options import StoreUrl, beside
from store import InvalidRequest


def report(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]", help="A study; or give --store.")] = None,
    store: StoreUrl = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The HTML file to write.")] = Path(
        "report.html"
    ),
    title: Annotated[str | None, typer.Option("--title", help="Instead of the study's or the store's name.")] = None,
) -> None:
    """Write one HTML page: findings, DR table, curves, cost, provenance, failures, how to reproduce.

    The page holds everything that it shows: it needs no network and no server, and can be mailed.
    """
    from drfarm.reporting import report as write_report

    if study is None:
        if store is None:
            raise InvalidRequest("give a study file, or a store with --store.")
        typer.echo(write_report(store, out, title=title))
        return
    from drfarm.study import load_study

    with beside(study):
        typer.echo(write_report(load_study(study), out, store=store, study_file=study, title=title))
