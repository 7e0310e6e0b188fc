"""How far a study is, from the store alone: what is done, how fast it goes just now, and what failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from drfarm import quarantine
from drfarm.planning import StudyPlan
from store import NotFound, Store, open_store
from store.schema import KINDS, Kind

RECENT = timedelta(minutes=5)
"""The rate is that of so long until now; where nothing was finished in it, nobody works on the study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """One stage."""

    stage: str
    """``extract``, ``probe`` or ``cka``."""
    unit: str
    """What is counted."""
    n_done: int
    """In the store."""
    n_all: int
    """Asked for."""
    n_failed: int
    """Quarantined batches or jobs; the next run tries them again."""
    rate: float | None = None
    """Finished in a second, over `RECENT`, by whoever works on the study; None where the store does not tell."""
    last_at: datetime | None = None
    """When the last batch of it was written (UTC); None where there is none, or the store does not tell."""

    @property
    def eta_s(self) -> float | None:
        """Seconds until the rest is done at this rate; None where nobody works on it."""
        left = self.n_all - self.n_done
        return 0.0 if left <= 0 else left / self.rate if self.rate else None


def status(plan: StudyPlan, *, now: datetime | None = None) -> tuple[tuple[StageStatus, ...], list[dict[str, Any]]]:
    """Return the state of each stage, and the records of what failed.

    Parameters
    ----------
    plan
        The study against its store.
    now
        The moment it is told of; by default this one.

    Returns
    -------
    tuple
        Stages in their order; failures by stage and name, each with ``stage``, ``what``, ``error``, ``attempts``,
        ``batch_id``, ``at`` (UTC, ISO) and whatever else was kept of it.
    """
    name = plan.study.study
    try:
        store: Store | None = open_store(plan.store_url)
    except NotFound:
        store = None
    failures = [] if store is None else _failures(store, plan)
    failed = {s: sum(f["stage"] == s for f in failures) for s in ("extract", "probe")}
    paces: dict[Kind, _Pace] = {} if store is None else _paces(store, name, now or datetime.now(UTC))
    nothing = _Pace(rate=None, last_at=None)
    probe, cka = paces.get("probes", nothing), paces.get("cka", nothing)
    stages = (
        StageStatus(
            stage="extract",
            unit="representations",
            n_done=sum(len(j.ids) for j in plan.jobs if j.name in plan.jobs_done),
            n_all=sum(len(j.ids) for j in plan.jobs),
            n_failed=failed["extract"],
        ),
        StageStatus(
            stage="probe",
            unit="probes",
            n_done=plan.n_probes_done,
            n_all=plan.n_probes,
            n_failed=failed["probe"],
            rate=probe.rate,
            last_at=probe.last_at,
        ),
        StageStatus(
            stage="cka",
            unit="CKA values",
            n_done=plan.n_cka_done,
            n_all=plan.n_cka,
            n_failed=0,
            rate=cka.rate,
            last_at=cka.last_at,
        ),
    )
    return stages, failures


def _failures(store: Store, plan: StudyPlan) -> list[dict[str, Any]]:
    """Return what failed for good, but what another batch has made since."""
    records = [r for r in store.results.failures() if r["study"] == plan.study.study]
    past = {r["batch_id"] for r in quarantine.healed(records, plan.tasks)} if records else set()
    written = {o.key: o.modified for o in store.objects.list("failures")} if records else {}
    found = []
    for record in records:
        if record["batch_id"] in past:
            continue
        at = written.get(f"failures/{record['batch_id']}.json")
        known = {} if at is None else {"at": at.astimezone(UTC).isoformat(timespec="seconds")}
        found.append({**known, **record})
    return sorted(found, key=lambda f: (f["stage"], f["what"], f["batch_id"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """How fast results of a kind come."""

    rate: float | None
    last_at: datetime | None


def _paces(store: Store, study: str, now: datetime) -> dict[Kind, _Pace]:
    timings = store.results.timings()
    return {kind: _pace(timings.filter(pc.field("kind") == kind), _batches(store, kind, study), now) for kind in KINDS}


def _batches(store: Store, kind: Kind, study: str) -> Sequence[str]:
    """Return the batches that this study's runs made."""
    table = store.results.dataset(kind).to_table(columns=["batch_id"], filter=pc.field("study") == study)
    return pc.unique(table["batch_id"]).to_pylist()


def _pace(timings: pa.Table, batches: Sequence[str], now: datetime) -> _Pace:
    ours = timings.filter(
        pc.field("batch_id").isin(pa.array(batches, pa.string())) & pc.field("finished_at").is_valid()
    )
    if not ours.num_rows:
        return _Pace(rate=None, last_at=None)
    recent = ours.filter(pc.field("finished_at") > pa.scalar(now - RECENT, pa.timestamp("us", tz="UTC")))
    first = pc.min(ours["started_at"]).as_py()
    seconds = max(1.0, min(RECENT.total_seconds(), (now - first).total_seconds()))
    return _Pace(rate=(pc.sum(recent["n_jobs"]).as_py() or 0) / seconds, last_at=pc.max(ours["finished_at"]).as_py())
