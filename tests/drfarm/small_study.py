"""A study of many small chunks and batches, and the real command on it: run as a script, it is ``drfarm``.

Chunks and blocks are made small through the two plain constants that decide their sizes; nothing else differs.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import yaml
from forker import Forker, serve

CHUNK_BYTES = 2**19
BLOCK_S = 0.1
N_SEEDS = 10

_NETWORK = '''
import time

from torch import nn


class Wide(nn.Module):
    """One wide hidden layer; a forward pass takes a moment, as real ones do."""

    def __init__(self, width=512, pause_s=0.02):
        super().__init__()
        self.body, self.act, self.fc = nn.Linear(3 * 64, width), nn.ReLU(), nn.Linear(width, 10)
        self.pause_s = pause_s

    def forward(self, x):
        time.sleep(self.pause_s)
        return self.fc(self.act(self.body(x.flatten(1))))
'''


def write_study(folder: Path, *, n_train: int = 3000, name: str = "study", **changes) -> Path:
    """Write a study of two networks on ten classes of noisy images, its network and its images."""
    (folder / "wide_network.py").write_text(_NETWORK)
    rng = np.random.default_rng(0)
    centres = rng.integers(60, 190, (10, 8, 8, 3))
    arrays = {}
    for split, n in (("train", n_train), ("test", 1000)):
        arrays[f"y_{split}"] = labels = rng.permutation(np.arange(n) % 10)
        noise = rng.normal(0, 60, (n, 8, 8, 3))
        arrays[f"x_{split}"] = np.clip(centres[labels] + noise, 0, 255).astype(np.uint8)
    np.savez(folder / "images.npz", **arrays)
    study = {
        "study": name,
        "store": "./store",
        "models": [
            {
                "name": model,
                "source": "python:wide_network:Wide",
                "weights": f"random:{seed}",
                "input_size": 8,
                "mean": [0.5] * 3,
                "std": [0.5] * 3,
            }
            for seed, model in enumerate(("ash", "birch"))
        ],
        "datasets": [{"name": "noise", "source": "npz:images.npz"}],
        "subsets": {"n_neurons": [8, 64, 256, 512], "seeds": list(range(1, N_SEEDS + 1))},
        "measures": [{"measure": "accuracy"}, {"measure": "cka"}, {"measure": "cka_pair"}],
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**study, **changes}, sort_keys=False), encoding="utf-8")
    return file


class Command:
    """The command in processes of its own, as a person starts it."""

    def __init__(self, *words: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._seen: dict[int, psutil.Process] = {}

    def running(self) -> bool:
        return self._process.poll() is None

    def finished(self, timeout_s: float = 240) -> tuple[int, str, str]:
        """Wait; return exit code, stdout and stderr."""
        out, err = self._process.communicate(timeout=timeout_s)
        return self._process.returncode, out, err

    def family(self) -> list[psutil.Process]:
        """Return every process below it that lives now."""
        try:
            found = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self._seen.update((p.pid, p) for p in found)
        return found

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes: they have one common parent, which is its child."""
        found = []
        for process in self.family():
            try:
                if process.ppid() != self.pid:
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def orphans(self, within_s: float = 20) -> list[psutil.Process]:
        """Return the processes of its family that still run after so long; one that is dead may wait to be reaped."""
        until = time.monotonic() + within_s
        while (alive := [p for p in self._seen.values() if _runs(p)]) and time.monotonic() < until:
            time.sleep(0.02)
        return alive


class Forked(Command):
    """The same, of a process that has imported it: it is there at once."""

    def __init__(self, forker: Forker, folder: Path, *words: object) -> None:
        self._forker = forker
        self._out, self._err = (Path(tempfile.mkstemp(dir=folder)[1]) for _ in range(2))
        self.pid = forker.fork(*words, out=self._out, err=self._err, apart=True)
        self._code: int | None = None
        self._seen = {}

    def running(self) -> bool:
        if self._code is None:
            self._code = self._forker.code(self.pid, wait=False)
        return self._code is None

    def finished(self, timeout_s: float = 240) -> tuple[int, str, str]:
        until = time.monotonic() + timeout_s
        while self.running():
            assert time.monotonic() < until, "it does not end"
            time.sleep(0.02)
        return self._code, self._out.read_text(), self._err.read_text()


def forker(folder: Path) -> Forker:
    """Return a process that forks the command."""
    return Forker(__file__, folder=folder)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, command: Command, *, every_s: float = 0.02, timeout_s: float = 240) -> bool:
    """Wait until the condition holds (True) or the command ends (False)."""
    until = time.monotonic() + timeout_s
    while not condition():
        if not command.running():
            return False
        assert time.monotonic() < until, "neither came about"
        time.sleep(every_s)
    return True


def _main() -> None:
    import drfarm.blocks
    import store.grid
    from drfarm.cli import main

    drfarm.blocks.TARGET_S = BLOCK_S
    store.grid.TARGET_CHUNK_BYTES = CHUNK_BYTES
    if sys.argv[1:]:
        main()
    import bokeh.plotting  # noqa: F401 - this and more is imported once, for all
    import itables  # noqa: F401
    import matplotlib.backends.backend_pdf  # noqa: F401
    import matplotlib.pyplot as plt  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import torch  # noqa: F401

    import drfarm.reporting
    import drfarm.running

    serve(main)


if __name__ == "__main__":
    _main()
