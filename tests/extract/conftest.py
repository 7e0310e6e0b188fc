"""Small real inputs: image folders, and a data set and model that take no time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from extract import DatasetSpec, ModelSpec

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    """Tiny networks gain nothing from more, and on a busy machine threads that wait for one another cost seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("no real weights and images beside the project (../shared/data)")
    return SHARED


@pytest.fixture
def toys(monkeypatch):
    """Make ``python:toy_networks:NAME`` importable; returns a function that asks for one."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def toy(network: str, **settings) -> ModelSpec:
        wanted = {
            "name": network,
            "source": f"python:toy_networks:{network}",
            "weights": "random:0",
            "input_size": 8,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
        }
        return ModelSpec(**(wanted | settings))

    return toy


def _write_images(root: Path, layout: dict[str, dict[str, int]], *, size=(11, 9), suffix="png") -> Path:
    """Write random images: split to class to number of images."""
    rng = np.random.default_rng(0)
    for split, classes in layout.items():
        for name, n in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:03d}.{suffix}")
    return root


@pytest.fixture
def write_images():
    return _write_images


@pytest.fixture
def folder(tmp_path) -> DatasetSpec:
    """40 small JPEG images of two classes, in one split."""
    root = _write_images(tmp_path / "images", {"train": {"cat": 25, "dog": 15}}, suffix="jpg")
    return DatasetSpec(name="pets", source=f"folder:{root}", splits={"train": "train"})


@pytest.fixture
def digits() -> DatasetSpec:
    return DatasetSpec(name="digits", source="sklearn:digits", splits={"train": "train", "test": "test"})
