"""``drfarm scheduler`` and ``drfarm worker``: farm processes with the right settings."""

from typing import Annotated

import typer

from drfarm import _show
from drfarm._cli_options import MemoryLimit


def scheduler(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where it listens; by default for this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Its port; 0 takes a free one.")] = 8786,
) -> None:
    """Start the scheduler of a cluster, and show its address. It runs until it is interrupted."""
    from drfarm.farm.serve import serve_scheduler

    serve_scheduler(host, port, typer.echo)


def worker(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Of the scheduler: tcp://HOST:PORT.")],
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Run networks: one process for each GPU. Otherwise they fit probes.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes; by default one for each core, with --gpu for each GPU."),
    ] = None,
    memory_limit: MemoryLimit = None,
) -> None:
    """Start the workers of this node for a scheduler. They run until they are interrupted, or the scheduler ends.

    With --gpu on a node without any GPU, --workers says how many processes run networks on its CPU.
    """
    from drfarm.farm.serve import serve_workers

    serve_workers(
        address, gpu=gpu, n_workers=workers, memory_limit_bytes=_show.parse_size(memory_limit), say=typer.echo
    )
