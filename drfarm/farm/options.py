"""How many workers, where, and what is refused before any starts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from drfarm.farm._deadline import FACTOR
from drfarm.farm._sockets import check_temporary_folder
from drfarm.farm.clusters.settings import KINDS, Kind, load_settings
from drfarm.farm.security import check_encrypted
from probe import Task
from store import InvalidRequest, UnknownName

PATIENCE_S = 600.0
"""A scheduler that does not answer any more is waited for so long, and so are workers where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmOptions:
    """How many processes, how much memory each, or which running cluster."""

    n_workers: int | None = None
    """Worker processes; by default one for each core that this process may use."""
    memory_limit_bytes: int | None = None
    """Memory of one worker; by default its share of the machine's."""
    scheduler: str | None = None
    """Address of a running cluster, such as ``tls://10.0.0.5:8786``; None starts processes on this machine."""
    n_gpus: int | None = None
    """GPUs of this machine to run networks on, a process each; by default all of them."""

    tls: Path | None = None
    """Folder of certificates (`drfarm certs`), for a cluster at ``tls://``."""
    insecure: bool = False
    """Whether a cluster on other machines may be used without certificates."""
    patience_s: float = PATIENCE_S
    """How long a running cluster that does not answer any more, or has no worker, is waited for, in seconds."""

    cluster: Kind = "local"
    """Where workers are started, if not in a cluster that runs: ``local``, ``slurm`` or ``kubernetes``."""
    cluster_config: Path | None = None
    """Settings of the cluster to be made; see docs/clusters.md."""

    deadline_factor: float = FACTOR
    """A task is taken to hang, and its worker is ended, when it takes so many times what it should."""

    dashboard_port: int = 0
    """Where Dask's dashboard of worker processes on this machine is served, for this machine only; 0 serves none."""

    def __post_init__(self) -> None:
        if self.dashboard_port and self.elsewhere:
            raise InvalidRequest(
                f"--dashboard-port {self.dashboard_port} is for worker processes of this machine; a cluster's "
                "scheduler has a dashboard of its own (`drfarm scheduler --dashboard`). Leave it out."
            )
        if self.scheduler is not None:
            check_encrypted(check_address(self.scheduler), tls=self.tls, insecure=self.insecure)
            if self.n_workers is not None or self.memory_limit_bytes is not None or self.n_gpus is not None:
                raise InvalidRequest(
                    f"with --scheduler {self.scheduler} the workers are there already: --workers, --memory-limit and "
                    "--gpus go to `drfarm worker`."
                )

        self._check_cluster()

    @property
    def elsewhere(self) -> bool:
        """Whether workers are not processes of this machine: in a cluster that runs, or in one that is made."""
        return self.scheduler is not None or self.cluster != "local"

    def _check_cluster(self) -> None:
        if self.cluster not in KINDS:
            raise UnknownName.among("kind of cluster", self.cluster, KINDS)
        if self.cluster == "local":
            if self.cluster_config is not None:
                raise InvalidRequest(
                    f"--cluster-config {self.cluster_config} is for --cluster slurm or kubernetes. Local processes "
                    "take --workers, --memory-limit and --gpus."
                )
            return
        if self.scheduler is not None:
            raise InvalidRequest(
                f"--scheduler {self.scheduler} joins a cluster that runs, and --cluster {self.cluster} makes one. Give "
                "one of them."
            )
        if self.n_workers is not None or self.memory_limit_bytes is not None or self.n_gpus is not None:
            raise InvalidRequest(
                f"with --cluster {self.cluster} the settings say how many workers there are, and their memory: leave "
                "--workers, --memory-limit and --gpus out."
            )
        if self.cluster_config is None:
            raise InvalidRequest(
                f"--cluster {self.cluster} needs its settings: --cluster-config FILE. docs/clusters.md has examples."
            )
        load_settings(self.cluster, self.cluster_config)

    def workers(self, n_tasks: int) -> int:
        """Return the number of processes for so many tasks."""
        from dask.system import CPU_COUNT  # affinity and the container's quota are in it

        return max(1, min(self.n_workers or CPU_COUNT, n_tasks))

    def memory(self, n_workers: int) -> int:
        """Return the memory limit of one worker, in bytes."""
        if self.memory_limit_bytes is not None:
            return self.memory_limit_bytes
        from distributed.system import MEMORY_LIMIT  # the container's limit is in it

        return int(MEMORY_LIMIT * 0.9 / n_workers)


def check_address(address: str) -> str:
    """Return the address of a scheduler.

    Raises
    ------
    InvalidRequest
        If it has another form.
    """
    match = re.fullmatch(r"(?:tcp|tls)://(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:]+\]):(\d{1,5})", address)
    if match is None or not 0 < int(match[1]) < 65536:
        raise InvalidRequest(
            f"the address of a scheduler has the form tcp://HOST:PORT or tls://HOST:PORT, got {address!r}. "
            "`drfarm scheduler` starts one and shows its address."
        )
    return address


def check_tasks(
    tasks: Sequence[Task],
    options: FarmOptions,
    *,
    n_workers: int | None = None,
    memory_limit_bytes: int | None = None,
) -> None:
    """Refuse tasks that can't run, before any starts.

    Parameters
    ----------
    tasks, options
        What is to run, and how.
    n_workers
        Processes that are there already; by default as many as the tasks would start.
    memory_limit_bytes
        Memory of the smallest of the workers that are there already; by default what the options say.

    Raises
    ------
    InvalidRequest
        If one is predicted to need more memory than a worker has, or local workers could not meet.
    """
    if not tasks or (options.elsewhere and memory_limit_bytes is None):
        return
    if not options.elsewhere:
        check_temporary_folder()
    limit = memory_limit_bytes or options.memory(n_workers or options.workers(len(tasks)))
    worst = max(tasks, key=lambda t: t.predicted_bytes)
    if worst.predicted_bytes > limit:
        raise InvalidRequest(
            f"a task ({worst.title}) needs about {worst.predicted_bytes / 2**20:,.0f} MiB of memory, but a worker has "
            f"{limit / 2**20:,.0f} MiB. Use fewer workers (--workers), raise --memory-limit, or store float16 features "
            "(dtype: float16)."
        )


def check_device(device: str) -> None:
    """Refuse a device on which probes can't be fitted here, before any worker starts.

    Raises
    ------
    InvalidRequest
        If it is a GPU and there is none, or CuPy, which ridge needs there, is not installed.
    """
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise InvalidRequest(
            f"--probe-device {device}: torch sees no CUDA device here. Leave the option out, or use another machine."
        )
    if find_spec("cupy") is None:
        raise InvalidRequest(
            f"--probe-device {device}: ridge on a GPU needs CuPy, which is not installed. Install drfarm[gpu], or "
            "leave the option out."
        )
