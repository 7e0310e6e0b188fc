"""``drfarm scheduler`` and ``drfarm worker``: farm processes with the right settings."""

from typing import Annotated

import typer

from drfarm import _show
from drfarm._cli_options import Insecure, MemoryLimit, Patience, Tls
from drfarm._cli_watch import LogFormatName, say
from drfarm.farm import PATIENCE_S


def scheduler(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where it listens; by default for this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Its port; 0 takes a free one.")] = 8786,
    tls: Tls = None,
    insecure: Insecure = False,
    dashboard: Annotated[
        str | None,
        typer.Option("--dashboard", metavar="HOST:PORT", help="Show the dashboard and metrics there, as plain HTTP."),
    ] = None,
    log_format: LogFormatName = "text",  # noqa: ARG001 - it is chosen as it is read
) -> None:
    """Start the scheduler of a cluster, and show its address. It runs until it is interrupted.

    Beyond this machine it needs --tls FOLDER (`drfarm certs` makes one), or --insecure.
    """
    from drfarm.farm.serve import serve_scheduler

    serve_scheduler(host, port, say("scheduler"), tls=tls, insecure=insecure, dashboard=dashboard)


def worker(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Of the scheduler: tls://HOST:PORT or tcp://HOST:PORT.")
    ],
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Run networks: one process for each GPU. Otherwise they fit probes.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes; by default one for each core, with --gpu for each GPU."),
    ] = None,
    memory_limit: MemoryLimit = None,
    tls: Tls = None,
    insecure: Insecure = False,
    patience: Patience = PATIENCE_S,
    log_format: LogFormatName = "text",  # noqa: ARG001 - it is chosen as it is read
) -> None:
    """Start the workers of this node for a scheduler. They run until they are interrupted.

    Where the scheduler does not answer any more, they wait for it (--patience) and join it again. With --gpu on a node
    without any GPU, --workers says how many processes run networks on its CPU.
    """
    from drfarm.farm.serve_workers import serve_workers

    serve_workers(
        address,
        gpu=gpu,
        n_workers=workers,
        memory_limit_bytes=_show.parse_size(memory_limit),
        say=say("worker"),
        tls=tls,
        insecure=insecure,
        patience_s=patience,
    )
