"""Arguments and options that several commands take, and what becomes of them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from drfarm import _show
from drfarm.farm import PATIENCE_S, TLS_VARIABLE, FarmOptions
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
    typer.Option("--scheduler", metavar="ADDRESS", help="Use the workers of a running cluster: tls://HOST:PORT."),
]
ClusterKind = Annotated[
    Literal["local", "slurm", "kubernetes"],
    typer.Option("--cluster", help="Where workers are started; for slurm and kubernetes with --cluster-config."),
]
ClusterConfig = Annotated[
    Path | None,
    typer.Option("--cluster-config", metavar="FILE", help="Settings of that cluster (YAML; see docs/clusters.md)."),
]
Tls = Annotated[
    Path | None,
    typer.Option(
        "--tls", metavar="FOLDER", envvar=TLS_VARIABLE, help="Certificates for a cluster at tls://; see drfarm certs."
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Use plain tcp:// beyond this machine: inside a network that you trust.")
]
Patience = Annotated[
    float,
    typer.Option("--patience", metavar="SECONDS", min=0, help="How long a scheduler that went away is waited for."),
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
    cluster: Literal["local", "slurm", "kubernetes"] = "local",
    cluster_config: Path | None = None,
    tls: Path | None = None,
    insecure: bool = False,
    patience: float = PATIENCE_S,
    gpus: int | None = None,
    probe_device: str = "cpu",
    dashboard_port: int = 0,
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
            cluster=cluster,
            cluster_config=cluster_config,
            tls=tls,
            insecure=insecure,
            patience_s=patience,
            n_gpus=gpus,
            dashboard_port=dashboard_port,
        ),
        python_path=study.absolute().parent,
    )


def beside(study: Path) -> Any:
    """Return the context in which modules beside a study file are found."""
    from drfarm.importing import importable

    return importable(study.absolute().parent)
