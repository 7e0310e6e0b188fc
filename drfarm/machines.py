"""Machines that commands ran on, kept in the store: processors, memory, GPUs, and the versions that were installed.

rates/machine/<key>.json     one for each host and set of versions; the newest replaces the one before
"""

import os
import platform
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol, TypeVar

from drfarm._version import __version__
from drfarm.progress import bytes_text
from store import StorageFailure, Store, open_store

PACKAGES = ("torch", "torchvision", "timm", "numpy", "zarr", "pyarrow", "scikit-learn", "distributed")
"""Packages whose versions may change a result."""
_KIND = "machine"

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host that a command ran on."""

    host: str
    """Its name."""
    told: str
    """What it is and what was installed, for people."""


class StoredTask(Protocol):
    """A task that writes to a store."""

    @property
    def store_url(self) -> str:
        """Where the store is."""


def on_kept_machine(work: Callable[..., R], task: StoredTask, **how: object) -> R:
    """Do a task, and keep in its store, once in a process, what machine it ran on."""
    done = work(task, **how)
    _keep_once(task.store_url)
    return done


@cache
def _keep_once(store_url: str) -> None:
    keep_machine(open_store(store_url))


def keep_machine(store: Store) -> None:
    """Keep in a store what this machine is; on a disk that is full nobody stops for it."""
    import psutil
    import torch

    found = versions()
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    host = socket.gethostname()
    with suppress(StorageFailure):
        store.rates.put(
            _KIND,
            f"{host}, drfarm {__version__}, {versions_text(found)}",
            {
                "host": host,
                "processor": _processor(),
                "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
                "memory_bytes": psutil.virtual_memory().total,
                "gpus": gpus,
                # Of the module's functions, those that start a process to find out are avoided.
                "system": f"{platform.system()} {platform.release()}",
                "drfarm": __version__,
                "versions": found,
            },
        )


def machines(store: Store) -> tuple[Machine, ...]:
    """Return the machines that commands on this store ran on, the one that was last seen last."""
    found = []
    for record in store.rates.all(_KIND):
        if not {"host", "processor", "cores", "memory_bytes", "gpus", "system", "drfarm", "versions"} <= set(record):
            continue  # of another layout
        parts = [str(record["processor"]), f"{record['cores']} cores", bytes_text(record["memory_bytes"])]
        parts += [str(gpu) for gpu in record["gpus"]]
        parts += [str(record["system"]), f"drfarm {record['drfarm']}", versions_text(record["versions"])]
        found.append(Machine(host=str(record["host"]), told=", ".join(parts)))
    return tuple(found)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on, those that are installed."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def versions_text(found: Mapping[str, str]) -> str:
    """Return versions on one line."""
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _processor() -> str:
    """Return the processor's name, where the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
