"""How the command shows the state of a study: for people, and as JSON for programs. Pure."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from drfarm._show import GROWS
from drfarm.logs import without_secrets
from drfarm.progress import duration
from drfarm.status import StageStatus

STATUS_FORMAT = 1
"""Version of the JSON; keys may be added within one, never changed."""
_FAILURE_KEYS = ("stage", "what", "error", "attempts", "at", "batch_id")


def status_text(stages: Sequence[StageStatus], failures: Sequence[dict[str, Any]], *, grows: bool) -> str:
    """Tell how far each stage is."""
    lines = []
    for s in stages:
        if s.n_all:
            failed = f", {s.n_failed} failed" if s.n_failed else ""
            pace = f", {s.rate:,.1f}/s, about {duration(s.eta_s)} left" if s.rate and s.eta_s else ""
            lines.append(f"{s.stage:8} {s.n_done:,} of {s.n_all:,} {s.unit} done{failed}{pace}")
    if grows:
        lines.append(GROWS)
    lines += [f"failed: {f['what']}: {f['error']}" for f in failures]
    if failures:
        lines.append("the next run tries what failed again; `drfarm retry STUDY` tries that alone.")
    return without_secrets("\n".join(lines))


def status_json(
    study: str, store_url: str, stages: Sequence[StageStatus], failures: Sequence[dict[str, Any]], *, grows: bool
) -> str:
    """Return the same as JSON; keys have a fixed order, and null where the store does not tell."""
    record = {
        "format": STATUS_FORMAT,
        "study": study,
        "store": without_secrets(store_url),
        "done": all(s.n_done >= s.n_all for s in stages) and not grows,
        "grows": grows,
        "stages": [
            {
                "stage": s.stage,
                "unit": s.unit,
                "done": s.n_done,
                "all": s.n_all,
                "left": max(0, s.n_all - s.n_done),
                "failed": s.n_failed,
                "per_second": None if s.rate is None else round(s.rate, 6),
                "eta_s": None if s.eta_s is None else round(s.eta_s, 1),
                "last_at": None if s.last_at is None else _time(s.last_at),
            }
            for s in stages
        ],
        "failures": [_failure(f) for f in failures],
    }
    return json.dumps(record, indent=1, ensure_ascii=False)


def _failure(record: dict[str, Any]) -> dict[str, Any]:
    """Return a failure with its keys in their order, and what else was kept of it behind them."""
    more = sorted(record.keys() - set(_FAILURE_KEYS) - {"study", "work"})
    values = {k: record.get(k) for k in (*_FAILURE_KEYS, *more)}
    return {k: without_secrets(v) if isinstance(v, str) else v for k, v in values.items()}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
