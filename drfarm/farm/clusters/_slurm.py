"""A pool of Slurm jobs: submitted, watched, submitted again when lost, cancelled at the end whatever happens."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from drfarm.errors import FarmFailed
from drfarm.farm.clusters._jobs import JobBook
from drfarm.farm.clusters._slurm_queue import QueuedJob, SlurmRefused

if TYPE_CHECKING:
    from distributed import Client

_SILENT_S = 600.0
"""Slurm may be out of reach for so long: its jobs run on."""
_LOG_LINES = 15
_log = logging.getLogger("drfarm.farm.clusters")


class Queue(Protocol):
    """Slurm, as `SlurmQueue` is."""

    def submit(self, script: str) -> str:
        """Submit a script; return the job's id."""
        ...

    def jobs(self, name: str) -> dict[str, QueuedJob]:
        """Return the jobs of a name."""
        ...

    def cancel(self, jobs: Set[str]) -> None:
        """End jobs."""
        ...


class SlurmPool:
    """Jobs of one kind. A thread of its own watches them, so that a slow Slurm holds nobody up.

    Parameters
    ----------
    queue
        Slurm.
    script, name
        Of the jobs.
    logs
        Their folder of logs.
    n_jobs
        So many at first.
    client
        Of the scheduler whose workers they run.
    poll_s
        How often to look, in seconds.
    """

    def __init__(
        self, queue: Queue, script: str, *, name: str, logs: Path, n_jobs: int, client: "Client", poll_s: float
    ) -> None:
        self._queue, self._script, self._name, self._logs, self._client = queue, script, name, logs, client
        self._poll_s = poll_s
        self._book = JobBook(wanted=n_jobs)
        self._job_of: dict[str, str] = {}
        self._was_of: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._answered_at = time.monotonic()
        self._why = ""
        self._failure: FarmFailed | None = None
        self._thread = threading.Thread(target=self._watch, name=f"{name}-pool", daemon=True)

    @property
    def n_jobs(self) -> int:
        """Jobs that it has, those included that have not started."""
        return max(len(self._book.jobs), self._book.wanted)

    @property
    def starting(self) -> bool:
        """Whether a job has still no worker."""
        return len(self._book.working) < self._book.wanted

    @property
    def n_lost(self) -> int:
        """Jobs that worked and were lost, and replaced."""
        return self._book.n_lost

    def check(self) -> None:
        """Raise what the pool was given up for."""
        if self._failure is not None:
            raise self._failure

    def ended(self, worker: str) -> bool:
        """Say whether the job of a worker that died has ended: cancelled, preempted, timed out, or its node broke."""
        job = self._was_of.get(worker)
        if job is None:
            return False
        try:
            said = self._queue.jobs(self._name).get(job)
        except SlurmRefused:
            return False
        return said is None or (not said.lives and said.state != "OUT_OF_MEMORY")

    def want(self, n_jobs: int) -> None:
        """Have so many jobs from now on."""
        self._book.wanted = n_jobs

    def release(self, idle: Set[str], *, fewest: int) -> None:
        """Cancel jobs of which all workers are idle; keep so many."""
        with self._lock:
            workers: dict[str, set[str]] = {}
            for address, job in self._job_of.items():
                workers.setdefault(job, set()).add(address)
            free = [job for job in self._book.working if job in workers and workers[job] <= idle]
            chosen = set(free[: max(0, len(self._book.jobs) - fewest)])
            if chosen:
                self._book.wanted = max(fewest, len(self._book.jobs) - len(chosen))
                self._book.cancelled(chosen)
                with contextlib.suppress(SlurmRefused):
                    self._queue.cancel(chosen)

    @contextlib.contextmanager
    def kept(self) -> Iterator["SlurmPool"]:
        """Keep the jobs inside; cancel all of them at the end."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(timeout=120)  # a submission that is on its way is cancelled too
            with contextlib.suppress(SlurmRefused):
                self._queue.cancel(self._book.jobs | self._queue.jobs(self._name).keys())

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                with self._lock:
                    self._look()
            except Exception as e:  # noqa: BLE001 - it would end unseen in its thread
                self._failure = FarmFailed(f"the Slurm jobs can't be watched any more ({type(e).__name__}: {e}).")
                return
            if self._failure is not None:
                return
            self._stop.wait(self._poll_s)

    def _look(self) -> None:
        now = time.monotonic()
        connected = self._connected()
        try:
            jobs = self._queue.jobs(self._name)
        except SlurmRefused as e:
            if now - self._answered_at > _SILENT_S:
                self._failure = FarmFailed(f"Slurm has not answered for {_SILENT_S:.0f} s ({e}). Run again later.")
            return
        self._answered_at = now
        before, lost = self._book.working, self._book.n_lost
        failed = self._book.seen([job for job, said in jobs.items() if said.lives], connected, now=now)
        if self._book.n_lost > lost:
            gone = ", ".join(sorted(before - self._book.working))
            _log.info("lost job %s of %s; another is submitted", gone, self._name)
        if failed:
            self._why = f"job {failed[-1]} ended before it had a worker: {self._log_tail(failed[-1])}"
            _log.warning("%s", self._why)
        for _ in range(self._book.missing(now=now)):
            if self._stop.is_set():
                return
            try:
                job = self._queue.submit(self._script)
            except SlurmRefused as e:
                self._book.refused(now=now)
                self._why = str(e)
                break
            self._book.submitted(job)
            _log.info("submitted job %s of %s", job, self._name)
        if self._book.given_up:
            self._failure = FarmFailed(
                f"no Slurm job of the pool {self._name} stays alive. The last: {self._why}\nCorrect the cluster "
                "settings; then run again: what is finished is kept."
            )

    def _connected(self) -> set[str]:
        """Return the jobs of which there are workers now."""
        alive = self._client.nthreads().keys()
        new = [address for address in alive if address not in self._job_of]
        if new:
            told = self._client.run(os.getenv, "SLURM_JOB_ID", workers=new, on_error="ignore")
            found = {address: job for address, job in told.items() if job}
            self._job_of |= found
            self._was_of |= found
        for address in self._job_of.keys() - alive:
            del self._job_of[address]
        return set(self._job_of.values())

    def _log_tail(self, job: str) -> str:
        lines: list[str] = []
        for file in (self._logs / f"{self._name}-{job}.out", self._logs / f"{self._name}-{job}.err"):
            with contextlib.suppress(OSError):
                lines += file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(["its log ends:", *lines]) if lines else f"it left no log in {self._logs}"
