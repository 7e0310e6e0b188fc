"""Nodes for the tests of extraction: real processes of the command, on a study of many small chunks.

Chunks are made small through the one constant that decides their size, in every process that inherits `environment`.
Run as a script, it imports the command once and forks a process for each line that it reads: those start at once.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from forker import Forker, serve

CHUNK_BYTES = 2**17
"""64 rows of the network below."""

NETWORKS = '''
import time

import torch
from torch import nn


class Wide(nn.Module):
    """One wide hidden layer; a forward pass takes a moment, as real ones do. Or it is ill, or large."""

    def __init__(self, width=512, pause_s=0.0, scale=1.0, sick=False):
        super().__init__()
        self.low, self.low_act = nn.Linear(3 * 64, width), nn.ReLU()
        self.body, self.act, self.fc = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        self.pause_s, self.scale, self.sick = pause_s, scale, sick

    def forward(self, x):
        time.sleep(self.pause_s)
        y = self.act(self.scale * self.body(self.low_act(self.low(x.flatten(1)))))
        if self.sick and len(x) > 16:
            y = y * torch.nan
        return self.fc(y)
'''

_SITE = """
import os

if "SMALL_CHUNKS" in os.environ:
    import store.grid

    store.grid.TARGET_CHUNK_BYTES = int(os.environ["SMALL_CHUNKS"])
"""


def model(name: str, seed: int, **arguments) -> dict:
    """Return a network's entry in a study file."""
    return {
        "name": name,
        "source": "python:wide_networks:Wide",
        "weights": f"random:{seed}",
        "args": arguments,
        "input_size": 8,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }


def write_study(folder: Path, *, n_train: int = 1500, n_test: int = 500, pause_s: float = 0.0, **changes) -> Path:
    """Write a study of two networks on ten classes of noisy images, with its networks and images."""
    (folder / "wide_networks.py").write_text(NETWORKS)
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(_SITE)
    rng = np.random.default_rng(0)
    centres = rng.integers(60, 190, (10, 8, 8, 3))
    arrays = {}
    for split, n in (("train", n_train), ("test", n_test)):
        arrays[f"y_{split}"] = labels = rng.permutation(np.arange(n) % 10)
        noise = rng.normal(0, 60, (n, 8, 8, 3))
        arrays[f"x_{split}"] = np.clip(centres[labels] + noise, 0, 255).astype(np.uint8)
    np.savez(folder / "images.npz", **arrays)
    study = {
        "study": "nodes",
        "store": "./store",
        "models": [model("ash", 0, pause_s=pause_s), model("birch", 1, pause_s=pause_s)],
        "layers": ["low_act", "penultimate"],
        "datasets": [{"name": "noise", "source": "npz:images.npz"}],
        "subsets": {"n_neurons": [8, 512], "seeds": 2},
        "measures": [{"measure": "accuracy", "solver": "ridge"}, {"measure": "cka"}],
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**study, **changes}, sort_keys=False), encoding="utf-8")
    return file


def environment(folder: Path, *, gpus: bool = False) -> dict[str, str]:
    """Return the environment of every process of a test: small chunks, one thread, no GPU unless it is asked for."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        **({} if gpus else {"CUDA_VISIBLE_DEVICES": ""}),
        "PYTHONPATH": str(folder / "site"),
        "SMALL_CHUNKS": str(CHUNK_BYTES),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def start(folder: Path, *words: object, apart: bool = False, gpus: bool = False) -> subprocess.Popen:
    """Start the command; ``apart`` is in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "drfarm", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, gpus=gpus),
        cwd=folder,
        start_new_session=apart,
    )


def finished(process: subprocess.Popen, timeout_s: float = 240) -> tuple[int, str, str]:
    """Wait for a process; return its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def n_chunks(store: Path) -> int:
    return len(list(store.glob("ledger/*/chunks/*.json")))


def files(store: Path) -> dict[str, bytes]:
    """Return every byte of the features and of what the ledger has of their chunks.

    A file that was being written when its process was killed has ``#`` in its name; no store sees it.
    """
    found = [p for p in store.glob("features/**/*") if p.is_file()]
    found += [p for pattern in ("*/chunks/*", "*/complete.json") for p in store.glob(f"ledger/{pattern}")]
    return {str(p.relative_to(store)): p.read_bytes() for p in found if "#" not in p.name}


def forker(folder: Path) -> Forker:
    """Return a process that forks the command, on the studies of a folder."""
    return Forker(__file__, folder=folder, environment=environment(folder))


def _serve() -> None:
    import pyarrow.dataset  # noqa: F401 - this and more is imported once, for all
    import torch  # noqa: F401
    import zarr  # noqa: F401

    from drfarm import cli, running  # noqa: F401

    serve(cli.main)


def wait_until(condition, *, timeout_s: float = 120, every_s: float = 0.01) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(every_s)


if __name__ == "__main__":
    _serve()
