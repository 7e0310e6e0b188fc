"""Settings of pools on Slurm: one job specification for GPUs, one for CPUs."""

import sys
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from drfarm._study_part import Part
from drfarm.farm.clusters._values import Bytes, Line, Scaled, Seconds, VariableName, Word, clock

Directive = Annotated[str, StringConstraints(pattern=r"^-[^\x00\r\n]+$", max_length=500)]
"""What stands behind ``#SBATCH``."""

WORKERS_SHARE = 0.9
"""Of a job's memory, what its worker processes may take together; the rest is for the process that starts them."""


class SlurmJob(Scaled):
    """What jobs of both pools say to Slurm."""

    cores: int = Field(ge=1)
    """CPU cores of one job."""
    memory: Bytes
    """Memory of one job, such as ``64GiB``."""
    walltime: Seconds
    """Slurm ends the job after so long: ``4h``, or ``'04:00:00'``."""
    lifetime: Seconds | None = None
    """Workers end by themselves after so long, a bit below the walltime; what one does then is done again elsewhere."""
    lifetime_stagger: Seconds | None = None
    """Each job's lifetime is shorter by up to so much, by chance, so that they don't all end at once."""
    partition: Word | None = None
    """Slurm's partition."""
    account: Word | None = None
    """Whose account."""
    qos: Word | None = None
    """Quality of service."""
    directives: tuple[Directive, ...] = ()
    """Further directives, such as ``--constraint=a100``."""

    @model_validator(mode="after")
    def _ends_before_the_walltime(self) -> Self:
        if self.lifetime_stagger is not None and self.lifetime is None:
            raise ValueError("lifetime_stagger is for a lifetime: give both, or none")
        if self.lifetime is not None and self.lifetime >= self.walltime:
            raise ValueError(
                f"the lifetime ({clock(self.lifetime)}) must be shorter than the walltime ({clock(self.walltime)}), at "
                "which Slurm ends the job"
            )
        if self.lifetime is not None and (self.lifetime_stagger or 0) >= self.lifetime:
            raise ValueError("lifetime_stagger must be shorter than the lifetime")
        return self


class SlurmGpuPool(SlurmJob):
    """The pool that runs networks: one process for each GPU."""

    gpus: int = Field(default=1, ge=0)
    """GPUs of one job (``--gres=gpu:N``); 0 asks for none, and ``processes`` is needed then."""
    gpu_type: Word | None = None
    """Slurm's name of the kind of GPU."""
    processes: int | None = Field(default=None, ge=1)
    """Worker processes of one job; by default one for each GPU. Where a node has no GPU, so many use its CPU."""

    @model_validator(mode="after")
    def _something_to_run_on(self) -> Self:
        if self.gpus == 0 and self.processes is None:
            raise ValueError("with gpus: 0, say in `processes` how many run networks on the CPU")
        return self

    @property
    def n_processes(self) -> int:
        """Worker processes of one job."""
        return self.processes or self.gpus

    @property
    def memory_limit_bytes(self) -> int | None:
        """Memory of one worker process: Slurm's limit on the job is the only one."""
        return None


class SlurmCpuPool(SlurmJob):
    """The pool that fits probes: one thread in each process."""

    processes: int | None = Field(default=None, ge=1)
    """Worker processes of one job; by default one for each core."""

    @property
    def n_processes(self) -> int:
        """Worker processes of one job."""
        return self.processes or self.cores

    @property
    def memory_limit_bytes(self) -> int:
        """Memory of one worker process."""
        return int(self.memory * WORKERS_SHARE / self.n_processes)


class SlurmSettings(Part):
    """A whole file of settings for Slurm."""

    cluster: Literal["slurm"]
    """What the file is for."""
    gpu: SlurmGpuPool | None = None
    """Runs networks."""
    cpu: SlurmCpuPool | None = None
    """Fits probes."""
    interface: Word | None = None
    """Network interface of this machine on which the scheduler listens, such as ``ib0``."""
    host: Word | None = None
    """Instead of an interface: the address on which it listens. By default 127.0.0.1: this machine only."""
    logs: Line = "drfarm-logs"
    """Folder of the jobs' logs, which all nodes see; relative to where the command is started."""
    python: Line = sys.executable
    """The Python of the jobs; by default the one that submits them."""
    environment: dict[VariableName, Line] = Field(default_factory=dict)
    """Environment variables of the jobs, beside those of the command. It is written into scripts: no secrets."""
    prologue: tuple[Line, ...] = ()
    """Shell lines before the workers start, such as ``module load cuda``."""
    poll: Seconds = 5
    """How often Slurm is asked what has become of the jobs."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.gpu is None and self.cpu is None:
            raise ValueError("there is no pool: give gpu (runs networks), cpu (fits probes), or both")
        if self.interface is not None and self.host is not None:
            raise ValueError("give interface or host, not both: each says where the scheduler listens")
        return self
