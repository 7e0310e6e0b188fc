"""The stage ``extract``: groups of jobs in this process, a shard of them, or all of them on workers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from drfarm.extraction_tasks import (
    ExtractionTask,
    ShardReport,
    group_name,
    one_by_one,
    plan_extraction_tasks,
    run_extraction_task,
)
from drfarm.farm import Failure, gpu_places, run_network_tasks
from drfarm.machines import keep_machine, on_kept_machine
from drfarm.planning import StudyPlan, plan_study
from drfarm.progress import Meter, Reporter
from drfarm.run_options import RunOptions, RunReport, failure_id, record_failure
from extract import ExtractionJob, ExtractionReport, Shard, run_extraction
from store import DrfarmError, InvalidRequest, Store

Group = Sequence[ExtractionJob]


def on_workers(options: RunOptions) -> bool:
    """Say whether networks run in other processes: in a cluster, or one for each of several GPUs of this machine.

    Raises
    ------
    InvalidRequest
        If more GPUs are asked for than there are.
    """
    if options.farm.elsewhere:
        return True
    return options.shard is None and len(gpu_places(options.farm.n_gpus, device=options.device)) > 1


def extract(
    plan: StudyPlan,
    store: Store,
    options: RunOptions,
    reporter: Reporter,
    report: RunReport,
    *,
    only: frozenset[str] | None = None,
) -> StudyPlan:
    """Extract what is missing, as far as it is asked for, and return the plan that holds afterwards.

    ``only`` names the jobs to run; None is all.

    A representation of which a value is beyond float16 falls back to float32, here or in another process: its id is
    another one then. The study is planned again, and what is missing now is made.
    """
    failed: set[str] = set()
    first = True
    while True:
        left = (
            tuple(j for j in group if j.name not in failed and (only is None or j.name in only))
            for group in plan.groups_left
        )
        groups = [group for group in left if group]
        if not groups:
            return plan
        stage = _Stage(plan, groups, store, options, reporter, report)
        failed |= stage.run(quietly=not first)
        first = False
        if not stage.fell_back():
            return plan
        plan = plan_study(plan.study, store_url=plan.store_url, writing=True)


class _Stage:
    """One pass over the groups that are left."""

    def __init__(
        self,
        plan: StudyPlan,
        groups: Sequence[Group],
        store: Store,
        options: RunOptions,
        reporter: Reporter,
        report: RunReport,
    ) -> None:
        self._study = plan.study.study
        self._groups, self._store, self._run_options, self._reporter, self._report = (
            groups,
            store,
            options,
            reporter,
            report,
        )
        self._options = replace(
            plan.study.extract_options(),
            batch_size=options.batch_size,
            device=options.device,
            decode_workers=options.decode_workers,
        )
        self._failed: set[str] = set()

    def run(self, *, quietly: bool) -> set[str]:
        """Run the groups; return the names of the jobs that failed. ``quietly`` is for what runs once more."""
        shard, farm = self._run_options.shard, self._run_options.farm
        if quietly:
            self._reporter.message("what is beyond float16 is made anew in float32:")
        tasks = (
            plan_extraction_tasks(
                self._groups, self._store.url, self._options, python_path=self._run_options.python_path
            )
            if on_workers(self._run_options)
            else ()
        )
        self._report.n_chunks_missing = 0
        total = sum(j.n_forwards for g in self._groups for j in g) // (1 if shard is None else shard.count)
        with self._reporter.stage("extract", total, "images") as meter:
            if tasks and (farm.elsewhere or len(tasks) > 1):
                self._on_workers(tasks, meter)
            else:
                for group in self._groups:
                    self._here(group, meter)
        return self._failed

    def fell_back(self) -> bool:
        """Say whether a representation of these groups turned out to be beyond float16, here or elsewhere."""
        return any(self._has_fallen(group) for group in self._groups)

    def _has_fallen(self, group: Group) -> bool:
        fallback = self._store.features.fallback
        return any(p.key.dtype == "float16" and fallback(p.key.id) is not None for j in group for p in j.layers)

    def _here(self, group: Group, meter: Meter) -> None:
        progress = _progress(group, meter, self._run_options.shard)
        shard = self._run_options.shard or Shard(index=0, count=1)
        try:
            done = run_extraction(group, self._store.url, self._options, progress, shard=shard)
        except InvalidRequest:
            raise
        except DrfarmError as e:
            if self._has_fallen(group):  # another process found out first: planned again, it is made in float32
                return
            if len(group) == 1:
                self._give_up(group[0], str(e), meter, attempts=1, n=group[0].n_forwards)
                return
            self._reporter.message(f"{group_name(group)} failed together, so each is run by itself: {e}")
            for job in group:
                self._here((job,), meter)
            return
        keep_machine(self._store)
        self._report.n_images += done.n_forwarded
        self._report.n_chunks_missing += done.n_missing
        if done.n_forwarded:
            self._reporter.message(f"{done.name}: {done.stages}")
        self._told(group, done, len(done.masked))

    def _on_workers(self, tasks: Sequence[ExtractionTask], meter: Meter) -> None:
        again: list[ExtractionTask] = []
        sums = {t.ids: _Sum(n_tasks=t.shard.count) for t in tasks}

        def done(task: ExtractionTask, told: ShardReport) -> None:
            self._report.n_images += told.report.n_forwarded
            meter.advance(task.n_forwards, batch=task.batch_id)
            self._told(task.jobs, told.report, told.n_masked)
            line = sums[task.ids].add(told.report) if task.ids in sums else None
            if line is not None:
                self._reporter.message(f"{group_name(task.jobs)}: {line}")

        def failed(failure: Failure[ExtractionTask]) -> None:
            task = failure.task
            if self._has_fallen(task.jobs):
                meter.withdrawn(task.batch_id)
                return
            if len(task.jobs) > 1:
                again.extend(one_by_one(task))
                meter.retried(task.batch_id, task.title, f"each network by itself, as it failed: {failure.error}")
                return
            job, n = task.jobs[0], task.n_forwards
            if job.name in self._failed:  # another shard of it failed: once is enough
                meter.advance(n, batch=task.batch_id)
                return
            self._give_up(
                job, failure.error, meter, attempts=failure.attempts, n=n, log=failure.log, batch=task.batch_id
            )

        def more() -> list[ExtractionTask]:
            found = [t for t in again if t.jobs[0].name not in self._failed]
            again.clear()
            return found

        run_network_tasks(
            tasks,
            self._run_options.farm,
            device=self._run_options.device,
            work=partial(on_kept_machine, run_extraction_task),
            done=done,
            failed=failed,
            retried=lambda task, why: meter.retried(task.batch_id, task.title, why),
            more=more,
            amount=lambda task: task.n_forwards,
            amount_done=lambda _, told: told.report.n_forwarded,
            started=lambda task, worker: meter.started(task.batch_id, task.title, worker, n=task.n_forwards),
            crew=meter.workers,
            say=self._reporter.message,
        )

    def _told(self, group: Group, done: ExtractionReport, n_masked: int) -> None:
        if done.complete:
            for job in group:
                self._store.results.clear_failure(failure_name(job))
        if done.fallbacks:
            layers = "1 layer" if len(done.fallbacks) == 1 else f"{len(done.fallbacks)} layers"
            self._reporter.message(f"note: {done.name}: {layers} with values beyond float16, stored in float32")
        if n_masked:
            self._reporter.message(
                f"note: {done.name}: {n_masked} of {group[0].n_samples} samples could not be decoded and are "
                f"masked; the first is {done.masked[0]}"
            )

    def _give_up(
        self,
        job: ExtractionJob,
        error: str,
        meter: Meter,
        *,
        attempts: int,
        n: float,
        log: str = "",
        batch: str | None = None,
    ) -> None:
        self._failed.add(job.name)
        self._report.failures.append((f"extract {job.name}", error))
        name = failure_name(job)
        record_failure(
            self._store,
            name,
            study=self._study,
            stage="extract",
            what=job.name,
            error=error,
            attempts=attempts,
            log=log,
        )
        meter.failed(batch or name, f"extract {job.name}", error, attempts=attempts, n=n)


class _Sum:
    """What the tasks of one group told, as one line when the last has ended."""

    def __init__(self, *, n_tasks: int) -> None:
        self._left = self._n_tasks = n_tasks
        self._reports: list[ExtractionReport] = []

    def add(self, report: ExtractionReport) -> str | None:
        self._left -= 1
        self._reports.append(report)
        ran = [r for r in self._reports if r.n_forwarded]
        if self._left or not ran:
            return None
        n, seconds = sum(r.n_forwarded for r in ran), sum(r.elapsed_s for r in ran)
        forward, waiting = sum(r.forward_s for r in ran), sum(r.waiting_s for r in ran)
        tasks = "1 task" if self._n_tasks == 1 else f"{self._n_tasks} tasks"
        return (
            f"{n:,} images in {tasks} at {n / max(seconds, 1e-9):,.0f}/s each: forward {forward:.1f} s, "
            f"waiting {waiting:.1f} s (batches of {ran[0].batch_size} on {ran[0].device})"
        )


def _progress(group: Group, meter: Meter, shard: Shard | None) -> Callable[[int, int], None]:
    """Return what turns a group's own count into the stage's: what is done already counts as done."""
    total = sum(j.n_forwards for j in group) // (1 if shard is None else shard.count)
    told = 0

    def progress(n_done: int, n_all: int) -> None:
        nonlocal told
        now = min(total, max(0, total - n_all) + n_done)
        if now > told:
            meter.advance(now - told)
            told = now

    return progress


def failure_name(job: ExtractionJob) -> str:
    """Return the name under which a store keeps the failure of an extraction."""
    return failure_id("extract", job.name, *job.ids)
