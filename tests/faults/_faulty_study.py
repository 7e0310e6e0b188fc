"""The study that faults are thrown at: small networks on the scanned digits, in many small chunks and batches.

Chunks and blocks are made small through the two plain constants that decide their sizes. A process of it that gets
`HOG_SIGNAL` takes more memory than it may, as a poison batch does; nothing else differs from what people run.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import yaml

CHUNK_BYTES = 2**17
"""256 rows of the layers below."""
BLOCK_S = 0.1
"""Predicted seconds of one batch of probes."""
HANG_S = 30.0
"""Nothing of this takes so long: what does is taken to hang. People's own batches get a minute, or more."""
HOG_SIGNAL = signal.SIGRTMIN
"""Nobody else's: workers answer SIGUSR2 with their stacks, and sooner or later take it over."""

_NETWORK = '''
import time

from torch import nn


class Wide(nn.Module):
    """Two hidden layers; a forward pass takes a moment, as real ones do."""

    def __init__(self, width=256, pause_s=0.04):
        super().__init__()
        self.low, self.low_act = nn.Linear(3 * 64, width), nn.ReLU()
        self.body, self.act, self.fc = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        self.pause_s = pause_s

    def forward(self, x):
        time.sleep(self.pause_s)
        return self.fc(self.act(self.body(self.low_act(self.low(x.flatten(1))))))
'''

_SITE = """
import faulthandler
import os
import signal
import sys

faulthandler.register(signal.SIGUSR1, all_threads=True)  # asked of one that should be dead

if "resource_tracker" not in " ".join(sys.orig_argv):  # that one needs nothing of ours
    import store.grid

    store.grid.TARGET_CHUNK_BYTES = int(os.environ["FAULTY_CHUNK_BYTES"])


def _hog(*_):
    import threading

    def take():
        taken = []
        while len(taken) < 160:  # 2.5 GiB: the limit is less than half of it
            taken.append(bytearray(os.urandom(2**10)) * 2**14)
        threading.Event().wait()

    threading.Thread(target=take, daemon=True).start()


signal.signal(getattr(signal, os.environ["FAULTY_HOG_SIGNAL"]), _hog)
"""


def write_study(folder: Path, networks: Sequence[str], n_seeds: int) -> Path:
    """Write the study file, its network, and what every process of it runs as it starts."""
    (folder / "wide_network.py").write_text(_NETWORK)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(_SITE)
    models = [
        {
            "name": name,
            "source": "python:wide_network:Wide",
            "weights": f"random:{seed}",
            "input_size": 8,
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        }
        for seed, name in enumerate(networks)
    ]
    study = {
        "study": "faulty",
        "store": "./store",
        "models": models,
        "layers": ["low_act", "penultimate"],
        "datasets": [{"name": "digits", "source": "sklearn:digits"}],
        "subsets": {"methods": ["random", "pca"], "n_neurons": [8, 64, 128, 256], "seeds": n_seeds},
        "measures": [
            {"measure": "accuracy"},
            {"measure": "accuracy", "solver": "ridge"},
            {"measure": "cka"},
            {"measure": "cka_pair"},
        ],
        "deltas": [0.8, 0.9],
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return file


def environment(folder: Path, temporary: Path) -> dict[str, str]:
    """Return the environment of every process of a run: small chunks, one thread, a temporary folder of its own."""
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")])),
        "FAULTY_CHUNK_BYTES": str(CHUNK_BYTES),
        "FAULTY_BLOCK_S": str(BLOCK_S),
        "FAULTY_HANG_S": str(HANG_S),
        "FAULTY_HOG_SIGNAL": HOG_SIGNAL.name,
        "TMPDIR": str(temporary),
        "DASK_CONFIG": str(temporary / "dask"),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
