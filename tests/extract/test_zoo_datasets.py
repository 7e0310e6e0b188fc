"""The paper's data sets: splits, sizes, the validation rows of the authors, and ImageNetV2's labels."""

import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import random_split

from extract import DatasetSpec, InvalidDataset, fingerprint, open_samples
from extract._class_names import imagenet_wnids
from extract.zoo_datasets import V2_FOLDER, ZOO, zoo_sizes, zoo_splits
from probe import Validation
from probe._pairing import held_out
from store import UnknownName

# shared/reference/paper_protocol.md, section 1: name, train, val, test, classes
PAPER = [
    ("cifar10", 45_000, 5_000, 10_000, 10),
    ("cifar100", 45_000, 5_000, 10_000, 100),
    ("flowers102", 1_020, 1_020, 6_149, 102),
    ("oxford-iiit-pets", 3_312, 368, 3_669, 37),
    ("imagenet", 1_153_050, 128_117, 50_000, 1_000),
    ("imagenetv2", 1_153_050, 128_117, 10_000, 1_000),
    ("places365", 1_623_114, 180_346, 36_500, 365),
]


@pytest.fixture
def formats(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import dataset_formats

    dataset_formats.unverified(monkeypatch)
    return dataset_formats


@pytest.fixture
def resize(monkeypatch):
    """Let a data set of the zoo have been published with other sizes."""

    def change(name: str, n_classes: int, **sizes: int):
        splits = {s: replace(e, n_samples=sizes[s.replace("-", "_")]) for s, e in ZOO[name].splits.items()}
        monkeypatch.setitem(ZOO, name, replace(ZOO[name], splits=splits, n_classes=n_classes))

    return change


def spec(name, root, **settings):
    splits = {role: s for role, s in zoo_splits(name).items() if role in ("train", "val", "test")}
    return DatasetSpec(**({"name": "d", "source": f"zoo:{name}", "splits": splits, "root": str(root)} | settings))


def test_sizes_are_the_papers():
    assert [row[0] for row in PAPER] == list(ZOO)
    for name, train, val, test, n_classes in PAPER:
        assert zoo_sizes(name) == {"train": train, "val": val, "test": test}
        assert ZOO[name].n_classes == n_classes


def test_splits_as_a_study_writes_them():
    assert zoo_splits("flowers102") == {"train": "train", "val": "val", "test": "test"}
    held = {"val_fraction": 0.1, "val_seed": 0}
    assert zoo_splits("cifar10") == {"train": "train", "test": "test"} | held
    assert zoo_splits("oxford-iiit-pets") == {"train": "trainval", "test": "test"} | held
    assert zoo_splits("imagenet") == {"train": "train", "test": "val"} | held
    assert zoo_splits("imagenetv2") == {"train": "train", "test": "test"} | held
    assert zoo_splits("places365") == {"train": "train-standard", "test": "val"} | held
    with pytest.raises(UnknownName, match=r"no data set of the zoo 'cifar-10'.*Did you mean 'cifar10'"):
        zoo_splits("cifar-10")


@pytest.mark.parametrize(
    "n, n_train", [(50_000, 45_000), (3_680, 3_312), (1_281_167, 1_153_050), (1_803_460, 1_623_114)]
)
def test_validation_rows_are_the_authors(n, n_train):
    # pytorch_lightning.seed_everything(0), then as in their data modules
    random.seed(0)
    torch.manual_seed(0)
    train_size = int((1 - 0.1) * n)
    train, val = random_split(range(n), [train_size, n - train_size])
    fitted, chosen = held_out(np.arange(n), Validation(fraction=0.1, seed=0))
    assert len(fitted) == n_train
    assert np.array_equal(fitted, np.fromiter(train.indices, np.int64, train_size))
    assert np.array_equal(chosen, np.fromiter(val.indices, np.int64, n - train_size))
    assert not np.array_equal(fitted, np.arange(n_train))


def test_small_sets_through_the_zoo(formats, resize, tmp_path):
    formats.write_cifar10(tmp_path)
    formats.write_flowers(tmp_path)
    formats.write_pets(tmp_path)
    resize("cifar10", 10, train=50, test=10)
    resize("flowers102", 102, train=102, val=102, test=204)
    resize("oxford-iiit-pets", 3, trainval=7, test=5)
    for name, vision, sizes in (
        ("cifar10", "CIFAR10", {"train": 50, "test": 10}),
        ("flowers102", "Flowers102", {"train": 102, "val": 102, "test": 204}),
        ("oxford-iiit-pets", "OxfordIIITPet", {"trainval": 7, "test": 5}),
    ):
        for split, n in sizes.items():
            samples = open_samples(spec(name, tmp_path), split)
            same = DatasetSpec(name="d", source=f"torchvision:{vision}", splits={"train": split}, root=str(tmp_path))
            assert len(samples) == n
            assert fingerprint(samples) == fingerprint(open_samples(same, split))


def test_places_through_the_zoo(formats, resize, tmp_path):
    formats.write_places(tmp_path)
    resize("places365", 3, train_standard=6, val=4)
    train = open_samples(spec("places365", tmp_path), "train-standard")
    assert train.sample_ids[0] == "data_256_standard/a/airfield/00000009.jpg"
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert open_samples(spec("places365", tmp_path), "val").labels.tolist() == [1, 2, 0, 1]


def test_a_copy_with_other_sizes_is_refused(formats, resize, tmp_path):
    formats.write_cifar10(tmp_path)
    with pytest.raises(InvalidDataset, match="has 10,000 images in this split, this copy has 10"):
        open_samples(spec("cifar10", tmp_path), "test")
    resize("cifar10", 11, train=50, test=10)
    with pytest.raises(InvalidDataset, match=r"has 11 classes .* has 10\. Complete it, .*torchvision:CIFAR10"):
        open_samples(spec("cifar10", tmp_path), "test")


def test_unknown_names(tmp_path):
    with pytest.raises(UnknownName, match=r"no data set of the zoo 'imagenet2'.*Did you mean"):
        open_samples(spec("cifar10", tmp_path, source="zoo:imagenet2"), "train")
    with pytest.raises(UnknownName, match=r"no split of zoo:oxford-iiit-pets 'train'.*Did you mean 'trainval'"):
        open_samples(spec("oxford-iiit-pets", tmp_path, splits={"train": "train"}), "train")


@pytest.fixture(scope="module")
def imagenets(tmp_path_factory) -> Path:
    """Write ImageNet with an image per class and split, and ImageNetV2: the bytes after the JPEG tell them apart."""
    root = tmp_path_factory.mktemp("imagenets")
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 90)).save(out, "jpeg")
    for label, wnid in enumerate(imagenet_wnids()):
        for split in ("train", "val"):
            folder = root / "imagenet" / split / wnid
            folder.mkdir(parents=True)
            (folder / f"{wnid}_1.JPEG").write_bytes(out.getvalue() + f"{split} {label}".encode())
        folder = root / V2_FOLDER / str(label)
        folder.mkdir(parents=True)
        (folder / f"{999 - label}.jpeg").write_bytes(out.getvalue() + f"v2 {label}".encode())
    return root


@pytest.fixture
def small_imagenets(imagenets, resize):
    resize("imagenet", 1000, train=1000, val=1000)
    resize("imagenetv2", 1000, train=1000, test=1000)
    return imagenets


def test_the_wnids_are_in_the_order_of_the_labels():
    wnids = imagenet_wnids()
    assert len(wnids) == len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)
    assert (wnids[0], wnids[1], wnids[281], wnids[999]) == ("n01440764", "n01443537", "n02123045", "n15075141")


def test_v2_is_labelled_by_number_not_by_text(small_imagenets):
    test = open_samples(spec("imagenetv2", small_imagenets), "test")
    assert test.labels.tolist() == list(range(1000))
    assert test.sample_ids[:3] == ("0/999.jpeg", "1/998.jpeg", "2/997.jpeg")
    for i in (2, 10, 100, 999):
        assert test.content(i).endswith(f"v2 {i}".encode())
        assert test.image(i).size == (4, 4)


def test_probes_of_imagenet_can_be_scored_on_v2(small_imagenets):
    """A split from another data set: classes and labels mean the same."""
    train = open_samples(spec("imagenetv2", small_imagenets), "train")
    test = open_samples(spec("imagenetv2", small_imagenets), "test")
    own = open_samples(spec("imagenet", small_imagenets), "train")
    assert fingerprint(train) == fingerprint(own)  # extracted once, under either name
    assert train.content(10).endswith(b"train 10")
    assert test.classes == own.classes == imagenet_wnids()  # what a probe asks of the two
    assert test.labels.tolist() == own.labels.tolist()
    some = ("n02123045", "n01440764")
    kept = [
        open_samples(spec(name, small_imagenets, classes=some), split)
        for name, split in (("imagenet", "val"), ("imagenetv2", "test"))
    ]
    assert [s.classes for s in kept] == [some, some]
    assert [s.labels.tolist() for s in kept] == [[1, 0], [1, 0]]
    assert [s.content(1)[-6:] for s in kept] == [b"al 281", b"v2 281"]


def test_v2_with_wrong_folders(small_imagenets, tmp_path):
    (tmp_path / V2_FOLDER).mkdir()
    for i in range(1000):
        (tmp_path / V2_FOLDER / f"{i:03d}").mkdir()
    only = {"splits": {"test": "test"}}
    with pytest.raises(
        InvalidDataset, match=r"lacks the folder: 0, 1, 10 \(100 in all\); expected the folders 0 to 999"
    ):
        open_samples(spec("imagenetv2", tmp_path, **only), "test")
    for i in range(100):
        (tmp_path / V2_FOLDER / f"{i:03d}").rename(tmp_path / V2_FOLDER / f"{i}")
    with pytest.raises(InvalidDataset, match=f"class 'n01440764' is empty: .*{V2_FOLDER}/0 has no file"):
        open_samples(spec("imagenetv2", tmp_path, **only), "test")
    (tmp_path / V2_FOLDER / "n01440764").mkdir()
    with pytest.raises(InvalidDataset, match="has a folder that is no class: n01440764"):
        open_samples(spec("imagenetv2", tmp_path, **only), "test")
    with pytest.raises(InvalidDataset, match=f"no folder .*{V2_FOLDER}.*Nothing is downloaded: fetch https://"):
        open_samples(spec("imagenetv2", tmp_path / "x", **only), "test")


def test_the_catalogue_tells_what_is_there(formats, imagenets, tmp_path):
    from drfarm._show_datasets import datasets_text

    text = datasets_text(str(imagenets))
    lines = {line.split()[0]: line.split() for line in text.splitlines()[: len(PAPER) + 1] if line}
    for name, train, val, test, n_classes in PAPER:
        assert lines[name][1:5] == [str(n_classes), f"{train:,}", f"{val:,}", f"{test:,}"]
        assert lines[name][5] == ("found" if name.startswith("imagenet") else "missing")
    assert f"cifar10 lacks {imagenets}/cifar-10-batches-py" in text
    assert "fetch https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in text
    (tmp_path / V2_FOLDER).mkdir()
    assert "missing: train" in next(line for line in datasets_text(str(tmp_path)).splitlines() if "imagenetv2" in line)
    for write in (formats.write_cifar10, formats.write_cifar100, formats.write_flowers, formats.write_pets):
        write(tmp_path)
    formats.write_places(tmp_path)
    (tmp_path / "imagenet").symlink_to(imagenets / "imagenet")
    assert "missing" not in datasets_text(str(tmp_path))
    assert "Nothing is downloaded" not in datasets_text(str(tmp_path))
