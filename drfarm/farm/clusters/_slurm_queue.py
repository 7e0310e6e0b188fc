"""Talking to Slurm: sbatch, squeue, scancel. Each answers or raises; nothing is remembered here."""

import os
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from store import DrfarmError

_TIMEOUT_S = 60
_ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED", "NODE_FAIL"}
) | frozenset({"OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"})


class SlurmRefused(DrfarmError):
    """A command of Slurm failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """What Slurm says of a job."""

    state: str
    """Such as ``PENDING``."""
    reason: str
    """Why it waits, or where it runs."""

    @property
    def lives(self) -> bool:
        """Whether it waits, starts or runs."""
        return self.state not in _ENDED


class SlurmQueue:
    """The commands of Slurm."""

    def check(self, script: str) -> None:
        """Ask whether Slurm would take a script; submits nothing.

        Raises
        ------
        SlurmRefused
            With what Slurm says.
        """
        _run("sbatch", "--test-only", text=script)

    def submit(self, script: str) -> str:
        """Submit a script; return the job's id."""
        return _run("sbatch", "--parsable", text=script).strip().partition(";")[0]

    def jobs(self, name: str) -> dict[str, QueuedJob]:
        """Return the jobs of a name that Slurm still lists, by id."""
        found = {}
        for line in _run("squeue", "--noheader", "--name", name, "--format", "%i|%T|%R").splitlines():
            job, _, rest = line.strip().partition("|")
            state, _, reason = rest.partition("|")
            if job:
                found[job] = QueuedJob(state=state, reason=reason)
        return found

    def cancel(self, jobs: Collection[str]) -> None:
        """End jobs; one that has ended already is no error."""
        if jobs:
            _run("scancel", "--quiet", *sorted(jobs))


def _run(*words: str, text: str | None = None) -> str:
    # The command may run in a job itself: what Slurm told that one of itself is not for the jobs that it submits.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_"))
    }
    try:
        done = subprocess.run(
            words, input=text or "", capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, check=False
        )
    except FileNotFoundError as e:
        raise SlurmRefused(f"there is no {words[0]} here: --cluster slurm is for machines that submit to Slurm.") from e
    except subprocess.TimeoutExpired as e:
        raise SlurmRefused(f"{words[0]} did not answer within {_TIMEOUT_S} s") from e
    if done.returncode:
        raise SlurmRefused(f"{words[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout
