"""A store, a study, a plan and the report of a run, as a notebook shows them. Reads; starts nothing."""

from typing import TYPE_CHECKING, Any

from drfarm.notebook._markup import Cell, bar, facts, frame, note, table, warning
from drfarm.progress import bytes_text, duration

if TYPE_CHECKING:
    from drfarm.planning import StudyPlan
    from drfarm.run_options import RunReport
    from drfarm.study import Study
    from store import Store

_MOST_LISTED = 20


def store_html(store: "Store") -> str:
    """Return what is in a store: counts, studies, and its representations."""
    catalogue = store.features.catalogue()
    n_complete = sum(info.complete for info in catalogue)
    begun = len(catalogue) - n_complete
    failures = store.results.failures()
    studies = [str(study["study"]) for study in store.studies()]
    counts: list[tuple[str, Cell]] = [
        ("representations", f"{n_complete:,} complete" + (f", {begun:,} begun" if begun else "")),
        ("stored features", bytes_text(sum(info.stored_bytes for info in catalogue))),
        ("probes", len(store.results.jobs("probes"))),
        ("CKA values", len(store.results.jobs("cka"))),
        ("studies", ", ".join(studies) or "none"),
    ]
    rows: list[list[Cell]] = [
        [
            info.key.model,
            info.key.layer,
            info.key.dataset,
            info.key.split,
            f"{info.key.n_views} × {info.n_samples:,} × {info.width:,}",
            bytes_text(info.stored_bytes),
            "complete" if info.complete else f"{info.n_chunks_done} of {info.n_chunks} chunks",
        ]
        for info in catalogue
    ]
    header = ["model", "layer", "data set", "split", "view × sample × neuron", "stored", "state"]
    n = len(failures)
    return frame(
        "drfarm store",
        store.url,
        facts(counts),
        warning(f"{n} {'job' if n == 1 else 'jobs'} failed: drfarm status STUDY names them.") if n else "",
        table(header, rows, caption="Representations", most=_MOST_LISTED)
        if rows
        else note("It holds no features yet."),
    )


def study_html(study: "Study") -> str:
    """Return what a study asks for."""
    subsets = study.subsets
    sizes = (
        f"grid: {subsets.grid}"
        if subsets.grid is not None
        else f"k = {_listed(subsets.n_neurons)}"
        if subsets.n_neurons is not None
        else f"fractions {_listed(subsets.fractions or ())}"
    )
    refined = subsets.refine
    models: list[list[Cell]] = [[m.name, m.source, m.weights, m.input_size] for m in study.models]
    datasets: list[list[Cell]] = [
        [d.name, d.source, d.splits.train, d.splits.test, _validation(d), None if d.classes is None else len(d.classes)]
        for d in study.datasets
    ]
    measures: list[list[Cell]] = [
        [
            measure.measure,
            getattr(measure, "solver", None),
            getattr(measure, "protocol", None),
            "every" if measure.k == "every" else "the study's",
            _listed(measure.methods or subsets.methods),
        ]
        for measure in study.measures
    ]
    return frame(
        "study",
        study.study,
        facts(
            [
                ("store", study.store),
                ("layers", ", ".join(entry.layer for entry in study.layers)),
                ("transform", f"train {study.transform.train}, test {study.transform.test}"),
                ("methods", _listed(subsets.methods)),
                (
                    "sizes",
                    sizes + ("" if refined is None else f", refined at delta {refined.delta} to {refined.to:g} of d"),
                ),
                ("seeds", _listed(subsets.seeds)),
                ("deltas", _listed(study.deltas)),
            ]
        ),
        table(["model", "source", "weights", "input"], models, caption="Models", most=_MOST_LISTED),
        table(
            ["data set", "source", "train", "test", "validation", "classes"],
            datasets,
            caption="Data sets",
            most=_MOST_LISTED,
        ),
        table(["measure", "solver", "protocol", "k", "methods"], measures, caption="Measures"),
    )


def plan_html(plan: "StudyPlan") -> str:
    """Return what a plan would run, and what is done of it."""
    left = plan.jobs_left
    n_jobs, n_left = sum(len(j.ids) for j in plan.jobs), sum(len(j.ids) for j in left)
    rows = [
        _stage("extract", "representations", n_jobs - n_left, n_jobs),
        _stage("probe", "probes", plan.n_probes_done, plan.n_probes),
        _stage("cka", "CKA values", plan.n_cka_done, plan.n_cka),
    ]
    work: list[tuple[str, Cell]] = [("store", plan.store_url)]
    if left:
        predicted = plan.prediction
        took = "not known yet" if predicted is None else f"{duration(predicted.seconds)} on one {predicted.device}"
        work.append(("extraction", f"{sum(j.n_forwards for j in left):,} images to run, predicted time {took}"))
        work.append(("to store", f"up to {bytes_text(sum(j.n_bytes for j in left))}"))
    if plan.tasks:
        work.append(("tasks", f"{len(plan.tasks):,}, about {duration(plan.predicted_s)} on one core"))
    return frame(
        "plan of study",
        plan.study.study,
        table(["stage", "", "done", "left", "of", "unit"], rows),
        facts(work),
        note("Refinement will add sizes where DR is decided: how many is known when these are measured.")
        if plan.grows
        else "",
        note("Nothing is left to do.") if not left and not plan.tasks else "",
        *(warning(words) for words in plan.notes),
    )


def report_html(report: "RunReport") -> str:
    """Return what a run did, and what failed."""
    n = len(report.failures)
    state = "done" if report.ok else f"{n} {'job' if n == 1 else 'jobs'} failed" if n else "some results wait"
    counts: list[tuple[str, Cell]] = [
        ("images", report.n_images),
        ("results", f"{report.n_results:,} in {report.n_batches:,} batches"),
        ("time", duration(report.elapsed_s)),
    ]
    waiting = f"{report.n_waiting:,} results wait for features that are not complete." if report.n_waiting else ""
    return frame(
        "run",
        state,
        facts(counts),
        warning(waiting) if waiting else "",
        table(["failed", "why"], [list(pair) for pair in report.failures], most=_MOST_LISTED) if n else "",
    )


def _stage(name: str, unit: str, done: int, total: int) -> list[Cell]:
    return [name, bar(done / total if total else 1.0), done, total - done, total, unit]


def _listed(values: Any) -> str:
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(words[:12]) + (f", … ({len(words)} in all)" if len(words) > 12 else "")


def _validation(dataset: Any) -> str | None:
    splits = dataset.splits
    if splits.val is not None:
        return str(splits.val)
    return None if splits.val_fraction is None else f"{splits.val_fraction:g} of train"
