"""Whatever is wrong with what a person gives: the command says what was expected, got, where and what to do.

It leaves with the right code, without a stack trace, and nothing half-written.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from store import open_store, verify


def check_nothing_is_half_written(folder: Path) -> None:
    """No temporary file, and where there is a store it is sound: what is complete can be read."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert [p for p in files if re.search(r"\.partial|\.tmp|#\d+$", p.name)] == []
    if (folder / "store" / "drfarm.json").exists():
        assert [c.problem for c in verify(open_store(folder / "store")) if c.problem] == []


def check_nothing_was_started(folder: Path) -> None:
    """Nothing was made; a store is at most an empty one."""
    check_nothing_is_half_written(folder)
    place = folder / "store"
    assert list(place.rglob("*.parquet")) == []
    if (place / "drfarm.json").exists():
        store = open_store(place)
        assert store.features.catalogue() == []
        assert (store.studies(), store.results.failures()) == ([], [])


def check_words(text: str, words: tuple[str, ...]) -> None:
    assert "Traceback" not in text
    flat = " ".join(text.split())
    assert [w for w in words if w not in flat] == []


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


def text_file(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


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


# Failures of single jobs: they are named, the rest is done

NETWORKS = """
from torch import nn

class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor, self.body, self.head = factor, nn.Flatten(), nn.Linear(192, 2)

    def forward(self, x):
        return self.head(self.body(x) * self.factor)

def not_a_number():
    return Scaled(float("nan"))

def loud():
    return Scaled(1e6)
"""


def scaled(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "source": f"python:{NETWORKS_MODULE}:{name}",
        "weights": "random:0",
        "input_size": 8,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }


NETWORKS_MODULE = "networks_of_bad_input"


@pytest.fixture
def networks(pets):
    """The networks above, in a module beside the study."""
    (pets / f"{NETWORKS_MODULE}.py").write_text(NETWORKS)
    yield pets
    sys.modules.pop(NETWORKS_MODULE, None)


def complete(folder: Path) -> set[str]:
    """Return model, data set and split of what is complete and can be read."""
    store = open_store(folder / "store")
    infos = [i for i in store.features.catalogue() if i.complete]
    assert all(store.features.open(i.key.id).numpy().shape == (i.n_samples, i.width) for i in infos)
    return {f"{i.key.model}/{i.key.dataset}/{i.key.split}" for i in infos}


def test_jobs_that_fail_are_named_and_the_rest_is_done(networks, study_in, drfarm):
    """Two networks and two data sets: one network returns NaN, one image of one data set is corrupt."""
    shutil.copytree(networks / "pets", networks / "broken")
    (networks / "broken/train/dog/03.jpg").write_bytes((networks / "pets/train/dog/03.jpg").read_bytes()[:200])
    good = {"name": "resnet", "source": "timm:test_resnet", "weights": "random:0", "input_size": 32}
    study = study_in(
        networks,
        models=[good, scaled("not_a_number")],
        datasets=[{"name": n, "source": f"folder:{n}"} for n in ("pets", "broken")],
        subsets={"fractions": [0.5, 1.0], "seeds": 1},
    )
    done = drfarm("run", study, "--workers", 1)
    assert done.code == 1
    check_words(
        done.err,
        (
            "5 jobs failed; the rest is done",
            "extract resnet / broken / train: ",
            "broken/train/dog/03.jpg",
            "extract not_a_number / pets / test: ",
            "192 of 192 activations of sample 'cat/00.jpg' (row 0) are NaN or infinite",
            "Check the weights and the normalisation",
            "drfarm extract",
        ),
    )
    assert "resnet/penultimate  pets" in done.out
    assert "resnet/penultimate  broken" not in done.out
    assert complete(networks) == {"resnet/pets/train", "resnet/pets/test"}
    check_nothing_is_half_written(networks)
    rows = open_store(networks / "store").results.table("probes", columns=["model", "dataset", "n_neurons"]).to_pylist()
    assert sorted(tuple(r.values()) for r in rows) == [("resnet", "pets", 48), ("resnet", "pets", 96)]

    status = drfarm("status", study)
    assert status.code == 0
    check_words(
        status.out,
        (
            "extract 3 of 8 representations done, 5 failed",
            "probe 2 of 8 probes done",
            "failed: not_a_number / broken",
        ),
    )


def test_a_corrupt_image_is_masked_where_the_study_says_so(pets, study_in, drfarm):
    (pets / "pets/train/dog/03.jpg").write_bytes(b"no image")
    assert drfarm("extract", study_in(pets)).code == 1
    done = drfarm("extract", study_in(pets, on_corrupt="mask"))
    assert done.code == 0
    check_words(done.err, ("resnet / pets / train: 1 of 24 samples could not be decoded", "the first is dog/03.jpg"))
    assert complete(pets) == {"resnet/pets/train", "resnet/pets/test"}
    store = open_store(pets / "store")
    (train,) = (i for i in store.features.catalogue() if i.key.split == "train")
    assert np.flatnonzero(~store.features.open(train.key.id).valid).tolist() == [15]
    check_nothing_is_half_written(pets)


def test_values_too_large_for_float16_are_a_named_failure(networks, study_in, drfarm):
    done = drfarm("extract", study_in(networks, models=[scaled("loud")], dtype="float16"))
    assert done.code == 1
    check_words(done.err, ("2 jobs failed", "extract loud / pets / train", "float16", "65504", "dtype: float32"))
    assert complete(networks) == set()
    check_nothing_is_half_written(networks)
    assert drfarm("extract", study_in(networks, models=[scaled("loud")], dtype="float32")).code == 0


def test_probes_wait_for_features_that_are_not_there(pets, study_in, drfarm):
    done = drfarm("probe", study_in(pets))
    assert done.code == 1
    check_words(
        done.err, ("0 results were measured", "6 results wait for features that are not complete: run `drfarm extract`")
    )
    check_nothing_is_half_written(pets)


# Places that can't hold a store

PLACES = {
    "a read-only place": (lambda folder: "/sys/drfarm", ("/sys/drfarm", "read-only for this user", "--store")),
    "a place below a file": (
        lambda folder: text_file("file", "text")(folder) and folder / "file" / "store",
        ("A file stands where a folder is needed", "--store"),
    ),
    "a place that is a file": (
        lambda folder: text_file("file", "text")(folder) and folder / "file",
        ("A file stands where a folder is needed", "--store"),
    ),
    "a folder that holds something else": (
        lambda folder: folder / "pets",
        ("is not a drfarm store, and not empty", "Choose an empty folder"),
    ),
    "a store of a newer format": (
        lambda folder: text_file("drfarm.json", '{"store_format": 99}')(folder) and folder,
        ("has store format 99; this drfarm reads and writes format 1", "Upgrade drfarm, or choose another store"),
    ),
    "a store whose mark is damaged": (
        lambda folder: text_file("drfarm.json", "{}}")(folder) and folder,
        ("drfarm.json is damaged", "write"),
    ),
    "an address of nothing": (lambda folder: "", ("the store's address is empty", "s3://bucket/prefix")),
    "an unknown kind of address": (lambda folder: "s4://bucket/x", ("s4://bucket/x",)),
}


def authors_row(folder: Path) -> Path:
    file = folder / "results.csv"
    file.write_text(
        "model,layer,dataset,solver,method,seed,n_neurons,width,accuracy\nm,penultimate,c,sgd,random,1,5,10,0.7\n"
    )
    return file


@pytest.mark.skipif(not Path("/sys/kernel").is_dir() or os.access("/sys/drfarm", os.F_OK), reason="needs a Linux /sys")
@pytest.mark.parametrize(("place", "words"), PLACES.values(), ids=PLACES.keys())
def test_a_place_that_can_hold_no_store(place, words, pets, study_in, drfarm):
    study, url = study_in(pets), place(pets)
    before = sorted(pets.rglob("*"))
    for command in (("run", study), ("plan", study), ("import", "results", authors_row(pets))):
        if command[0] == "plan" and "format" not in " ".join(words) and "damaged" not in " ".join(words):
            continue  # a plan writes nothing, so a place that can't be written is none of its business
        done = drfarm(*command, "--store", url)
        assert done.code == 2, command
        check_words(done.err, words)
    assert sorted(p for p in pets.rglob("*") if p.name != "results.csv") == before


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB with room for 40 files, mounted for this test."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=40", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_too_small_is_refused_before_anything_starts(small_disk, pets, study_in, drfarm):
    study = study_in(pets, layers=[{"layer": "conv1.*", "pool": "flatten"}], subsets={"n_neurons": [1], "seeds": 1})
    done = drfarm("extract", study, "--store", small_disk / "store")
    assert done.code == 2
    check_words(done.err, ("GiB free", "the features need up to", "choose another store with --store", "float16"))
    assert open_store(small_disk / "store").features.catalogue() == []


def test_a_disk_that_fills_up_is_a_named_failure(small_disk, pets, study_in, drfarm):
    study = study_in(pets, layers=["penultimate", "layer1", "layer2", "layer3", "layer4"], subsets={"fractions": [1.0]})
    done = drfarm("extract", study, "--store", small_disk / "store")
    assert done.code == 1
    check_words(done.err, ("extract resnet / pets / train", "The disk is full: free some space, then run again"))
    store = open_store(small_disk / "store")
    assert [c.problem for c in verify(store) if c.problem] == []
    subprocess.run(["mount", "-o", "remount,size=16m,nr_inodes=4000", str(small_disk)], check=True)
    assert drfarm("extract", study, "--store", small_disk / "store").code == 0
    assert [c.problem for c in verify(store) if c.problem] == []
    assert {i.complete for i in store.features.catalogue()} == {True}


# Files that are no study

NO_STUDIES = {
    "no file": ("absent.yaml", None, ("absent.yaml can't be read", "No such file", "Give the path of a YAML file")),
    "a folder": (".", None, ("can't be read", "directory", "Give the path of a YAML file")),
    "no YAML": ("s.yaml", "study: [1, 2", ("s.yaml is not YAML: line 1, column 13", "Correct that line")),
    "no text": ("s.yaml", "\x00\x01", ("s.yaml is not YAML",)),
    "empty": ("s.yaml", "", ("s.yaml: expected keys such as study, models, datasets; got an empty file",)),
    "a list": ("s.yaml", "- study\n", ("s.yaml: expected keys such as study, models, datasets; got a list",)),
    "nothing that is needed": ("s.yaml", "study: s\n", ("models: this key is needed", "datasets: this key is needed")),
}


@pytest.mark.parametrize(("name", "text", "words"), NO_STUDIES.values(), ids=NO_STUDIES.keys())
def test_a_file_that_is_no_study(name, text, words, tmp_path, drfarm):
    if text is not None:
        text_file(name, text)(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for command in ("run", "plan", "status", "table"):
        done = drfarm(command, tmp_path / name)
        assert done.code == 2
        check_words(done.err, words)
    assert sorted(tmp_path.rglob("*")) == before


# Questions that can't be answered

QUERIES = {
    "a syntax error": ("SELEC 1", ("the query can't be answered", "SELEC", "syntax error")),
    "an unknown view": ("SELECT * FROM probe", ("probe", "does not exist", "probes")),
    "an unknown column": ("SELECT acuracy FROM probes", ("acuracy", "not found", "accuracy")),
    "only a comment": ("/* nothing */", ("the SQL is empty", "SELECT ... FROM probes")),
    "nothing": (" ", ("the SQL is empty", "SELECT ... FROM probes")),
    "writing a file": ("COPY (SELECT 1) TO '{folder}/written.csv'", ("one statement that only reads", "got COPY")),
    "reading a file": ("SELECT * FROM read_csv('{folder}/secret.csv')", ("can't be answered", "disabled")),
    "reading a file by its name": ("SELECT * FROM '{folder}/secret.csv'", ("can't be answered", "disabled")),
    "opening a data base": ("ATTACH '{folder}/written.db' AS w", ("one statement that only reads", "got ATTACH")),
    "unlocking": ("SET enable_external_access = true", ("one statement that only reads", "got SET")),
    "loading an extension": ("INSTALL httpfs", ("one statement that only reads", "got LOAD")),
    "changing results": ("DELETE FROM probes", ("got DELETE",)),
    "making a table": (
        "CREATE TABLE t AS SELECT 1",
        ("one statement that only reads", "got CREATE", "SELECT ... FROM probes"),
    ),
    "two statements": ("SELECT 1; COPY (SELECT 1) TO '{folder}/written.csv'", ("got 2 statements",)),
}


@pytest.mark.parametrize(("sql", "words"), QUERIES.values(), ids=QUERIES.keys())
def test_a_question_that_can_not_be_answered(sql, words, tmp_path, finished, drfarm):
    text_file("secret.csv", "a\n1\n")(tmp_path)
    done = drfarm("query", sql.format(folder=tmp_path), "--store", finished.store)
    assert done.code == 2
    check_words(done.err, words)
    assert done.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["secret.csv"]


def test_an_answer_that_can_not_be_written(tmp_path, finished, drfarm):
    for fmt in ("table", "csv", "json", "parquet"):
        done = drfarm("query", "SELECT 1 AS a", "--store", finished.store, "--format", fmt, "-o", tmp_path / "no/a")
        assert done.code == 2
        check_words(done.err, ("no/a can't be written", "No such file or directory", "another place with -o"))
    done = drfarm("query", "SELECT 1 AS a", "--store", finished.store, "--format", "parquet")
    assert done.code == 2
    check_words(done.err, ("parquet is not for the screen", "-o FILE"))
    done = drfarm("query", "SELECT 1 AS a", "--store", finished.store, "--format", "xml")
    assert done.code == 2
    check_words(done.err, ("--format", "'xml'", "'parquet'"))


@pytest.mark.parametrize(
    "command",
    [
        ("query", "SELECT 1"),
        ("table",),
        ("figure",),
        ("store", "ls"),
        ("store", "info"),
        ("store", "verify"),
        ("store", "compact"),
    ],
    ids=" ".join,
)
def test_a_store_that_is_not_there(command, tmp_path, drfarm):
    done = drfarm(*command, "--store", tmp_path / "absent")
    assert done.code == 2
    check_words(done.err, ("there is no store at", "absent", "Check the path, or `drfarm run` a study first"))
    assert list(tmp_path.iterdir()) == []


def test_tables_and_figures_that_can_not_be_made(tmp_path, finished, pets, study_in, drfarm):
    empty = open_store(tmp_path / "empty", create=True).url
    text_file("file", "text")(tmp_path)
    cases = [
        (("table", "--store", empty), ("has no results yet", "`drfarm run` a study first")),
        (("figure", "--store", empty), ("has no results yet", "`drfarm run` a study first")),
        (
            ("aggregate", study_in(pets), "--store", empty),
            ("has no results of study 'tiny' yet", "`drfarm run` it first"),
        ),
        (("aggregate", study_in(pets)), ("there is no store at", "`drfarm run` a study first")),
        (("table",), ("give a study file, or a store with --store",)),
        (("table", "--store", finished.store, "--delta", 1.5), ("deltas must lie in [0, 1], got 1.5",)),
        (("table", finished.file, "--delta", -1), ("deltas must lie in [0, 1], got -1",)),
        (("table", finished.file, "--rule", "strikt"), ("--rule", "'strikt'", "'strict', 'nearest', 'interpolated'")),
        (("table", finished.file, "-o", tmp_path / "no/t.md"), ("no/t.md can't be written", "another place with -o")),
        (("figure", finished.file, "-o", tmp_path / "file"), ("the folder", "can't be made", "another place with -o")),
        (("aggregate", finished.file, "-o", tmp_path / "file/x"), ("the folder", "can't be made", "-o")),
        (("demo", "--folder", tmp_path / "file/x"), ("the folder", "can't be made", "--folder")),
    ]
    for command, words in cases:
        done = drfarm(*command)
        assert done.code == 2, command
        check_words(done.err, words)
    check_nothing_is_half_written(tmp_path)


# Command lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nonsense",), ("Usage: drfarm", "No such command 'nonsense'", "drfarm -h")),
        (("run",), ("Usage: drfarm run", "Missing argument", "STUDY", "drfarm run -h")),
        (("query", "SELECT 1"), ("Missing option", "--store")),
        (("import", "nothing"), ("No such command 'nothing'",)),
        (("store", "ls", "x", "--store", "s"), ("unexpected extra argument",)),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line(words, expected, drfarm):
    done = drfarm(*words)
    assert done.code == 2
    check_words(done.err, expected)


@pytest.mark.parametrize("command", ["run", "probe"])
def test_probes_on_a_gpu_that_is_not_there(command, pets, study_in, drfarm):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = drfarm(command, study_in(pets), "--probe-device", "cuda")
    assert done.code == 2
    check_words(done.err, ("--probe-device cuda: torch sees no CUDA device here", "Leave the option out"))
    check_nothing_was_started(pets)
    done = drfarm(command, study_in(pets), "--probe-device", "gpu")
    assert done.code == 2
    check_words(done.err, ("--probe-device", "'gpu'", "'cpu', 'cuda'"))


# The whole way through processes of its own: what a shell sees


def shell(*words: object, cwd: Path, **environment: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("drfarm")), *map(str, words)]
    env = os.environ | {k: str(v) for k, v in environment.items()}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_a_shell_sees_the_same(tmp_path, pets, study_in):
    cases = [
        (("run", "absent.yaml"), ("the study file absent.yaml can't be read", "Give the path of a YAML file")),
        (("plan", study_in(pets, modles=[]).name), ("study.yaml: 1 fault", "Did you mean 'models'?")),
        (("store", "ls", "--store", "nowhere"), ("there is no store at", "nowhere")),
        (("rnu",), ("Usage: drfarm", "No such command 'rnu'")),
    ]
    for command, words in cases:
        done = shell(*command, cwd=pets)
        assert done.returncode == 2, command
        check_words(done.stderr, words)
        assert done.stdout == ""
    check_nothing_was_started(pets)


def test_weights_that_can_not_be_fetched(pets, study_in):
    """A machine without a network, and nothing in its cache."""
    study = study_in(pets, models=["timm:test_resnet.r160_in1k"])
    done = shell("run", study, "--quiet", cwd=pets, HF_HUB_OFFLINE=1, HF_HOME=pets / "cache")
    assert done.returncode == 2
    check_words(
        done.stderr,
        (
            "model 'test_resnet.r160_in1k': the hub's weights for timm:test_resnet.r160_in1k could not be had",
            "Check the network, or download the file elsewhere and give its path as `weights`",
        ),
    )
    check_nothing_was_started(pets)
