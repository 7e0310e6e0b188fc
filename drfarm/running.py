"""Running a study: extract what is missing, probe what is missing. Interrupted anywhere, it goes on where it was."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from drfarm import quarantine
from drfarm.extracting import extract, failure_name, on_workers
from drfarm.extraction_tasks import names_of_layers
from drfarm.farm import Failure, check_cluster, check_device, check_tasks, run_tasks, start_tracker
from drfarm.importing import importable
from drfarm.machines import on_kept_machine
from drfarm.planning import StudyPlan, plan_study
from drfarm.progress import Reporter, TerminalReporter
from drfarm.run_options import RunOptions, RunReport, record_failure
from drfarm.space import space_problem
from drfarm.study import Study
from drfarm.tail import halves
from drfarm.tasks import plan_tasks
from extract import choose_device
from probe import CkaTask, StatisticsTask, Task, is_written, run_task
from store import InvalidRequest, Store, UnknownName, open_store

__all__ = ["STAGES", "RunOptions", "RunReport", "importable", "retry", "run"]

STAGES = ("extract", "probe")


def run(
    study: Study,
    *,
    store: str | None = None,
    stages: tuple[str, ...] = STAGES,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> RunReport:
    """Run a study's stages; what is done already is not done again.

    Parameters
    ----------
    study
        The study.
    store
        Overrides the study's store.
    stages
        ``extract``, ``probe`` or both, in this order.
    options
        Processes, batch size, devices.
    reporter
        Told of progress; by default a line on stderr now and then.

    Returns
    -------
    RunReport
        Counts, and the name and reason of each job that failed. A failed job does not stop the rest.

    Raises
    ------
    InvalidRequest
        If the request is wrong; nothing has been started then.
    """
    options = options or RunOptions()
    reporter = reporter or TerminalReporter()
    began = time.monotonic()
    report = RunReport()
    with importable(options.python_path):
        plan = plan_study(study, store_url=store, writing=True)
        opened = open_store(plan.store_url)
        _check(plan, opened, stages, options)
        for note in plan.notes:
            reporter.message(f"note: {note}")
        _keep_study(plan, opened)
        _work(plan, opened, stages, options, reporter, report, only=None)
        _clear_healed(plan, opened)
    report.elapsed_s = time.monotonic() - began
    return report


def retry(
    study: Study,
    *,
    store: str | None = None,
    pattern: str | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> RunReport:
    """Run again what is in quarantine of a study, and nothing else.

    Parameters
    ----------
    study, store, options, reporter
        As in `run`.
    pattern
        Only what has a name like this, as a shell has it, or with this in it; None is all.

    Returns
    -------
    RunReport
        As `run`; empty where nothing is in quarantine.

    Raises
    ------
    InvalidRequest
        If the request is wrong, or no name matches; nothing has been started then.
    """
    options = options or RunOptions()
    reporter = reporter or TerminalReporter()
    began = time.monotonic()
    report = RunReport()
    with importable(options.python_path):
        plan = plan_study(study, store_url=store)
        opened = open_store(plan.store_url)
        records = failures_of(plan, opened)
        chosen = quarantine.matching(records, pattern)
        if records and not chosen:
            raise UnknownName.among("quarantined job like", str(pattern), {str(r["what"]) for r in records})
        if not chosen:
            reporter.message("nothing is in quarantine.")
        names = {str(r["batch_id"]) for r in chosen if r["stage"] == "extract"}
        jobs = frozenset(j.name for j in plan.jobs_left if failure_name(j) in names)
        part = replace(
            plan,
            jobs_done=frozenset(j.name for j in plan.jobs) - jobs,
            tasks=quarantine.tasks_of(plan.tasks, [r for r in chosen if r["stage"] == "probe"]),
        )
        stages = tuple(s for s, wanted in zip(STAGES, (jobs, part.tasks), strict=True) if wanted)
        _check(part, opened, stages, options)
        _work(part, opened, stages, options, reporter, report, only=jobs)
        _clear_healed(plan, opened)
    report.elapsed_s = time.monotonic() - began
    return report


def failures_of(plan: StudyPlan, store: Store) -> list[Mapping[str, Any]]:
    """Return the records of what failed for good of a study; of probes, those of which something is left to do."""
    records: list[Mapping[str, Any]] = [f for f in store.results.failures() if f["study"] == plan.study.study]
    past = {r["batch_id"] for r in quarantine.healed(records, plan.tasks)}
    return [r for r in records if r["batch_id"] not in past]


def _work(
    plan: StudyPlan,
    store: Store,
    stages: Sequence[str],
    options: RunOptions,
    reporter: Reporter,
    report: RunReport,
    *,
    only: frozenset[str] | None,
) -> None:
    """Run stages of a plan; ``only`` some extractions, and what is planned now, or all there is until all is done."""
    if "extract" in stages:
        if plan.tasks and "probe" in stages:
            start_tracker()
        extracted = extract(plan, store, options, reporter, report, only=only)
        if extracted is not plan and only is None:  # some ids are others now
            plan = extracted
            _keep_study(plan, store)
        if options.shard is not None:
            names = names_of_layers(plan.jobs)
            report.complete = [names[i] for i in names if store.features.status(i) == "complete"]
    if "probe" in stages:
        if plan.tasks:
            start_tracker()
        _probe(plan, store, options, reporter, report, grows=only is None)


def _clear_healed(plan: StudyPlan, store: Store) -> None:
    """Take out of quarantine what other batches have made: a plan may cut the same work otherwise than the last."""
    records = [f for f in store.results.failures() if f["study"] == plan.study.study and f["stage"] == "probe"]
    if records:
        for record in quarantine.healed(records, plan_tasks(plan.study, plan.store_url, plan.targets, store, [])[0]):
            store.results.clear_failure(record["batch_id"])


def _check(plan: StudyPlan, store: Store, stages: Sequence[str], options: RunOptions) -> None:
    """Refuse what can't run, before anything starts."""
    probes = plan.tasks if "probe" in stages else ()
    extracts = "extract" in stages and bool(plan.jobs_left)
    if "probe" in stages:
        if options.shard is not None:
            raise InvalidRequest(
                f"--shard {options.shard} is a part of an extraction; probes are measured when all of its parts are "
                "done. Use `drfarm extract`."
            )
        check_tasks(probes, options.farm)
        if probes:
            check_device(options.probe_device)
    check_cluster(options.farm, probes, gpu=extracts, store_url=plan.store_url)
    if extracts:
        if not on_workers(options):
            choose_device(options.device)
        problem = space_problem(plan, store)
        if problem is not None:
            raise InvalidRequest(problem)


def _keep_study(plan: StudyPlan, store: Store) -> None:
    """Say in the store what the study is, and which representations it names."""
    study = plan.study
    store.put_study(study.study, study.model_dump(mode="json"), representations=plan.representation_ids)


def _probe(
    plan: StudyPlan, store: Store, options: RunOptions, reporter: Reporter, report: RunReport, *, grows: bool
) -> None:
    seen: set[str] = set()

    def ready(tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks whose features are there, each once in a run."""
        complete = {i.key.id for i in store.features.catalogue() if i.complete} if tasks else set()
        found = [t for t in tasks if complete.issuperset(_needs(t)) and t.batch_id not in seen]
        seen.update(t.batch_id for t in found)
        return found

    first = ready(plan.tasks)
    report.n_waiting = sum(t.n_jobs for t in plan.tasks) - sum(t.n_jobs for t in first)
    if not first:
        return
    quarantined = {f["batch_id"] for f in store.results.failures()}
    with reporter.stage("probe", sum(t.n_jobs for t in first), "results") as meter:

        def refined() -> list[Task]:
            if plan.study.subsets.refine is None or not grows:
                return []
            tasks = ready(plan_tasks(plan.study, plan.store_url, plan.targets, store, [])[0])
            meter.extend(sum(t.n_jobs for t in tasks))
            return tasks

        def done(task: Task) -> None:
            report.n_batches += task.n_jobs > 0
            report.n_results += task.n_jobs
            if task.batch_id in quarantined:
                store.results.clear_failure(task.batch_id)
            meter.advance(task.n_jobs, batch=task.batch_id)

        def failed(failure: Failure[Task]) -> None:
            task = failure.task
            report.failures.append((task.title, failure.error))
            record_failure(
                store,
                task.batch_id,
                study=plan.study.study,
                stage="probe",
                what=task.title,
                error=failure.error,
                attempts=failure.attempts,
                log=failure.log,
                work=quarantine.described(task),
            )
            meter.failed(task.batch_id, task.title, failure.error, attempts=failure.attempts, n=task.n_jobs)

        run_tasks(
            first,
            options.farm,
            done=done,
            failed=failed,
            retried=lambda task, why: meter.retried(task.batch_id, task.title, why),
            work=partial(on_kept_machine, run_task, device=options.probe_device, keep=True),
            more=refined,
            halves=halves,
            is_made=is_written,
            started=lambda task, worker: meter.started(task.batch_id, task.title, worker, n=task.n_jobs),
            crew=meter.workers,
            say=reporter.message,
        )


def _needs(task: Task) -> set[str]:
    if isinstance(task, StatisticsTask):
        return {task.representation_id}
    if isinstance(task, CkaTask):
        return {task.test_id} | ({task.train_id} if task.train_id is not None else set())
    needs = {task.setting.train_id, task.setting.test_id}
    validation = task.setting.validation
    if validation is not None and validation.split_id is not None:
        needs.add(validation.split_id)
    return needs
