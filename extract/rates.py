"""How fast networks ran, kept in the store: what plans predict with."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from extract._work import Work
from extract.plan import ExtractionJob
from extract.report import ExtractionReport
from store import JSON, StorageFailure, Store, content_id

KIND = "extraction"
_FEWEST = 64
"""Images that a rate is measured on at the least: fewer are mostly warming up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How long an extraction will take, and how that is known."""

    seconds: float
    """Predicted time, on the device that was measured."""
    device: str
    """That device."""
    n_measured: int
    """Jobs whose very network was measured; the others' rate follows from their operations."""


def keep_rates(store: Store, works: Sequence[Work], report: ExtractionReport) -> None:
    """Keep what a pass told of each network: how fast it went, with its share of the waiting for pixels.

    The first batch does not count where there are others enough: libraries warm up in it, and networks are compiled.
    """
    waiting_s = report.waiting_s / max(report.n_forwarded, 1)
    for work in works:
        n, seconds = work.n_forwarded - work.n_first, work.forward_s - work.first_s
        if n < _FEWEST:
            n, seconds = work.n_forwarded, work.forward_s
        if n < _FEWEST or seconds <= 0:
            continue
        rate: dict[str, JSON] = {
            "device": report.device,
            "model": work.job.model.spec.name,
            "images_per_s": n / (seconds + n * waiting_s),
            "flop_per_s": n * work.job.model.flop / seconds,
            "pass_images_per_s": report.images_per_s,
            "batch_size": work.batch_size,
            "most_images": work.most_images,
        }
        with suppress(StorageFailure):  # only a prediction: a disk that is full has told the job already
            store.rates.put(KIND, _key(work.job, report.device), rate)


def predict(jobs: Iterable[ExtractionJob], store: Store) -> Prediction | None:
    """Predict the time of extractions from the rates that the store has; None where it has none that serves.

    The device is the one that was measured last. A network that was not measured there goes at the median number of
    operations per second of those that were.
    """
    rates = [r for r in store.rates.all(KIND) if r.get("images_per_s")]
    if not rates:
        return None
    device = rates[-1]["device"]
    speeds = sorted(float(r["flop_per_s"]) for r in rates if r["device"] == device and r["flop_per_s"])
    seconds, n_measured = 0.0, 0
    found: dict[str, dict[str, Any] | None] = {}
    for job in jobs:
        key = _key(job, device)
        if key not in found:  # one network runs over many splits
            found[key] = store.rates.get(KIND, key)
        rate = found[key]
        if rate is not None:
            seconds += job.n_forwards / float(rate["images_per_s"])
            n_measured += 1
        elif speeds and job.model.flop:
            seconds += job.flop / speeds[len(speeds) // 2]
        else:
            return None
    return Prediction(seconds=seconds, device=device, n_measured=n_measured)


def _key(job: ExtractionJob, device: str) -> str:
    model = job.model
    return content_id(
        {
            "architecture": model.spec.source,
            "arguments": dict(model.spec.arguments),
            "input_size": model.input_size,
            "precision": job.precision,
            "device": device,
        }
    )[:32]
