"""Settings of pools on Kubernetes, through the Dask operator: one worker group with GPUs, one without."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from drfarm._study_part import Part
from drfarm.farm.clusters._slurm_settings import WORKERS_SHARE
from drfarm.farm.clusters._values import Bytes, Line, Scaled, VariableName

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$", max_length=40)]
"""A name that Kubernetes takes, with room for what the operator adds to it."""
Path = Annotated[str, StringConstraints(pattern=r"^/[^\x00\r\n]*$")]
"""An absolute path in a container."""


class Volume(Part):
    """A volume of every pod."""

    claim: Name
    """Name of the PersistentVolumeClaim."""
    path: Path
    """Where it is seen."""
    read_only: bool = False
    """Whether pods may only read it."""


class KubernetesPods(Scaled):
    """What both worker groups say."""

    cores: int = Field(ge=1)
    """CPU cores of one pod."""
    memory: Bytes
    """Memory of one pod."""
    image: Line | None = None
    """Instead of the cluster's image."""
    node_selector: dict[Line, str] = Field(default_factory=dict)
    """Labels of the nodes that may run it."""
    tolerations: tuple[dict[str, Any], ...] = ()
    """Taints of nodes that it tolerates, as Kubernetes writes them."""


class KubernetesGpuPool(KubernetesPods):
    """The group that runs networks: one process for each GPU."""

    gpus: int = Field(default=1, ge=1)
    """GPUs of one pod (``nvidia.com/gpu``)."""

    @property
    def n_processes(self) -> int:
        """Worker processes of one pod."""
        return self.gpus

    @property
    def memory_limit_bytes(self) -> int | None:
        """Memory of one worker process: the pod's limit is the only one."""
        return None


class KubernetesCpuPool(KubernetesPods):
    """The group that fits probes: one thread in each process."""

    processes: int | None = Field(default=None, ge=1)
    """Worker processes of one pod; by default one for each core."""

    @property
    def n_processes(self) -> int:
        """Worker processes of one pod."""
        return self.processes or self.cores

    @property
    def memory_limit_bytes(self) -> int:
        """Memory of one worker process."""
        return int(self.memory * WORKERS_SHARE / self.n_processes)


class KubernetesSettings(Part):
    """A whole file of settings for Kubernetes."""

    cluster: Literal["kubernetes"]
    """What the file is for."""
    image: Line
    """Container image with drfarm in it, of this very version."""
    name: Name = "drfarm"
    """Name of the cluster; a few letters are added to it in each run."""
    namespace: Name = "default"
    """Where it is made."""
    gpu: KubernetesGpuPool | None = None
    """Runs networks."""
    cpu: KubernetesCpuPool | None = None
    """Fits probes."""
    service_account: Name | None = None
    """Whose rights the pods have; they need none."""
    secrets: tuple[Name, ...] = ()
    """Secrets that become environment variables of the workers, such as the object store's credentials."""
    volumes: tuple[Volume, ...] = ()
    """Volumes of the workers: the store's, where it is not an object store, and the images'."""
    environment: dict[VariableName, str] = Field(default_factory=dict)
    """Environment variables of the workers. No secrets: they go into `secrets`."""
    tls_secret: Name | None = None
    """Secret with the files of a folder that `drfarm certs` made; the command has the same folder as `--tls`."""
    user: int = Field(default=10001, ge=1)
    """Numeric user of the containers."""
    scheduler_cores: int = Field(default=1, ge=1)
    """CPU cores of the scheduler's pod."""
    scheduler_memory: Bytes = 2 * 1024**3
    """Memory of the scheduler's pod."""
    address: Line | None = None
    """How this process reaches the scheduler; by default by its name, which is known inside the cluster only."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.gpu is None and self.cpu is None:
            raise ValueError("there is no pool: give gpu (runs networks), cpu (fits probes), or both")
        return self
