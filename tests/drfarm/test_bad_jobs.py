"""Jobs that fail, and places that can hold no store: the command says what was expected, got, where and what to do.

It leaves with the right code, without a stack trace, and nothing half-written.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_input import check_nothing_is_half_written, check_words, text_file

from store import open_store, verify

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


def test_values_too_large_for_float16_are_stored_in_float32(networks, study_in, drfarm):
    study = study_in(networks, models=[scaled("loud")], dtype="float16")
    done = drfarm("extract", study)
    assert done.code == 0
    check_words(done.err, ("loud / pets / train: 1 layer with values beyond float16, stored in float32",))
    assert "nothing was left to do" in drfarm("extract", study).err
    check_nothing_is_half_written(networks)


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
