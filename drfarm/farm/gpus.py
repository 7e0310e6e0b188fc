"""Which processes run networks on a machine: one for each GPU, each of which sees its own only."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from drfarm.farm._settings import SAFE_PATH
from store import InvalidRequest

RESOURCE = "GPU"
"""What a worker advertises that runs networks, one of it each."""

DECODE_WORKERS = "DRFARM_DECODE_WORKERS"
"""Environment variable of such a worker: its share of the machine's cores, for decoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one worker process lives, and what it says of itself."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Its own environment variables."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """What it advertises."""


def count_gpus() -> int:
    """Return the CUDA devices that this process may use."""
    import torch

    return int(torch.cuda.device_count())


def gpu_places(n_asked: int | None, *, device: str = "auto", without_gpu: bool = False) -> tuple[Place, ...]:
    """Return a place for each worker that is to run networks here.

    Parameters
    ----------
    n_asked
        Workers; None is one for each GPU.
    device
        Where networks run: with ``cpu`` the workers share the cores, and no GPU is looked for.
    without_gpu
        Whether workers on a machine without any GPU are wanted all the same; ``n_asked`` then says how many.

    Raises
    ------
    InvalidRequest
        If there are fewer GPUs than were asked for.
    """
    n_gpus = 0 if device == "cpu" else count_gpus()
    if n_gpus == 0 and n_asked is not None and (device == "cpu" or without_gpu):
        return tuple(_place({}, n_asked, threads=True) for _ in range(n_asked))
    if n_asked is not None and n_asked > n_gpus:
        raise InvalidRequest(f"{n_asked} GPUs are asked for, and torch sees {n_gpus} here. Ask for fewer.")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [v.strip() for v in visible.split(",")] if visible else [str(i) for i in range(n_gpus)]
    n = n_gpus if n_asked is None else n_asked
    return tuple(_place({"CUDA_VISIBLE_DEVICES": name}, n, threads=False) for name in names[:n])


def _place(environment: Mapping[str, str], n: int, *, threads: bool) -> Place:
    from dask.system import CPU_COUNT

    share = max(1, CPU_COUNT // n)
    own = {**SAFE_PATH, **environment, DECODE_WORKERS: str(min(share, 16))}
    if threads and "OMP_NUM_THREADS" not in os.environ:  # networks on the CPU share its cores
        own["OMP_NUM_THREADS"] = str(share)
    return Place(environment=own, resources={RESOURCE: 1})
