"""A run's figures for Prometheus: served over HTTP for as long as it runs, read at the moment of each scrape."""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from drfarm._version import __version__
from drfarm.progress import Event, Figures, WorkerState
from store import DrfarmError, InvalidRequest, open_store

_LOOPBACK = "127.0.0.1"
_SIZES_EVERY_S = 60.0
"""A store is measured so often; more seldom where that takes long."""
_SIZES_MOST_SHARE = 0.02
"""Share of the time that measuring it may take: it lists every object."""
_KINDS = ("features", "results", "statistics")
_NO_ETA = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """What one metric is."""

    kind: Literal["gauge", "counter"]
    """Whether it goes up and down, or only up."""
    help: str
    """What it says, with its unit."""
    labels: tuple[str, ...] = ()
    """What tells its series apart."""


_STAGE = ("study", "stage")
METRICS: Mapping[str, MetricInfo] = {
    "drfarm_jobs": MetricInfo(
        kind="gauge",
        help="Jobs of this run by state: images in extract, results in probe.",
        labels=(*_STAGE, "state"),
    ),
    "drfarm_jobs_finished_total": MetricInfo(
        kind="counter",
        help="Jobs by outcome; retried ones were handed out again, each time counted.",
        labels=(*_STAGE, "outcome"),
    ),
    "drfarm_batches": MetricInfo(kind="gauge", help="Batches that workers have now.", labels=(*_STAGE, "state")),
    "drfarm_batches_finished_total": MetricInfo(
        kind="counter", help="Batches that were tried again, or given up.", labels=(*_STAGE, "outcome")
    ),
    "drfarm_images_total": MetricInfo(
        kind="counter", help="Images that went through a network, or were found done.", labels=("study",)
    ),
    "drfarm_jobs_per_second": MetricInfo(
        kind="gauge", help="Jobs done in a second, over the last five minutes; 0 after the stage.", labels=_STAGE
    ),
    "drfarm_eta_seconds": MetricInfo(
        kind="gauge", help="Seconds until the stage is done at this rate; NaN before there is a rate.", labels=_STAGE
    ),
    "drfarm_last_progress_timestamp_seconds": MetricInfo(
        kind="gauge",
        help="When a job of the stage was last done, else when it began: seconds since 1970.",
        labels=_STAGE,
    ),
    "drfarm_longest_batch_seconds": MetricInfo(
        kind="gauge", help="How long the batch has run that has run for longest; 0 where none runs.", labels=_STAGE
    ),
    "drfarm_workers": MetricInfo(
        kind="gauge", help="Workers that live, by what they do: gpu runs networks, cpu fits probes.", labels=("pool",)
    ),
    "drfarm_worker_memory_bytes": MetricInfo(kind="gauge", help="Memory of a worker's process.", labels=("worker",)),
    "drfarm_worker_memory_limit_bytes": MetricInfo(
        kind="gauge", help="Memory that a worker may take; absent where there is no limit.", labels=("worker",)
    ),
    "drfarm_store_bytes": MetricInfo(kind="gauge", help="Bytes in the store, measured now and then.", labels=("kind",)),
    "drfarm_store_free_bytes": MetricInfo(
        kind="gauge", help="Bytes free on the store's disk; absent where it has none."
    ),
    "drfarm_build_info": MetricInfo(kind="gauge", help="1; its label is the version that runs.", labels=("version",)),
}
"""Every metric, in the order in which they are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSizes:
    """How large a store is."""

    bytes_by_kind: Mapping[str, int]
    """Bytes of ``features``, ``results`` and ``statistics``."""
    free_bytes: int | None
    """Bytes free on its disk; None where it has none."""


class Metrics(Collector):
    """A view of a run that Prometheus reads."""

    def __init__(self, sizes: Callable[[], StoreSizes] | None = None) -> None:
        self._lock = threading.Lock()
        self._stages: dict[tuple[str, str], Figures] = {}
        self._measure = sizes
        self._sizes: StoreSizes | None = None

    def opened(self, figures: Figures) -> None:
        """See that a stage begins; one of the same name takes the place of the last."""
        with self._lock:
            self._stages[figures.study or "", figures.stage] = figures

    def changed(self, figures: Figures) -> None:
        """Wait to be asked."""

    def happened(self, event: Event) -> None:
        """Wait to be asked."""

    def closed(self, figures: Figures, *, whole: bool) -> None:
        """Keep the last figures: a scrape after the end sees them."""

    def describe(self) -> list[Metric]:
        """Return nothing: whatever is registered beside it can't clash with an own registry."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with its values of this moment."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            name: (GaugeMetricFamily if m.kind == "gauge" else CounterMetricFamily)(name, m.help, labels=m.labels)
            for name, m in METRICS.items()
        }

        def add(name: str, value: float, *labels: str) -> None:
            families[name].add_metric(labels, value)

        with self._lock:
            stages, sizes = dict(self._stages), self._sizes
        workers: dict[str, WorkerState] = {}
        for (study, stage), figures in stages.items():
            s = figures.snapshot()
            workers |= {w.address: w for w in s.workers}
            states = {"done": s.n_done, "running": s.n_running, "waiting": s.n_waiting, "failed": s.n_failed}
            for state, n in states.items():
                add("drfarm_jobs", n, study, stage, state)
            for outcome, n in {"done": s.n_done, "failed": s.n_failed, "retried": s.n_retried}.items():
                add("drfarm_jobs_finished_total", n, study, stage, outcome)
            add("drfarm_batches", s.batches_running, study, stage, "running")
            add("drfarm_batches_finished_total", s.batches_failed, study, stage, "failed")
            add("drfarm_batches_finished_total", s.batches_retried, study, stage, "retried")
            if stage == "extract":
                add("drfarm_images_total", s.n_done, study)
            add("drfarm_jobs_per_second", 0.0 if s.ended else s.rate, study, stage)
            add("drfarm_eta_seconds", _NO_ETA if s.eta_s is None else s.eta_s, study, stage)
            add("drfarm_last_progress_timestamp_seconds", s.last_progress_at, study, stage)
            add("drfarm_longest_batch_seconds", s.longest_s, study, stage)
        for pool in ("gpu", "cpu"):
            add("drfarm_workers", sum(w.gpu == (pool == "gpu") for w in workers.values()), pool)
        for w in workers.values():
            add("drfarm_worker_memory_bytes", w.memory_bytes, w.address)
            if w.memory_limit_bytes:
                add("drfarm_worker_memory_limit_bytes", w.memory_limit_bytes, w.address)
        if sizes is not None:
            for kind, n in sizes.bytes_by_kind.items():
                add("drfarm_store_bytes", n, kind)
            if sizes.free_bytes is not None:
                add("drfarm_store_free_bytes", sizes.free_bytes)
        add("drfarm_build_info", 1, __version__)
        yield from families.values()

    def measure_until(self, over: threading.Event) -> None:
        """Measure the store now and then, until the event is set: a scrape must not wait for a listing."""
        pause = 0.0
        while self._measure is not None and not over.wait(pause):
            began = time.monotonic()
            with contextlib.suppress(DrfarmError, OSError):  # a store that is not there yet, or not just now
                sizes = self._measure()
                with self._lock:
                    self._sizes = sizes
            pause = max(_SIZES_EVERY_S, (time.monotonic() - began) / _SIZES_MOST_SHARE)


def store_sizes(url: str) -> StoreSizes:
    """Measure a store: list its objects, and ask its disk.

    Raises
    ------
    StoreError
        If it is not there, or can't be listed.
    """
    objects = open_store(url).objects
    sizes = {kind: sum(o.size_bytes for o in objects.list(kind)) for kind in _KINDS}
    root = objects.local_root
    return StoreSizes(bytes_by_kind=sizes, free_bytes=None if root is None else shutil.disk_usage(root).free)


@contextlib.contextmanager
def served(metrics: Metrics, *, port: int, host: str = _LOOPBACK) -> Iterator[str]:
    """Serve metrics inside, and give their address.

    Parameters
    ----------
    metrics
        What is served; in a registry of its own, so that a process may serve several.
    port
        Where; 0 takes a free one.
    host
        Address of this machine. What is served is open to whoever reaches it: names of studies and of workers.

    Raises
    ------
    InvalidRequest
        If nothing can listen there.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError) as e:
        raise InvalidRequest(
            f"metrics can't be served at {host}:{port} ({e}). Choose another --metrics-port, or an address of this "
            "machine as --metrics-host."
        ) from e
    over = threading.Event()
    measuring = threading.Thread(target=metrics.measure_until, args=(over,), name="drfarm-sizes", daemon=True)
    measuring.start()
    try:
        yield f"http://{_shown(host)}:{_port(server)}/metrics"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _port(server: WSGIServer) -> int:
    return int(server.server_port)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
