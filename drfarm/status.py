"""How far a study is, from the store alone."""

from dataclasses import dataclass
from typing import Any

from drfarm.planning import StudyPlan
from store import NotFound, open_store


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


def status(plan: StudyPlan) -> tuple[tuple[StageStatus, ...], list[dict[str, Any]]]:
    """Return the state of each stage, and the records of what failed."""
    try:
        failures = [f for f in open_store(plan.store_url).results.failures() if f["study"] == plan.study.study]
    except NotFound:
        failures = []
    failed = {s: sum(f["stage"] == s for f in failures) for s in ("extract", "probe")}
    stages = (
        StageStatus(
            stage="extract",
            unit="representations",
            n_done=sum(len(j.ids) for j in plan.jobs if j.name in plan.jobs_done),
            n_all=sum(len(j.ids) for j in plan.jobs),
            n_failed=failed["extract"],
        ),
        StageStatus(
            stage="probe", unit="probes", n_done=plan.n_probes_done, n_all=plan.n_probes, n_failed=failed["probe"]
        ),
        StageStatus(stage="cka", unit="CKA values", n_done=plan.n_cka_done, n_all=plan.n_cka, n_failed=0),
    )
    return stages, failures
