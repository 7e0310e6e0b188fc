"""Arguments and options that several commands take, and what becomes of them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drfarm import _show
from drfarm.farm import FarmOptions
from extract import parse_shard

EXIT_FAILED, EXIT_WRONG, EXIT_INTERRUPTED = 1, 2, 130

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
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Images of one forward pass; by default the fastest that fits."),
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where networks run.")]
DecodeWorkers = Annotated[
    int | None,
    typer.Option(
        "--decode-workers", min=1, help="Threads or processes that decode images; by default one for each core."
    ),
]
ShardText = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Only this part, such as 3/16: the others run elsewhere."),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Use the workers of a running cluster: tcp://HOST:PORT."),
]
Gpus = Annotated[
    int | None,
    typer.Option("--gpus", min=1, help="GPUs of this machine to run networks on, a process each; by default all."),
]
ProbeDevice = Annotated[
    Literal["cpu", "cuda"],
    typer.Option("--probe-device", help="Where probes are fitted; the workers share one GPU."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
OutFolder = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Where the table and figures go.")
]


def run_options(
    study: Path,
    *,
    workers: int | None = None,
    memory_limit: str | None = None,
    batch_size: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    decode_workers: int | None = None,
    shard: str | None = None,
    scheduler: str | None = None,
    gpus: int | None = None,
    probe_device: str = "cpu",
) -> Any:
    """Return `drfarm.RunOptions` of what was given; modules beside the study file are found."""
    from drfarm.run_options import RunOptions

    return RunOptions(
        batch_size=batch_size,
        device=device,
        decode_workers=decode_workers,
        shard=None if shard is None else parse_shard(shard),
        probe_device=probe_device,
        farm=FarmOptions(
            n_workers=workers,
            memory_limit_bytes=_show.parse_size(memory_limit),
            scheduler=scheduler,
            n_gpus=gpus,
        ),
        python_path=study.absolute().parent,
    )


def beside(study: Path) -> Any:
    """Return the context in which modules beside a study file are found."""
    from drfarm.importing import importable

    return importable(study.absolute().parent)
