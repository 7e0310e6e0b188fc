"""Studies that are wrong: the command says what was expected, got, where and what to do.

It leaves with the right code, without a stack trace, and nothing half-written.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bad_input import check_nothing_was_started, check_words, text_file


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A study with one thing wrong."""

    words: tuple[str, ...]
    """What the message says: expected, got, where, remedy."""
    model: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda folder: None
    """Makes the wrong thing in the folder of the study."""


def weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    """Save the network's weights with something wrong in them."""

    def save(folder: Path) -> None:
        import timm
        from safetensors.torch import save_file

        save_file(change(dict(timm.create_model("test_resnet").state_dict())), folder / "w.safetensors")

    return save


def npz(folder: Path) -> None:
    x, y = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 2
    np.savez(folder / "d.npz", x_train=x, y_train=y[:5], x_test=x, y_test=y)


def empty_class(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / "pets" / split / "emu").mkdir()


def no_dogs(*splits: str) -> Callable[[Path], None]:
    return lambda folder: [shutil.rmtree(folder / "pets" / s / "dog") for s in splits]


FILE = {"weights": "w.safetensors"}
SUBSETS = {"n_neurons": [1, 96], "seeds": 1}

STUDIES = {
    # What the file says
    "unknown key": Bad(
        study={"modles": []},
        words=(
            "study.yaml: 1 fault in the study file",
            "modles: there is no such key",
            "Did you mean 'models'?",
            "Keys here: codec,",
        ),
    ),
    "unknown nested key": Bad(
        study={"subsets": {"fraction": [1.0], "n_neurons": [1]}},
        words=("subsets.fraction: there is no such key", "Did you mean 'fractions'?", "Keys here:", "grid"),
    ),
    "unknown key of a model": Bad(
        model={"wieghts": "hub"},
        words=("1 fault", "models.0.wieghts: there is no such key", "Did you mean 'weights'?", "input_size"),
    ),
    "wrong type": Bad(
        study={"subsets": {"n_neurons": ["many"], "seeds": 1}},
        words=("subsets.n_neurons.0: got 'many'", "integer"),
    ),
    "wrong type of a part": Bad(study={"datasets": "pets"}, words=("datasets: got 'pets'; input should be a list",)),
    "wrong type of an entry": Bad(
        study={"datasets": ["pets"]}, words=("datasets.0: got 'pets'; expected keys:", "source")
    ),
    "no model": Bad(study={"models": []}, words=("models: at least 1 is needed, got 0",)),
    "no grid": Bad(study={"subsets": {"seeds": 2}}, words=("subsets: give exactly one of", "got none of them")),
    "several faults at once": Bad(
        study={"dtype": "int8", "codec": "gzip"},
        words=(
            "2 faults",
            "dtype: got 'int8'; allowed: float32, float16",
            "codec: got 'gzip'; allowed: lz4, zstd, none",
        ),
    ),
    "unknown measure": Bad(
        study={"measures": [{"measure": "acuracy"}]},
        words=(
            "1 fault",
            "measures.0.measure: got 'acuracy'; allowed: accuracy, cka, cka_pair",
            "Did you mean 'accuracy'?",
        ),
    ),
    "unknown solver": Bad(
        study={"measures": [{"measure": "accuracy", "solver": "sdg"}]},
        words=("measures.0.solver: got 'sdg'; allowed:", "Did you mean 'sgd'?"),
    ),
    "unknown protocol": Bad(
        study={"measures": [{"measure": "accuracy", "protocol": "papers"}]},
        words=("measures.0.protocol: there is no protocol", "'papers'", "Did you mean 'paper'?"),
    ),
    "unknown method": Bad(
        study={"subsets": {**SUBSETS, "methods": ["randon"]}},
        words=("subsets.methods.0: there is no method 'randon'.", "Did you mean 'random'?", "Known: first, pca,"),
    ),
    "a fraction of zero": Bad(
        study={"subsets": {"fractions": [0, 1.0]}}, words=("subsets.fractions: a fraction lies in (0, 1], got 0",)
    ),
    "a fraction above one": Bad(
        study={"subsets": {"fractions": [1.5]}}, words=("subsets.fractions: a fraction lies in (0, 1], got 1.5",)
    ),
    "two grids": Bad(
        study={"subsets": {"fractions": [1.0], "grid": "paper"}},
        words=("subsets: give exactly one of fractions, n_neurons and grid, got fractions, grid",),
    ),
    "a threshold out of range": Bad(
        study={"deltas": [0.9, 1.2]}, words=("deltas.1: got 1.2", "less than or equal to 1")
    ),
    "val and val_fraction": Bad(
        dataset={"splits": {"val": "test", "val_fraction": 0.1}},
        words=(
            "1 fault",
            "datasets.0.splits: val and val_fraction exclude each other",
            "name a split or hold out a fraction",
        ),
    ),
    "two models of one name": Bad(
        study={"models": ["timm:test_resnet", "timm:test_resnet"]},
        words=("models: the name 'test_resnet' is given twice", "names tell results apart"),
    ),
    "a model's name that leaves the store": Bad(
        model={"name": "../x"}, words=("model '../x'", "begins with a letter or digit")
    ),
    "a data set's name that leaves the store": Bad(
        dataset={"name": "a/../../x"}, words=("dataset 'a/../../x'", "letters, digits")
    ),
    "a study's name that leaves the store": Bad(study={"study": "../x"}, words=("study '../x'", "letter or digit")),
    "a split's name that leaves the data": Bad(
        dataset={"splits": {"test": "../secret"}}, words=("dataset 'pets': split '../secret'", "letter or digit")
    ),
    # Networks and their weights
    "unknown timm model": Bad(
        model={"source": "timm:test_resnett"},
        words=("model 'resnet': there is no timm model 'test_resnett'", "Did you mean 'test_resnet'?"),
    ),
    "unknown source": Bad(
        model={"source": "tim:test_resnet"},
        words=("model 'resnet': there is no model source 'tim'", "Did you mean 'timm'?", "torchvision"),
    ),
    "arguments that do not fit": Bad(
        model={"args": {"colour": 1}}, words=("model 'resnet'", "can't be built with args", "colour", "Correct `args`")
    ),
    "a python source that is not there": Bad(
        model={"source": "python:no_such_module:net"},
        words=("model 'resnet'", "module 'no_such_module' can't be imported", "PYTHONPATH"),
    ),
    "unknown layer": Bad(
        study={"layers": ["layer9"]},
        words=("model 'resnet': there is no layer 'layer9'", "Did you mean 'layer"),
    ),
    "a glob that matches no layer": Bad(
        study={"layers": ["blocks.*"]}, words=("model 'resnet'", "'blocks.*'", "Known")
    ),
    "no weights file": Bad(
        model={"weights": "absent.safetensors"},
        words=("model 'resnet'", "there is no file", "absent.safetensors", "hub", "random:SEED"),
    ),
    "random without a seed": Bad(
        model={"weights": "random:x"}, words=("model 'resnet': weights 'random:x'", "random:SEED", "random:0")
    ),
    "weights of another shape": Bad(
        model=FILE,
        prepare=weights(lambda s: s | {"fc.weight": s["fc.weight"][:7].clone(), "fc.bias": s["fc.bias"][:7].clone()}),
        words=(
            "model 'resnet'",
            "w.safetensors",
            "don't fit the architecture",
            "fc.weight: (7, 96) in the file",
            "{num_classes: 7}",
        ),
    ),
    "weights that lack a key": Bad(
        model=FILE,
        prepare=weights(lambda s: {k: v for k, v in s.items() if k != "fc.bias"}),
        words=("model 'resnet'", "don't fit the architecture", "missing from the file (1): fc.bias"),
    ),
    "weights with a key too many": Bad(
        model=FILE,
        prepare=weights(lambda s: s | {"extra.weight": s["fc.bias"].clone()}),
        words=("model 'resnet'", "don't fit the architecture", "unexpected in the file (1): extra.weight"),
    ),
    "weights that are no safetensors": Bad(
        model=FILE,
        prepare=text_file("w.safetensors", "these are no weights at all"),
        words=("model 'resnet'", "w.safetensors is not a readable safetensors file", "save_file"),
    ),
    "a subset above the width": Bad(
        study={"subsets": {"n_neurons": [97]}},
        words=("model 'resnet', layer 'penultimate'", "n_neurons 97 is more than the 96 neurons", "from 1 to 96"),
    ),
    # Data sets
    "no folder": Bad(
        dataset={"source": "folder:absent"},
        words=("dataset 'pets'", "there is no folder", "absent", "expected", "<split>/<class>/<image>"),
    ),
    "no such split": Bad(
        dataset={"splits": {"test": "tset"}},
        words=("dataset 'pets'", "there is no split 'tset'", "Did you mean 'test'?", "Known: test, train"),
    ),
    "an empty class": Bad(
        prepare=empty_class,
        words=("dataset 'pets', split 'train'", "class 'emu' is empty", ".jpg", "Remove the folder", "`classes`"),
    ),
    "one class in the test split": Bad(
        prepare=no_dogs("test"), words=("dataset 'pets'", "different classes", "Only in 'train': dog", "`classes`")
    ),
    "one class in all": Bad(
        prepare=no_dogs("train", "test"),
        words=("dataset 'pets', split 'train'", "probing needs at least two classes, got 1 (cat)"),
    ),
    "train and test with different classes": Bad(
        prepare=lambda folder: (folder / "pets/test/dog").rename(folder / "pets/test/dingo"),
        words=("dataset 'pets'", "Only in 'train': dog. Only in 'test': dingo", "`classes`"),
    ),
    "a class that is not there": Bad(
        dataset={"classes": ["cat", "dig"]},
        words=("dataset 'pets'", "there is no class 'dig'", "Did you mean 'dog'?"),
    ),
    "more images than labels": Bad(
        dataset={"source": "npz:d.npz"},
        prepare=npz,
        words=("dataset 'pets'", "d.npz", "x_train has 6 images, but y_train has 5 labels"),
    ),
    "no npz file": Bad(
        dataset={"source": "npz:absent.npz"},
        words=("dataset 'pets'", "absent.npz: there is no such file", "x_train and y_train"),
    ),
    "an unknown scikit-learn data set": Bad(
        dataset={"source": "sklearn:iris"}, words=("there is no sklearn data set 'iris'", "Known: digits")
    ),
    # How to run
    "a memory limit that is too small": Bad(
        options=("--memory-limit", "1MB"),
        words=(
            "probes of resnet/penultimate on pets",
            "needs about 512 MiB",
            "a worker has 1 MiB",
            "raise --memory-limit",
        ),
    ),
    "a memory limit that is no size": Bad(
        options=("--memory-limit", "lots"), words=("--memory-limit: a size", "4GiB", "got 'lots'")
    ),
    "CUDA where there is none": Bad(
        options=("--device", "cuda"), words=("device cuda", "no CUDA device", "auto or cpu")
    ),
    "a device that does not exist": Bad(
        options=("--device", "tpu"), words=("--device", "'tpu'", "'auto', 'cpu', 'cuda'")
    ),
    "no worker": Bad(options=("--workers", "0"), words=("--workers", "1")),
    "an unknown option": Bad(
        options=("--wrokers", "1"), words=("Usage: drfarm run", "No such option", "--wrokers", "--workers")
    ),
}


@pytest.mark.parametrize("bad", STUDIES.values(), ids=STUDIES.keys())
def test_a_wrong_study_is_refused_before_anything_starts(bad, pets, study_in, drfarm):
    if "cuda" in bad.options and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    bad.prepare(pets)
    study = study_in(pets, model=bad.model, dataset=bad.dataset, **bad.study)
    done = drfarm("run", study, *(bad.options or ("--workers", 1)))
    assert done.code == 2
    check_words(done.err, bad.words)
    assert done.out == ""
    check_nothing_was_started(pets)
