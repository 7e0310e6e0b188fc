"""``drfarm run``, ``extract``, ``probe``, ``aggregate`` and ``demo``: everything that works on a study."""

from pathlib import Path
from typing import Annotated, Any

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
    OutFolder,
    Patience,
    ProbeDevice,
    Quiet,
    Scheduler,
    ShardText,
    StoreUrl,
    StudyFile,
    Tls,
    Workers,
    beside,
    run_options,
)
from drfarm._cli_watch import (
    LOOPBACK,
    DashboardPort,
    LogFormatName,
    MetricsHost,
    MetricsPort,
    Watching,
    tell_error,
    watched,
)
from drfarm.errors import JobsFailed
from drfarm.farm import PATIENCE_S
from drfarm.progress import TerminalReporter, duration
from drfarm.study import load_study
from store import DrfarmError


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
        cluster=cluster,
        cluster_config=cluster_config,
        tls=tls,
        insecure=insecure,
        patience=patience,
        probe_device=probe_device,
        dashboard_port=dashboard_port,
    )
    watch = Watching(quiet=quiet, log_format=log_format, metrics_port=metrics_port, metrics_host=metrics_host)
    _run(study, store, ("extract", "probe"), options, watch, out=out, show=True)


def extract(
    study: StudyFile,
    store: StoreUrl = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    decode_workers: DecodeWorkers = None,
    gpus: Gpus = None,
    shard: ShardText = None,
    scheduler: Scheduler = None,
    cluster: ClusterKind = "local",
    cluster_config: ClusterConfig = None,
    tls: Tls = None,
    insecure: Insecure = False,
    patience: Patience = PATIENCE_S,
    dashboard_port: DashboardPort = 0,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = LOOPBACK,
    log_format: LogFormatName = "text",
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
        cluster=cluster,
        cluster_config=cluster_config,
        tls=tls,
        insecure=insecure,
        patience=patience,
        dashboard_port=dashboard_port,
    )
    watch = Watching(quiet=quiet, log_format=log_format, metrics_port=metrics_port, metrics_host=metrics_host)
    _run(study, store, ("extract",), options, watch)


def probe(
    study: StudyFile,
    store: StoreUrl = None,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
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
    """Measure the subsets on the activations that are in the store (stage 2)."""
    options = run_options(
        study,
        workers=workers,
        memory_limit=memory_limit,
        scheduler=scheduler,
        cluster=cluster,
        cluster_config=cluster_config,
        tls=tls,
        insecure=insecure,
        patience=patience,
        probe_device=probe_device,
        dashboard_port=dashboard_port,
    )
    watch = Watching(quiet=quiet, log_format=log_format, metrics_port=metrics_port, metrics_host=metrics_host)
    _run(study, store, ("probe",), options, watch)


def aggregate(study: StudyFile, store: StoreUrl = None, out: OutFolder = None) -> None:
    """Reduce the results to a DR table and figures (stage 3)."""
    _aggregate(study, store, out)


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo's weights, study and store go.")] = Path(
        "demo"
    ),
    quiet: Quiet = False,
) -> None:
    """Quick start: pre-train a small network on scanned digits 0-4, then measure it on 5-9. Needs no network."""
    from drfarm.demo import make_demo

    study = make_demo(folder, TerminalReporter(quiet=quiet))
    _run(study, None, ("extract", "probe"), run_options(study), Watching(quiet=quiet), show=True)


def _run(
    study: Path,
    store: str | None,
    stages: tuple[str, ...],
    options: Any,
    watch: Watching,
    *,
    out: Path | None = None,
    show: bool = False,
) -> None:
    from drfarm.running import run

    loaded = load_study(study)
    with watched(loaded, store, watch) as reporter:
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
            tell_error(f"drfarm: {e}")
    if not report.ok:
        raise JobsFailed(_show.failures_text(report))


def _aggregate(study: Path, store: str | None, out: Path | None) -> None:
    from drfarm.outputs import study_results, write_outputs
    from drfarm.planning import plan_study
    from drfarm.reporting import report

    with beside(study):
        planned = plan_study(load_study(study), store_url=store)
    results = study_results(planned)
    folder = out or _show.default_folder(planned.store_url, planned.study.study)
    files = [*write_outputs(results, folder), report(planned, folder / "report.html", study_file=study)]
    typer.echo(_show.redundancy_text(results.redundancy))
    typer.echo(f"\nTable, figures and report: {', '.join(f.name for f in files)} in {folder}")
