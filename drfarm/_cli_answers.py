"""``drfarm query``, ``table`` and ``figure``: asking a store what was measured."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drfarm import _show
from drfarm._cli_options import NeededStore, StoreUrl, beside
from drfarm.study import load_study
from store import InvalidRequest
from store import open_store as open_plain_store


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A SELECT over representations, probes, cka, redundancy.")],
    store: NeededStore,
    output_format: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option("--format", help="How to print it.")
    ] = "table",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it here; parquet needs this.")
    ] = None,
) -> None:
    """Ask the results in SQL (DuckDB's); read-only.

    Example: drfarm query --store S "SELECT model, dataset, dr, ci_low, ci_high FROM redundancy WHERE rule = 'strict'"
    """
    from drfarm.api import open_store

    table = open_store(store).query(sql)
    _show.write_query(table, output_format, out)


def table(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]", help="A study; or give --store.")] = None,
    store: StoreUrl = None,
    output_format: Annotated[Literal["csv", "md", "tex"], typer.Option("--format", help="How to write it.")] = "md",
    rule: Annotated[
        Literal["strict", "nearest", "interpolated"],
        typer.Option("--rule", help="strict: Eq. 1; nearest: as Table 1 of the paper; interpolated."),
    ] = "strict",
    delta: Annotated[list[float] | None, typer.Option("--delta", help="Threshold; may be given several times.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it here.")] = None,
) -> None:
    """Print the DR table of a study, or of a whole store."""
    import aggregate as aggregation
    from drfarm.outputs import write_text

    results = _results(study, store, tuple(delta or ()))
    text = aggregation.redundancy_table(results.redundancy, output_format, rule=rule)
    if out is None:
        typer.echo(text.rstrip("\n"))
    else:
        typer.echo(write_text(out, text))


def figure(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]", help="A study; or give --store.")] = None,
    store: StoreUrl = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the figures go.")] = Path(),
) -> None:
    """Draw accuracy and CKA against the fraction of neurons, as PNG and PDF."""
    from drfarm.outputs import write_figures

    for file in write_figures(_results(study, store, ()), out):
        typer.echo(file)


def _results(study: Path | None, store: str | None, deltas: tuple[float, ...]) -> Any:
    from drfarm.api import DEFAULT_DELTAS
    from drfarm.outputs import store_results, study_results
    from drfarm.planning import plan_study

    if study is None:
        if store is None:
            raise InvalidRequest("give a study file, or a store with --store.")
        return store_results(open_plain_store(store), deltas or DEFAULT_DELTAS)
    loaded = load_study(study)
    if deltas:
        loaded = loaded.model_copy(update={"deltas": deltas})
    with beside(study):
        return study_results(plan_study(loaded, store_url=store))
