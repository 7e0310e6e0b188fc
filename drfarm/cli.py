"""The command. It parses, calls one public function, prints; no module imports it."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from drfarm import _cli_answers, _cli_farm, _cli_zoo, _show
from drfarm._cli_options import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    BatchSize,
    DecodeWorkers,
    Device,
    Gpus,
    MemoryLimit,
    OutFolder,
    ProbeDevice,
    Quiet,
    Scheduler,
    ShardText,
    StoreUrl,
    StudyFile,
    Workers,
    beside,
    run_options,
)
from drfarm._cli_store import import_app, store_app
from drfarm._version import __version__
from drfarm.errors import JobsFailed
from drfarm.progress import TerminalReporter, duration
from drfarm.study import load_study
from store import DrfarmError

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
    batch_size: BatchSize = None,
    device: Device = "auto",
    decode_workers: DecodeWorkers = None,
    gpus: Gpus = None,
    scheduler: Scheduler = None,
    probe_device: ProbeDevice = "cpu",
    quiet: Quiet = False,
) -> None:
    """Extract, probe and aggregate: everything a study asks for that is not done yet."""
    options = run_options(
        study,
        workers=workers,
        memory_limit=memory_limit,
        batch_size=batch_size,
        device=device,
        decode_workers=decode_workers,
        gpus=gpus,
        scheduler=scheduler,
        probe_device=probe_device,
    )
    _run(study, store, ("extract", "probe"), options, quiet=quiet, out=out, show=True)


@app.command()
def extract(
    study: StudyFile,
    store: StoreUrl = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    decode_workers: DecodeWorkers = None,
    gpus: Gpus = None,
    shard: ShardText = None,
    scheduler: Scheduler = None,
    quiet: Quiet = False,
) -> None:
    """Run the networks over the data sets and keep the activations (stage 1).

    One process for each GPU of this machine; with --shard one part of it, for a job array; with --scheduler on the
    GPU workers of a running cluster.
    """
    options = run_options(
        study,
        batch_size=batch_size,
        device=device,
        decode_workers=decode_workers,
        gpus=gpus,
        shard=shard,
        scheduler=scheduler,
    )
    _run(study, store, ("extract",), options, quiet=quiet)


@app.command()
def probe(
    study: StudyFile,
    store: StoreUrl = None,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
    scheduler: Scheduler = None,
    probe_device: ProbeDevice = "cpu",
    quiet: Quiet = False,
) -> None:
    """Measure the subsets on the activations that are in the store (stage 2)."""
    options = run_options(
        study, workers=workers, memory_limit=memory_limit, scheduler=scheduler, probe_device=probe_device
    )
    _run(study, store, ("probe",), options, quiet=quiet)


@app.command()
def aggregate(study: StudyFile, store: StoreUrl = None, out: OutFolder = None) -> None:
    """Reduce the results to a DR table and figures (stage 3)."""
    _aggregate(study, store, out)


@app.command()
def plan(study: StudyFile, store: StoreUrl = None, scheduler: Scheduler = None) -> None:
    """Show what would run and what is done: forwards, bytes, tasks, predicted time. Starts nothing."""
    from drfarm._show_plan import plan_text
    from drfarm.farm import cluster_workers
    from drfarm.planning import plan_study

    cluster = None if scheduler is None else cluster_workers(scheduler)
    with beside(study):
        typer.echo(plan_text(plan_study(load_study(study), store_url=store), cluster))


@app.command()
def status(study: StudyFile, store: StoreUrl = None) -> None:
    """Show how far each stage is, from the store alone, and what failed."""
    from drfarm.planning import plan_study
    from drfarm.status import status as study_status

    with beside(study):
        planned = plan_study(load_study(study), store_url=store)
        stages, failures = study_status(planned)
    typer.echo(_show.status_text(stages, failures, grows=planned.grows))


app.command(name="query")(_cli_answers.query)
app.command(name="table")(_cli_answers.table)
app.command(name="figure")(_cli_answers.figure)
app.add_typer(import_app, name="import")
app.add_typer(store_app, name="store")
app.command(name="models")(_cli_zoo.models)
app.command(name="datasets")(_cli_zoo.datasets)
app.command(name="scheduler")(_cli_farm.scheduler)
app.command(name="worker")(_cli_farm.worker)


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
    _run(study, None, ("extract", "probe"), run_options(study), quiet=quiet, show=True)


def _run(
    study: Path,
    store: str | None,
    stages: tuple[str, ...],
    options: Any,
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
    if options.shard is not None:
        typer.echo(_show.shard_text(options.shard, report))
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

    with beside(study):
        planned = plan_study(load_study(study), store_url=store)
    results = study_results(planned)
    folder = out or _show.default_folder(planned.store_url, planned.study.study)
    files = write_outputs(results, folder)
    typer.echo(_show.redundancy_text(results.redundancy))
    typer.echo(f"\nTable and figures: {', '.join(f.name for f in files)} in {folder}")
