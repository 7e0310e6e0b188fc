"""How the command shows a plan: what would run, what it takes, and what a person should know first."""

from collections.abc import Sequence

from drfarm._show import GROWS, size
from drfarm.extraction_tasks import plan_extraction_tasks
from drfarm.farm import ClusterWorker
from drfarm.planned_chunks import n_chunks
from drfarm.planning import StudyPlan
from drfarm.progress import duration
from drfarm.space import space_problem
from extract import ExtractionJob
from store import NotFound, Store, open_store

_FLOP = ("", "k", "M", "G", "T", "P", "E", "Z")


def plan_text(plan: StudyPlan, cluster: Sequence[ClusterWorker] | None = None) -> str:
    """Tell what would run, and on which workers of a cluster. Reads the store; starts nothing."""
    left = plan.jobs_left
    n_all = sum(len(j.ids) for j in plan.jobs)
    n_left = sum(len(j.ids) for j in left)
    n_forwards = sum(j.n_forwards for j in left)
    lines = [
        f"study {plan.study.study}, store {plan.store_url}",
        (
            f"extract  {n_left} of {n_all} representations to make: {n_forwards:,} images to run, "
            f"up to {size(sum(j.n_bytes for j in left))} to store"
        ),
        *_work(plan, left),
        f"probe    {plan.n_probes - plan.n_probes_done:,} of {plan.n_probes:,} probes to train",
        f"cka      {plan.n_cka - plan.n_cka_done:,} of {plan.n_cka:,} CKA values to compute",
    ]
    if plan.tasks:
        most = max(t.predicted_bytes for t in plan.tasks)
        lines.append(
            f"farm     {len(plan.tasks):,} tasks, about {duration(plan.predicted_s)} on one core, at most {size(most)} "
            "of memory each"
        )
    if cluster is not None:
        lines.append(_cluster(plan, cluster))
    if plan.grows:
        lines.append(GROWS)
    if not left and not plan.tasks:
        lines.append("nothing is left to do")
    notes = [*plan.notes, *_kept(plan.jobs)]
    full = space_problem(plan, _store(plan))
    return "\n".join([*lines, *(f"note: {n}" for n in notes), *([f"warning: {full}"] if full else [])])


def flop_text(n: float) -> str:
    """Return a number of operations as people say it: ``1.2 PFLOP``."""
    step = 0
    while n >= 1000 and step < len(_FLOP) - 1:
        n /= 1000
        step += 1
    return f"{n:.3g} {_FLOP[step]}FLOP"


def _work(plan: StudyPlan, left: Sequence[ExtractionJob]) -> list[str]:
    """Say what the extraction that is left takes."""
    if not left:
        return []
    known = [j.flop for j in left if j.flop]
    flop = f"{'' if len(known) == len(left) else 'more than '}{flop_text(sum(known))}, " if known else ""
    n = n_chunks(left)
    groups = plan.groups_left
    passes = f"{len(groups):,} {'pass' if len(groups) == 1 else 'passes'} over images"
    prediction = plan.prediction
    took = (
        "predicted time: not known yet, as nothing was measured in this store"
        if prediction is None
        else f"predicted time: {duration(prediction.seconds)} on one {prediction.device}"
    )
    return [f"         {flop}{n:,} {'chunk' if n == 1 else 'chunks'}, {passes}; {took}"]


def _cluster(plan: StudyPlan, workers: Sequence[ClusterWorker]) -> str:
    n, n_gpu = len(workers), sum(w.has_gpu for w in workers)
    tasks = len(plan_extraction_tasks(plan.groups_left, plan.store_url, plan.study.extract_options()))
    what = f": extraction in {tasks:,} {'task' if tasks == 1 else 'tasks'}" if tasks else ""
    return f"cluster  {n:,} {'worker' if n == 1 else 'workers'}, {n_gpu:,} with a GPU{what}"


def _kept(jobs: Sequence[ExtractionJob]) -> list[str]:
    """Say of which layers only some neurons are stored."""
    found = {
        f"{j.model.spec.name}/{p.key.layer} keeps {p.kept.n:,} of {p.layer.width:,} neurons: those that the study's "
        "subsets name"
        for j in jobs
        for p in j.layers
        if p.kept is not None
    }
    return sorted(found)


def _store(plan: StudyPlan) -> Store | None:
    try:
        return open_store(plan.store_url)
    except NotFound:
        return None
