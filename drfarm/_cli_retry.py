"""``drfarm retry``: what failed for good is tried again, and nothing else."""

from typing import Annotated

import typer

from drfarm import _show
from drfarm._cli_options import (
    BatchSize,
    ClusterConfig,
    ClusterKind,
    DecodeWorkers,
    Device,
    Gpus,
    Insecure,
    MemoryLimit,
    Patience,
    ProbeDevice,
    Quiet,
    Scheduler,
    StoreUrl,
    StudyFile,
    Tls,
    Workers,
    run_options,
)
from drfarm._cli_watch import (
    LOOPBACK,
    DashboardPort,
    LogFormatName,
    MetricsHost,
    MetricsPort,
    Watching,
    watched,
)
from drfarm.errors import JobsFailed
from drfarm.farm import PATIENCE_S
from drfarm.progress import duration
from drfarm.study import load_study


def retry(
    study: StudyFile,
    what: Annotated[
        str | None,
        typer.Option("--what", metavar="PATTERN", help="Only what has this in its name, or matches it: *, ?, [...]."),
    ] = None,
    store: StoreUrl = None,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    decode_workers: DecodeWorkers = None,
    gpus: Gpus = None,
    scheduler: Scheduler = None,
    cluster: ClusterKind = "local",
    cluster_config: ClusterConfig = None,
    tls: Tls = None,
    insecure: Insecure = False,
    patience: Patience = PATIENCE_S,
    probe_device: ProbeDevice = "cpu",
    dashboard_port: DashboardPort = 0,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
    log_format: LogFormatName = "text",
    quiet: Quiet = False,
) -> None:
    """Try again what is in quarantine: the jobs that `drfarm status` names, and nothing else.

    What succeeds leaves the quarantine. `drfarm run` tries them again too, with everything else that is missing.
    """
    from drfarm.running import retry as retry_quarantined

    options = run_options(
        study,
        workers=workers,
        memory_limit=memory_limit,
        batch_size=batch_size,
        device=device,
        decode_workers=decode_workers,
        gpus=gpus,
        scheduler=scheduler,
        cluster=cluster,
        cluster_config=cluster_config,
        tls=tls,
        insecure=insecure,
        patience=patience,
        probe_device=probe_device,
        dashboard_port=dashboard_port,
    )
    loaded = load_study(study)
    watch = Watching(quiet=quiet, log_format=log_format, metrics_port=metrics_port, metrics_host=metrics_host)
    with watched(loaded, store, watch) as reporter:
        report = retry_quarantined(loaded, store=store, pattern=what, options=options, reporter=reporter)
        reporter.message(
            f"{report.n_images:,} images went through a network and {report.n_results:,} results were measured "
            f"in {duration(report.elapsed_s)}."
        )
    if not report.ok:
        raise JobsFailed(_show.failures_text(report))
