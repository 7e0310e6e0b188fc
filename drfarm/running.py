"""Running a study: extract what is missing, probe what is missing. Interrupted anywhere, it goes on where it was."""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from drfarm.farm import Failure, FarmOptions, check_device, check_tasks, run_tasks, start_tracker
from drfarm.planning import StudyPlan, plan_study
from drfarm.progress import Reporter, TerminalReporter
from drfarm.study import Study
from drfarm.tasks import plan_tasks
from extract import ExtractionJob, choose_device, run_extraction
from probe import CkaTask, StatisticsTask, Task, run_task
from store import JSON, DrfarmError, InvalidRequest, StorageFailure, Store, content_id, open_store

STAGES = ("extract", "probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run; nothing of it changes what is measured."""

    batch_size: int = 64
    """Images of a forward pass."""
    device: str = "auto"
    """Where networks run: ``auto``, ``cpu`` or ``cuda``."""
    probe_device: str = "cpu"
    """Where probes are fitted: ``cpu`` or ``cuda``. Unlike the rest it may change a result, by rounding."""
    farm: FarmOptions = field(default_factory=FarmOptions)
    """Worker processes."""
    python_path: Path | None = None
    """Folder in which ``python:MODULE:CALLABLE`` also looks for modules, after everything that is installed."""


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
    elapsed_s: float = 0.0
    """Wall time, in seconds."""

    @property
    def ok(self) -> bool:
        """Say whether everything is done."""
        return not self.failures and not self.n_waiting


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
        if "probe" in stages:
            check_tasks(plan.tasks, options.farm)
            if plan.tasks:
                check_device(options.probe_device)
        opened = open_store(plan.store_url)
        if "extract" in stages and plan.jobs_left:
            choose_device(options.device)
            _check_space(plan, opened)
        for note in plan.notes:
            reporter.message(f"note: {note}")
        opened.put_study(study.study, study.model_dump(mode="json"))
        if plan.tasks and "probe" in stages:
            start_tracker()
        if "extract" in stages:
            _extract(plan, opened, options, reporter, report)
        if "probe" in stages:
            _probe(plan, opened, options, reporter, report)
    report.elapsed_s = time.monotonic() - began
    return report


def _extract(plan: StudyPlan, store: Store, options: RunOptions, reporter: Reporter, report: RunReport) -> None:
    jobs = plan.jobs_left
    if not jobs:
        return
    extract_options = plan.study.extract_options(batch_size=options.batch_size, device=options.device)
    with reporter.stage("extract", sum(j.n_samples for j in jobs), "images") as meter:
        for job in jobs:
            told = 0

            def progress(n_done: int, n_all: int, job: ExtractionJob = job) -> None:
                nonlocal told
                now = job.n_samples - n_all + n_done
                meter.advance(now - told)
                told = now

            name = _failure_id("extract", job.name, *job.ids)
            try:
                done = run_extraction(job, store.url, extract_options, progress)
            except InvalidRequest:
                raise
            except DrfarmError as e:
                report.failures.append((f"extract {job.name}", str(e)))
                record: dict[str, JSON] = {
                    "study": plan.study.study,
                    "stage": "extract",
                    "what": job.name,
                    "error": str(e),
                    "attempts": 1,
                }
                _record_failure(store, name, record)
                reporter.message(f"failed: extract {job.name}: {e}")
                continue
            report.n_images += done.n_forwarded
            store.results.clear_failure(name)
            if done.masked:
                reporter.message(
                    f"note: {job.name}: {len(done.masked)} of {job.n_samples} samples could not be decoded and are "
                    f"masked; the first is {done.masked[0]}"
                )


def _record_failure(store: Store, name: str, record: dict[str, JSON]) -> None:
    """Keep a failure for `status`; on a disk that is full even that may fail, and the report names it all the same."""
    with contextlib.suppress(StorageFailure):
        store.results.record_failure(name, record)


def _check_space(plan: StudyPlan, store: Store) -> None:
    root = store.objects.local_root
    if root is None:
        return
    made = {i.key.id: i.n_chunks_done / i.n_chunks for i in store.features.catalogue()}
    needed = sum(j.n_bytes * (1.0 - min(made.get(i, 0.0) for i in j.ids)) for j in plan.jobs_left)
    free = shutil.disk_usage(root).free
    if needed > free:
        raise InvalidRequest(
            f"{root} has {free / 2**30:.2f} GiB free, and the features need up to {needed / 2**30:.2f} GiB. Free some "
            "space, choose another store with --store, or store float16 features (dtype: float16)."
        )


def _probe(plan: StudyPlan, store: Store, options: RunOptions, reporter: Reporter, report: RunReport) -> None:
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
    with reporter.stage("probe", sum(t.n_jobs for t in first), "results") as meter:

        def refined() -> list[Task]:
            if plan.study.subsets.refine is None:
                return []
            tasks = ready(plan_tasks(plan.study, plan.store_url, plan.targets, store, [])[0])
            meter.extend(sum(t.n_jobs for t in tasks))
            return tasks

        def done(task: Task) -> None:
            report.n_batches += task.n_jobs > 0
            report.n_results += task.n_jobs
            store.results.clear_failure(task.batch_id)
            meter.advance(task.n_jobs)

        def failed(failure: Failure) -> None:
            report.failures.append((failure.task.title, failure.error))
            record: dict[str, JSON] = {
                "study": plan.study.study,
                "stage": "probe",
                "what": failure.task.title,
                "error": failure.error,
                "attempts": failure.attempts,
            }
            _record_failure(store, failure.task.batch_id, record)
            reporter.message(f"failed after {failure.attempts} attempts: {failure.task.title}: {failure.error}")

        def retried(task: Task, why: str) -> None:
            reporter.message(f"trying again: {task.title}: {why}")

        run_tasks(
            first,
            options.farm,
            done=done,
            failed=failed,
            retried=retried,
            work=partial(run_task, device=options.probe_device),
            more=refined,
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


def _failure_id(*parts: Any) -> str:
    return content_id([str(p) for p in parts])[:32]


@contextlib.contextmanager
def importable(folder: Path | None) -> Iterator[None]:
    """Let ``python:`` sources be found in a folder, after everything that is installed: it can shadow nothing."""
    if folder is None:
        yield
        return
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
