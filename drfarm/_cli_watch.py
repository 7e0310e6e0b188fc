"""Watching a run: the options of it, and the views that they ask for."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from drfarm.logs import VARIABLE, LogFormat, choose_format, chosen_format, without_secrets, write_line
from drfarm.progress import JsonLines, Reporter, TerminalReporter, View, ViewReporter
from drfarm.study import Study

LOOPBACK = "127.0.0.1"
"""Metrics are for this machine unless another address is given."""


def _choose_format(name: LogFormat) -> LogFormat:
    choose_format(name)
    return name


LogFormatName = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        envvar=VARIABLE,
        is_eager=True,  # what is wrong with the other options is told in this form
        callback=_choose_format,
        help="What goes to stderr: text for people, or lines of JSON.",
    ),
]
MetricsPort = Annotated[
    int,
    typer.Option(
        "--metrics-port", min=0, max=65535, metavar="PORT", help="Serve Prometheus metrics here; 0 serves none."
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option("--metrics-host", metavar="ADDRESS", help="Where metrics are served, open to whoever reaches it."),
]
DashboardPort = Annotated[
    int,
    typer.Option(
        "--dashboard-port",
        min=0,
        max=65535,
        metavar="PORT",
        help="Serve Dask's dashboard here, for this machine only; 0 serves none.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """How a run is watched."""

    quiet: bool = False
    """Show no progress."""
    log_format: LogFormat = "text"
    """What goes to stderr."""
    metrics_port: int = 0
    """Where metrics are served; 0 serves none."""
    metrics_host: str = LOOPBACK
    """Address of this machine for them."""


@contextlib.contextmanager
def watched(study: Study, store: str | None, watching: Watching) -> Iterator[Reporter]:
    """Give the reporter of a run, with all the views that were asked for.

    Raises
    ------
    InvalidRequest
        If metrics can't be served there.
    """
    views: list[View] = []
    with contextlib.ExitStack() as stack:
        address = None
        if watching.metrics_port:
            from drfarm.metrics import Metrics, served, store_sizes

            metrics = Metrics(partial(store_sizes, study.store if store is None else store))
            address = stack.enter_context(served(metrics, port=watching.metrics_port, host=watching.metrics_host))
            views.append(metrics)
        reporter: Reporter
        if watching.log_format == "json":
            reporter = ViewReporter([*views, *([] if watching.quiet else [JsonLines()])], study=study.study)
        else:
            reporter = TerminalReporter(quiet=watching.quiet, study=study.study, views=views)
        if address is not None:
            reporter.message(f"metrics at {address}")
        yield reporter


def say(event: str) -> Callable[[str], None]:
    """Return what tells a line of a farm process in the form that was chosen: text on stdout, JSON on stderr."""
    if chosen_format() == "json":
        return lambda text: write_line(event, text)
    return lambda text: typer.echo(without_secrets(text))


def tell_error(text: str) -> None:
    """Tell what went wrong, on stderr, in the form that was chosen."""
    if chosen_format() == "json":
        write_line("error", text.strip(), level="error")
    else:
        typer.echo(without_secrets(text), err=True)
