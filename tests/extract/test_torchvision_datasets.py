"""``torchvision:CLASS`` against torchvision's own class on the same files: rows, labels, pixels."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from extract import DatasetSpec, InvalidDataset, fingerprint, open_samples
from extract._class_names import FLOWERS
from extract._torchvision_classes import CLASSES
from store import UnknownName

OWN_FOLDER = {"USPS": "usps", "SVHN": "svhn", "Places365": "places365", "ImageNet": "imagenet"}
MEMBERS = [(name, split) for name, entry in CLASSES.items() for split in entry.splits]
WNIDS = ("ImageNet", "Imagenette")


@pytest.fixture
def formats(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import dataset_formats

    return dataset_formats


@pytest.fixture
def written(formats, monkeypatch, tmp_path):
    """Write the files of a class; torchvision doesn't compare checksums. Returns the folder of data sets."""
    formats.unverified(monkeypatch)
    monkeypatch.delenv("DRFARM_DATA", raising=False)

    def write(name: str) -> Path:
        formats.WRITERS[name](tmp_path / "data")
        return tmp_path / "data"

    return write


def spec(name, root, *splits, **settings):
    roles = dict(zip(("train", "test", "val"), splits, strict=False))
    root = None if root is None else str(root)
    return DatasetSpec(name="d", source=f"torchvision:{name}", splits=roles, root=root, **settings)


@pytest.mark.parametrize("name, split", MEMBERS)
def test_rows_are_torchvisions_own(name, split, written):
    root = written(name)
    oracle = getattr(torchvision.datasets, name)(str(root / OWN_FOLDER.get(name, "")), **CLASSES[name].splits[split])
    samples = open_samples(spec(name, root, split), split)
    order = range(len(oracle))
    if name == "SUN397":  # torchvision lists as the disk does; we sort
        order = sorted(order, key=lambda i: str(oracle._image_files[i]))
    assert len(samples) == len(oracle) >= 4
    assert samples.labels.dtype == np.int64
    for row, (image, label) in enumerate(oracle[i] for i in order):
        assert samples.labels[row] == label
        assert np.array_equal(np.asarray(samples.image(row).convert("RGB")), np.asarray(image.convert("RGB")))
        assert samples.size_bytes(row) > 0
    assert len(set(samples.sample_ids)) == len(samples)
    assert len({samples.content(i) for i in range(len(samples))}) == len(samples)  # no two rows read the same
    if hasattr(oracle, "classes") and name not in WNIDS:
        assert samples.classes == tuple(oracle.classes)
    if name in WNIDS:
        assert samples.classes == tuple(oracle.wnids)


def test_every_class_of_the_table_has_a_writer(formats):
    assert set(formats.WRITERS) == set(CLASSES)


def test_flowers_names_are_torchvisions():
    if not hasattr(torchvision.datasets.Flowers102, "classes"):
        pytest.skip("this torchvision does not name the flowers")
    assert list(FLOWERS) == list(torchvision.datasets.Flowers102.classes)


def test_sizes_and_ids_tell_arrays_from_files(written):
    cifar = open_samples(spec("CIFAR10", written("CIFAR10"), "test"), "test")
    assert cifar.image_size == (32, 32)
    assert cifar.sample_ids[3] == "test/000003"
    assert cifar.size_bytes(0) == 3072
    assert cifar.content(0).startswith(b"(32, 32, 3)\0")
    root = written("Flowers102")
    flowers = open_samples(spec("Flowers102", root, "val"), "val")
    assert flowers.image_size is None
    assert flowers.sample_ids[0] == "flowers-102/jpg/image_00204.jpg"
    assert flowers.content(0) == (root / "flowers-102/jpg/image_00204.jpg").read_bytes()
    assert flowers.size_bytes(0) == len(flowers.content(0))


def test_the_root_is_the_studys_or_the_users(written, monkeypatch, tmp_path):
    root = written("ImageNet")
    explicit = open_samples(spec("ImageNet", root, "train", "val"), "val")
    assert explicit.sample_ids[:2] == ("n01440764/n01440764_8.JPEG", "n01440764/n01440764_9.JPEG")
    inside = open_samples(spec("ImageNet", root / "imagenet", "train", "val"), "val")  # torchvision's own root
    monkeypatch.setenv("DRFARM_DATA", str(root))
    user = open_samples(spec("ImageNet", None, "train", "val"), "val")
    assert fingerprint(explicit) == fingerprint(inside) == fingerprint(user)
    monkeypatch.delenv("DRFARM_DATA")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(InvalidDataset, match=r"home/\.cache/drfarm/data/imagenet/val, which is not there"):
        open_samples(spec("ImageNet", None, "train", "val"), "val")
    assert not (tmp_path / "home").exists()  # looking makes no folder


def test_imagenet_needs_no_meta_file_and_is_the_folder_that_it_is(written):
    root = written("ImageNet")
    (root / "imagenet/meta.bin").unlink()
    samples = open_samples(spec("ImageNet", root, "train", "val"), "val")
    folder = DatasetSpec(name="d", source=f"folder:{root}/imagenet", splits={"train": "train", "test": "val"})
    assert fingerprint(samples) == fingerprint(open_samples(folder, "val"))


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path):
    with pytest.raises(
        InvalidDataset,
        match=r"needs .*/cifar-10-batches-py, which is not there\. Nothing is downloaded: fetch "
        r"https://www\.cs\.toronto\.edu/~kriz/cifar-10-python\.tar\.gz; it belongs into .*`root` or DRFARM_DATA",
    ):
        open_samples(spec("CIFAR10", tmp_path, "train"), "train")
    with pytest.raises(InvalidDataset, match=r"jpg, .*imagelabels\.mat, .*setid\.mat, which are not there"):
        open_samples(spec("Flowers102", tmp_path, "train"), "train")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Caltech101", "USPS", "EuroSAT"])
def test_nothing_is_made_where_nothing_is(name, tmp_path):
    split = next(iter(CLASSES[name].splits))
    with pytest.raises(InvalidDataset, match="Nothing is downloaded"):
        open_samples(spec(name, tmp_path, split), split)
    assert list(tmp_path.iterdir()) == []  # torchvision would make a folder


def test_unknown_classes_and_splits():
    with pytest.raises(UnknownName, match=r"no image classification set .*'CIFAR'.*Did you mean 'CIFAR10'.*CIFAR100"):
        open_samples(spec("CIFAR", None, "train"), "train")
    with pytest.raises(UnknownName, match="no image classification set of torchvision 'CocoDetection'"):
        open_samples(spec("CocoDetection", None, "train"), "train")
    with pytest.raises(UnknownName, match=r"no split of torchvision:OxfordIIITPet 'train'.*Did you mean 'trainval'"):
        open_samples(spec("OxfordIIITPet", None, "train", "test"), "test")


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100", "Flowers102", "SVHN", "STL10", "Places365"])
def test_files_that_are_not_the_published_ones_are_refused(name, formats, tmp_path):
    formats.WRITERS[name](tmp_path)
    split = next(iter(CLASSES[name].splits))
    with pytest.raises(InvalidDataset, match=r"not those that were published \(torchvision: RuntimeError"):
        open_samples(spec(name, tmp_path, split), split)


def test_a_pickle_that_is_not_the_published_one_is_never_opened(formats, tmp_path):
    formats.write_cifar10(tmp_path)
    bomb = b"cos\nmkdir\n(V" + str(tmp_path / "boom").encode() + b"\ntR."
    for file in (tmp_path / "cifar-10-batches-py").iterdir():
        file.write_bytes(bomb)
    with pytest.raises(InvalidDataset, match="not those that were published"):
        open_samples(spec("CIFAR10", tmp_path, "train"), "train")
    assert not (tmp_path / "boom").exists()
    pickle.loads(bomb)
    assert (tmp_path / "boom").exists()  # it would have gone off


def test_a_warning_that_nobody_can_heed_is_not_passed_on(written, monkeypatch):
    root = written("CIFAR10")
    load = pickle.load

    def old_numpy(*args, **kwargs):
        warnings.warn("dtype(): align should be passed as Python or NumPy boolean but got `align=0`.", stacklevel=2)
        return load(*args, **kwargs)

    monkeypatch.setattr("torchvision.datasets.cifar.pickle.load", old_numpy)
    assert len(open_samples(spec("CIFAR10", root, "test"), "test")) == 10


def test_images_that_an_index_names_must_be_there(written):
    root = written("OxfordIIITPet")
    for file in ("Abyssinian_100.jpg", "Birman_99.jpg"):
        (root / "oxford-iiit-pet/images" / file).unlink()
    with pytest.raises(
        InvalidDataset, match=r"2 of 7 images are missing: .*Abyssinian_100\.jpg, .*Birman_99\.jpg\. Fe"
    ):
        open_samples(spec("OxfordIIITPet", root, "trainval", "test"), "trainval")
    assert len(open_samples(spec("OxfordIIITPet", root, "trainval", "test"), "test")) == 5


def test_splits_with_other_classes_are_refused(written):
    root = written("OxfordIIITPet")
    file = root / "oxford-iiit-pet/annotations/test.txt"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if "Birman" not in line) + "\n")
    both = spec("OxfordIIITPet", root, "trainval", "test")
    with pytest.raises(InvalidDataset, match=r"Only in 'trainval': Birman\. Only in 'test': none"):
        open_samples(both, "trainval")
    kept = spec("OxfordIIITPet", root, "trainval", "test", classes=("American Bulldog", "Abyssinian"))
    assert open_samples(kept, "trainval").classes == ("American Bulldog", "Abyssinian")


def test_a_class_without_an_image_is_refused(written):
    root = written("Places365")
    with (root / "places365/categories_places365.txt").open("a") as file:
        file.write("/z/zen_garden 3\n")
    with pytest.raises(InvalidDataset, match=r"1 of 4 classes have no image: '/z/zen_garden'"):
        open_samples(spec("Places365", root, "val"), "val")
    kept = spec("Places365", root, "val", classes=("/b/bar", "/a/airfield"))
    assert open_samples(kept, "val").classes == ("/b/bar", "/a/airfield")


def test_samples_travel_to_other_processes(written):
    for name, split in (("CIFAR10", "test"), ("Flowers102", "val")):
        samples = open_samples(spec(name, written(name), split), split)
        again = pickle.loads(pickle.dumps(samples))
        assert fingerprint(again) == fingerprint(samples)
