"""What a run is asked for, and what it tells when it ends."""

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from drfarm.farm import FarmOptions
from drfarm.logs import without_secrets
from extract import Shard
from store import JSON, InvalidRequest, StorageFailure, Store, content_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run; nothing of it changes what is measured, but by rounding."""

    batch_size: int | None = None
    """Images of a forward pass; None finds the fastest that fits the device, and keeps to it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run: ``auto``, ``cpu`` or ``cuda``."""
    decode_workers: int | None = None
    """Threads or processes that read and decode images; by default as many as there are cores, at most 16."""
    shard: Shard | None = None
    """The part of every extraction to do, where other processes do the others; None does all."""
    probe_device: str = "cpu"
    """Where probes are fitted: ``cpu`` or ``cuda``. Unlike the rest it may change a result, by rounding."""
    farm: FarmOptions = field(default_factory=FarmOptions)
    """Worker processes, or the running cluster."""
    python_path: Path | None = None
    """Folder in which ``python:MODULE:CALLABLE`` also looks for modules, after everything that is installed."""

    def __post_init__(self) -> None:
        where = self.farm.scheduler if self.farm.cluster == "local" else f"--cluster {self.farm.cluster}"
        if self.shard is not None and (where is not None or (self.farm.n_gpus or 1) > 1):
            raise InvalidRequest(
                f"--shard {self.shard} is for processes that somebody else starts, one for each GPU; "
                f"{'--scheduler' if where is not None else '--gpus'} shares the work out by itself. Give one of them."
            )
        if self.probe_device != "cpu" and where is not None:
            raise InvalidRequest(
                f"--probe-device {self.probe_device} is for a GPU of this machine; the workers at {where} fit probes "
                "on their CPUs. Give one of --probe-device and --scheduler."
            )


@dataclass(slots=True, kw_only=True)
class RunReport:
    """What a run did."""

    n_images: int = 0
    """Images that went through a network."""
    n_batches: int = 0
    """Batches of results that were written."""
    n_results: int = 0
    """Results in them."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(what, why) of each job that failed."""
    n_waiting: int = 0
    """Results that wait for an extraction that failed or has not run."""
    n_chunks_missing: int = 0
    """Chunks of representations that other shards have still to write."""
    complete: list[str] = field(default_factory=list)
    """Of a shard: readable names of the representations that are complete now."""
    elapsed_s: float = 0.0
    """Wall time, in seconds."""

    def _repr_html_(self) -> str:
        from drfarm.notebook import report_html

        return report_html(self)

    @property
    def ok(self) -> bool:
        """Say whether everything is done; of a shard, everything that is its own."""
        return not self.failures and not self.n_waiting


def failure_id(*parts: Any) -> str:
    """Return the name under which a store keeps a failure."""
    return content_id([str(p) for p in parts])[:32]


def record_failure(
    store: Store,
    name: str,
    *,
    study: str,
    stage: str,
    what: str,
    error: str,
    attempts: int,
    log: str = "",
    work: JSON = None,
) -> None:
    """Keep a failure for `status` and `retry`; on a disk that is full even that may fail, and the report names it.

    Parameters
    ----------
    store, name
        Where, and under which name.
    study, stage, what
        Whose it is, of which stage, and what it was, as told to people.
    error, attempts
        Why, and how often it was tried.
    log
        The last lines of its worker's log.
    work
        What is to be done again, as `quarantine.described` has it.
    """
    record: dict[str, JSON] = {
        "study": study,
        "stage": stage,
        "what": what,
        "error": without_secrets(error),
        "attempts": attempts,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "log": without_secrets(log),
    }
    if work is not None:
        record["work"] = work
    with contextlib.suppress(StorageFailure):
        store.results.record_failure(name, record)
