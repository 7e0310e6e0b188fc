"""The command. It parses, calls one public function, prints; no module imports it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from drfarm import _show
from drfarm._version import __version__
from drfarm.errors import JobsFailed
from drfarm.farm import FarmOptions
from drfarm.progress import TerminalReporter, duration
from drfarm.study import load_study
from store import DrfarmError, InvalidRequest
from store import open_store as open_plain_store
from store import verify as verify_store

if TYPE_CHECKING:
    from drfarm.running import RunOptions

EXIT_FAILED, EXIT_WRONG, EXIT_INTERRUPTED = 1, 2, 130

# Newer typers carry a click of their own, older ones use the installed one: the root of what is wrong with a command
# line is found from one that they hand out, whichever it is.
_CommandLineError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="drfarm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help=(
        "Measure diffused redundancy: how many randomly chosen neurons of a layer do the work of the whole layer.\n\n"
        "A study file says which models, layers, data sets and subsets. `drfarm run STUDY` extracts their "
        "activations once, probes them in parallel, and writes a table and figures. Everything is kept in a store; "
        "interrupt at any time and run again.\n\n"
        "Exit codes: 0 done; 1 some jobs failed (named, the rest is done); 2 the request was wrong (nothing started); "
        "130 interrupted (safe to run again)."
    ),
)
import_app = typer.Typer(no_args_is_help=True, help="Take in results that were measured elsewhere.")
store_app = typer.Typer(no_args_is_help=True, help="Look into a store, check it, tidy it.")
app.add_typer(import_app, name="import")
app.add_typer(store_app, name="store")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study file (YAML; see docs/study.md).")]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="Instead of the study's store: a folder or s3://..."),
]
NeededStore = Annotated[str, typer.Option("--store", metavar="URL", help="The store: a folder or s3://...")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Worker processes; by default one for each core.")
]
MemoryLimit = Annotated[
    str | None, typer.Option("--memory-limit", metavar="SIZE", help="Memory of one worker, such as 4GiB.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images of one forward pass.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where networks run.")]
ProbeDevice = Annotated[
    Literal["cpu", "cuda"],
    typer.Option("--probe-device", help="Where probes are fitted; the workers share one GPU."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
OutFolder = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Where the table and figures go.")
]


def main() -> None:
    """Run the command and leave with its exit code."""
    try:
        code = app(prog_name="drfarm", standalone_mode=False) or 0
    except _CommandLineError as e:
        e.show()
        code = EXIT_WRONG
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except DrfarmError as e:
        typer.echo(f"drfarm: {e}", err=True)
        code = EXIT_FAILED if isinstance(e, JobsFailed) else EXIT_WRONG
    except BrokenPipeError:
        os._exit(0)
    if code == EXIT_INTERRUPTED:  # newer typers return it where older ones raise Abort
        typer.echo("\ninterrupted: what is finished is kept; run the same command again to go on.", err=True)
        # Threads of the farm may still be closing; nothing they hold is needed.
        sys.stderr.flush()
        os._exit(EXIT_INTERRUPTED)
    sys.exit(code)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"drfarm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


@app.command(name="run")
def run_command(
    study: StudyFile,
    store: StoreUrl = None,
    out: OutFolder = None,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
    batch_size: BatchSize = 64,
    device: Device = "auto",
    probe_device: ProbeDevice = "cpu",
    quiet: Quiet = False,
) -> None:
    """Extract, probe and aggregate: everything a study asks for that is not done yet."""
    options = _options(study, workers, memory_limit, batch_size=batch_size, device=device, probe_device=probe_device)
    _run(study, store, ("extract", "probe"), options, quiet=quiet, out=out, show=True)


@app.command()
def extract(
    study: StudyFile,
    store: StoreUrl = None,
    batch_size: BatchSize = 64,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Run the networks over the data sets and keep the activations (stage 1)."""
    _run(study, store, ("extract",), _options(study, batch_size=batch_size, device=device), quiet=quiet)


@app.command()
def probe(
    study: StudyFile,
    store: StoreUrl = None,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
    probe_device: ProbeDevice = "cpu",
    quiet: Quiet = False,
) -> None:
    """Measure the subsets on the activations that are in the store (stage 2)."""
    _run(study, store, ("probe",), _options(study, workers, memory_limit, probe_device=probe_device), quiet=quiet)


@app.command()
def aggregate(study: StudyFile, store: StoreUrl = None, out: OutFolder = None) -> None:
    """Reduce the results to a DR table and figures (stage 3)."""
    _aggregate(study, store, out)


@app.command()
def plan(study: StudyFile, store: StoreUrl = None) -> None:
    """Show what would run and what is done: forwards, bytes, tasks, predicted time. Starts nothing."""
    from drfarm.planning import plan_study

    with _beside(study):
        typer.echo(_show.plan_text(plan_study(load_study(study), store_url=store)))


@app.command()
def status(study: StudyFile, store: StoreUrl = None) -> None:
    """Show how far each stage is, from the store alone, and what failed."""
    from drfarm.planning import plan_study
    from drfarm.status import status as study_status

    with _beside(study):
        planned = plan_study(load_study(study), store_url=store)
        stages, failures = study_status(planned)
    typer.echo(_show.status_text(stages, failures, grows=planned.grows))


@app.command()
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


@app.command(name="table")
def table_command(
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


@app.command()
def figure(
    study: Annotated[Path | None, typer.Argument(metavar="[STUDY]", help="A study; or give --store.")] = None,
    store: StoreUrl = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the figures go.")] = Path(),
) -> None:
    """Draw accuracy and CKA against the fraction of neurons, as PNG and PDF."""
    from drfarm.outputs import write_figures

    for file in write_figures(_results(study, store, ()), out):
        typer.echo(file)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo's weights, study and store go.")] = Path(
        "demo"
    ),
    quiet: Quiet = False,
) -> None:
    """Quick start: pre-train a small network on scanned digits 0-4, then measure it on 5-9. Needs no network."""
    from drfarm.demo import make_demo

    study = make_demo(folder, TerminalReporter(quiet=quiet))
    _run(study, None, ("extract", "probe"), _options(study), quiet=quiet, show=True)


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


def _options(
    study: Path,
    workers: int | None = None,
    memory_limit: str | None = None,
    *,
    batch_size: int = 64,
    device: str = "auto",
    probe_device: str = "cpu",
) -> "RunOptions":
    from drfarm.running import RunOptions

    return RunOptions(
        batch_size=batch_size,
        device=device,
        probe_device=probe_device,
        farm=FarmOptions(n_workers=workers, memory_limit_bytes=_show.parse_size(memory_limit)),
        python_path=study.absolute().parent,
    )


def _run(
    study: Path,
    store: str | None,
    stages: tuple[str, ...],
    options: "RunOptions",
    *,
    quiet: bool,
    out: Path | None = None,
    show: bool = False,
) -> None:
    from drfarm.running import run

    loaded = load_study(study)
    reporter = TerminalReporter(quiet=quiet)
    report = run(loaded, store=store, stages=stages, options=options, reporter=reporter)
    reporter.message(
        f"{report.n_images:,} images went through a network and {report.n_results:,} results were measured "
        f"in {duration(report.elapsed_s)}."
        if report.n_images or report.n_results or not report.ok
        else f"nothing was left to do ({duration(report.elapsed_s)})."
    )
    if show and not (report.failures and not report.n_results):
        try:
            _aggregate(study, store, out)
        except DrfarmError as e:
            if report.ok:
                raise
            typer.echo(f"drfarm: {e}", err=True)
    if not report.ok:
        raise JobsFailed(_show.failures_text(report))


def _aggregate(study: Path, store: str | None, out: Path | None) -> None:
    from drfarm.outputs import study_results, write_outputs
    from drfarm.planning import plan_study

    with _beside(study):
        planned = plan_study(load_study(study), store_url=store)
    results = study_results(planned)
    folder = out or _show.default_folder(planned.store_url, planned.study.study)
    files = write_outputs(results, folder)
    typer.echo(_show.redundancy_text(results.redundancy))
    typer.echo(f"\nTable and figures: {', '.join(f.name for f in files)} in {folder}")


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
    with _beside(study):
        return study_results(plan_study(loaded, store_url=store))


def _beside(study: Path) -> Any:
    from drfarm.running import importable

    return importable(study.absolute().parent)
