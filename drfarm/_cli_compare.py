"""``drfarm compare``: whether one is more redundant than the other, and how sure that is."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from drfarm._cli_options import StoreUrl

_OPERAND = "A model, model/layer, names such as model=...,method=..., or a study file."


def compare_command(
    a: Annotated[str, typer.Argument(metavar="A", help=_OPERAND)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other; what only one of them says holds for both.")],
    store: StoreUrl = None,
    delta: Annotated[list[float] | None, typer.Option("--delta", help="Threshold; may be given several times.")] = None,
    rule: Annotated[
        Literal["strict", "nearest", "interpolated"],
        typer.Option("--rule", help="strict: Eq. 1; nearest: as Table 1 of the paper; interpolated."),
    ] = "strict",
    at: Annotated[
        Literal["k", "fraction"] | None,
        typer.Option("--at", help="Compare accuracy and CKA at equal k or equal fraction, instead of DR."),
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", min=0.0, max=1.0, help="Level of each interval.")] = 0.95,
    holm: Annotated[
        bool, typer.Option("--holm", help="Adjust p and verdicts for all rows at once (Holm's method).")
    ] = False,
    output_format: Annotated[
        Literal["table", "csv", "json", "md"], typer.Option("--format", help="How to write it.")
    ] = "table",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it here.")] = None,
) -> None:
    """Compare two models, layers, methods or studies: the difference of DR, its interval, and a verdict in words.

    Example: drfarm compare resnet50 resnet50-robust --store S --delta 0.9
    """
    from drfarm._show_comparison import comparison_text
    from drfarm.comparison import compare
    from drfarm.outputs import write_text

    found = compare(a, b, store=store, deltas=delta, rule=rule, at=at, confidence=confidence, adjust=holm)
    text = comparison_text(found, output_format)
    if out is None:
        typer.echo(text.rstrip("\n"))
    else:
        typer.echo(write_text(out, text))
