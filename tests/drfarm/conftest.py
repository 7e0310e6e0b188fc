"""The real command on tiny real things: images drawn here, a small network with random weights, one finished study."""

import contextlib
import copy
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # `bad_input.py`

WIDTH = 96
"""Neurons of the penultimate layer of the network below."""

_STUDY: dict[str, Any] = {
    "study": "tiny",
    "models": [{"name": "resnet", "source": "timm:test_resnet", "weights": "random:0", "input_size": 32}],
    "datasets": [{"name": "pets", "source": "folder:pets"}],
    "subsets": {"n_neurons": [1, 24, WIDTH], "seeds": 2},
}


def draw_images(root: Path) -> None:
    """Draw two folder data sets: dark noise is a cat, bright noise a dog.

    ``few`` has the test images of ``pets``, and half of its training images.
    """
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("test", 8)):
        for name, level in (("cat", 60), ("dog", 180)):
            folder = root / "pets" / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = np.clip(rng.normal(level, 40, (20, 20, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:02d}.jpg")
    shutil.copytree(root / "pets", root / "few")
    for i in range(6):
        for name in ("cat", "dog"):
            (root / "few/train" / name / f"{i:02d}.jpg").unlink()


def write_study(
    folder: Path, *, model: dict[str, Any] | None = None, dataset: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """Write the tiny study, with changes to its model, its data set and its top."""
    study = copy.deepcopy(_STUDY)
    study["models"][0].update(model or {})
    study["datasets"][0].update(dataset or {})
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**study, **changes}, sort_keys=False), encoding="utf-8")
    return file


@pytest.fixture
def pets(tmp_path) -> Path:
    """A folder of its own with the images, for a study that says ``folder:pets``."""
    draw_images(tmp_path)
    return tmp_path


@pytest.fixture
def study_in():
    return write_study


@dataclass(frozen=True)
class FinishedStudy:
    """A study that ran once for all tests of a session; tests only read it."""

    file: Path
    store: Path
    ran: Any
    """What the command left behind: code, out, err."""


@contextlib.contextmanager
def another_cluster():
    """Take the port that every Dask cluster serves its dashboard on, as somebody else's would."""
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 8787)):
        yield
        return
    yield  # somebody else's has it


@pytest.fixture(scope="session")
def finished(tmp_path_factory, drfarm) -> FinishedStudy:
    folder = tmp_path_factory.mktemp("finished")
    draw_images(folder)
    file = write_study(
        folder,
        datasets=[{"name": n, "source": f"folder:{n}"} for n in ("pets", "few")],
        measures=[{"measure": "accuracy"}, {"measure": "cka", "k": "every"}, {"measure": "cka_pair"}],
        deltas=[0.8, 0.9],
    )
    with another_cluster():
        ran = drfarm("run", file, "--workers", 1)
    assert ran.code == 0, ran.text
    return FinishedStudy(file, folder / "store", ran)
