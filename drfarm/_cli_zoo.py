"""``drfarm models`` and ``drfarm datasets``: what can be named, and what of it is on this disk."""

from typing import Annotated

import typer


def models(
    weights_folder: Annotated[
        str | None,
        typer.Option(
            "--weights-folder", metavar="FOLDER", help="Where weights are; by default $DRFARM_WEIGHTS or the cache."
        ),
    ] = None,
) -> None:
    """List the networks of the zoo, with their widths, and whether their weights are there."""
    from drfarm._show_zoo import models_text

    typer.echo(models_text(weights_folder))


def datasets(
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="FOLDER", help="Where data sets are; by default $DRFARM_DATA or the cache."),
    ] = None,
) -> None:
    """List the data sets of the zoo, and whether they are there."""
    from drfarm._show_datasets import datasets_text

    typer.echo(datasets_text(root))
