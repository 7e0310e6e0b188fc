"""The command. It parses, calls one public function, prints; no module imports it."""

import os
import sys
from typing import Annotated, Any

import typer

from drfarm import (
    _cli_answers,
    _cli_certs,
    _cli_compare,
    _cli_farm,
    _cli_fidelity,
    _cli_figure,
    _cli_query,
    _cli_report,
    _cli_retry,
    _cli_run,
    _cli_zoo,
)
from drfarm._cli_options import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    ClusterConfig,
    ClusterKind,
    Insecure,
    Scheduler,
    StoreUrl,
    StudyFile,
    Tls,
    beside,
)
from drfarm._cli_store import import_app, store_app
from drfarm._cli_watch import tell_error
from drfarm._version import __version__
from drfarm.errors import JobsFailed
from drfarm.logs import choice_kept, chosen_format
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
    with choice_kept():
        _main()


def _main() -> None:
    try:
        code = app(prog_name="drfarm", standalone_mode=False) or 0
    except _CommandLineError as e:
        if chosen_format() == "json":
            tell_error(f"drfarm: {e.format_message()}")
        else:
            e.show()
        code = EXIT_WRONG
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except DrfarmError as e:
        tell_error(f"drfarm: {e}")
        code = EXIT_FAILED if isinstance(e, JobsFailed) else EXIT_WRONG
    except BrokenPipeError:
        os._exit(0)
    if code == EXIT_INTERRUPTED:  # newer typers return it where older ones raise Abort
        tell_error("\ninterrupted: what is finished is kept; run the same command again to go on.")
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


app.command(name="run")(_cli_run.run_command)
app.command(name="extract")(_cli_run.extract)
app.command(name="probe")(_cli_run.probe)
app.command(name="aggregate")(_cli_run.aggregate)
app.command(name="retry")(_cli_retry.retry)


@app.command()
def plan(
    study: StudyFile,
    store: StoreUrl = None,
    scheduler: Scheduler = None,
    tls: Tls = None,
    insecure: Insecure = False,
    cluster_kind: ClusterKind = "local",
    cluster_config: ClusterConfig = None,
) -> None:
    """Show what would run and what is done: forwards, bytes, tasks, predicted time. Starts nothing."""
    from drfarm._show_plan import plan_text
    from drfarm.farm import FarmOptions, cluster_workers
    from drfarm.farm.clusters import cluster_line, load_settings
    from drfarm.planning import plan_study

    FarmOptions(scheduler=scheduler, cluster=cluster_kind, cluster_config=cluster_config, tls=tls, insecure=insecure)
    cluster = None if scheduler is None else cluster_workers(scheduler, tls=tls, insecure=insecure)
    with beside(study):
        typer.echo(plan_text(plan_study(load_study(study), store_url=store), cluster))
    if cluster_config is not None:
        typer.echo(cluster_line(load_settings(cluster_kind, cluster_config)))


@app.command()
def status(
    study: StudyFile,
    store: StoreUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; see docs/watching.md.")] = False,
) -> None:
    """Show how far each stage is, from the store alone, and what failed."""
    from drfarm._show_status import status_json, status_text
    from drfarm.planning import plan_study
    from drfarm.status import status as study_status

    with beside(study):
        planned = plan_study(load_study(study), store_url=store)
        stages, failures = study_status(planned)
    if as_json:
        typer.echo(status_json(planned.study.study, planned.store_url, stages, failures, grows=planned.grows))
    else:
        typer.echo(status_text(stages, failures, grows=planned.grows))


app.command(name="query")(_cli_query.query)
app.command(name="table")(_cli_answers.table)
app.command(name="fidelity")(_cli_fidelity.fidelity)
app.command(name="figure")(_cli_figure.figure)
app.command(name="report")(_cli_report.report)
app.command(name="compare")(_cli_compare.compare_command)
app.add_typer(import_app, name="import")
app.add_typer(store_app, name="store")
app.command(name="models")(_cli_zoo.models)
app.command(name="datasets")(_cli_zoo.datasets)
app.command(name="scheduler")(_cli_farm.scheduler)
app.command(name="worker")(_cli_farm.worker)
app.command(name="certs")(_cli_certs.certs)
app.command(name="demo")(_cli_run.demo)
