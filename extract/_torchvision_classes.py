"""Torchvision's image classification sets: how each names its splits, where its files lie, how its index is read.

Only the index is torchvision's: which file is row i, and with which label. The images are read by us, as files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from extract._class_names import FLOWERS, digits

Index = tuple[Sequence[str | Path], Sequence[int]]
"""Paths and labels, in torchvision's own order."""
Arrays = tuple[np.ndarray, Any]
"""Pixels, uint8, shape (n, h, w) or (n, h, w, 3), and labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionClass:
    """One class of ``torchvision.datasets``."""

    splits: Mapping[str, Mapping[str, Any]]
    """Name of a split to the arguments of the constructor that give it."""
    needs: Sequence[str]
    """What must lie below the root for every split."""
    split_needs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What must lie there for one split."""
    fetch: str
    """Where it is had from, and what to do with it."""
    folder: str | None = None
    """Where the files lie in the root itself: the name of a subfolder that may hold them instead."""
    index: Callable[[Any], Index] | None = None
    """Reads the paths and labels of a set of files."""
    arrays: Callable[[Any], Arrays] | None = None
    """Reads the pixels and labels of a set of arrays."""
    classes: Callable[[Any], Sequence[str]]
    """Reads the names of the classes."""
    classes_differ: bool = False
    """Whether a split names only the classes that it has, so that splits must be compared."""

    def paths(self, split: str) -> tuple[str, ...]:
        """Return what must lie below the root for a split."""
        return (*self.needs, *self.split_needs.get(split, ()))


def _by(argument: str, **values: Any) -> dict[str, dict[str, Any]]:
    return {name.replace("_", "-"): {argument: value} for name, value in values.items()}


def _named(argument: str, *names: str) -> dict[str, dict[str, Any]]:
    return {name: {argument: name} for name in names}


def _two(paths: str, labels: str) -> Callable[[Any], Index]:
    return lambda data: (getattr(data, paths), getattr(data, labels))


def _pairs(name: str) -> Callable[[Any], Index]:
    def read(data: Any) -> Index:
        pairs = getattr(data, name)
        return [path for path, _ in pairs], [label for _, label in pairs]

    return read


def _sorted_pairs(data: Any) -> Index:
    # SUN397 lists its files in the order of the disk, which differs from machine to machine.
    pairs = sorted(zip(map(str, data._image_files), data._labels, strict=True))  # noqa: SLF001 - no public index
    return [path for path, _ in pairs], [label for _, label in pairs]


def _caltech(folder: str, name: Callable[[int, int], str]) -> Callable[[Any], Index]:
    def read(data: Any) -> Index:
        files = [
            Path(data.root, folder, data.categories[y], name(y, i)) for y, i in zip(data.y, data.index, strict=True)
        ]
        return files, data.y

    return read


def _channels_last(data: Any) -> Arrays:
    return np.ascontiguousarray(np.transpose(data.data, (0, 2, 3, 1))), data.labels


def _as_they_are(data: Any) -> Arrays:
    return np.asarray(data.data), data.targets


def _tensors(data: Any) -> Arrays:
    return data.data.numpy(), data.targets.numpy()


def _of(name: str) -> Callable[[Any], Sequence[str]]:
    return lambda data: getattr(data, name)


def _fixed(names: Sequence[str]) -> Callable[[Any], Sequence[str]]:
    return lambda _: names


def _by_index(data: Any) -> Sequence[str]:
    return sorted(data.class_to_idx, key=data.class_to_idx.__getitem__)


_BOOL = _by("train", train=True, test=False)
_FILES = _two("_image_files", "_labels")


def _mnist(name: str, where: str) -> VisionClass:
    return VisionClass(
        splits=_BOOL,
        needs=(f"{name}/raw",),
        fetch=f"the four *-ubyte.gz files of {where}; unpack them with gunzip into {name}/raw",
        arrays=_tensors,
        classes=_of("classes"),
    )


CLASSES: Mapping[str, VisionClass] = {
    "CIFAR10": VisionClass(
        splits=_BOOL,
        needs=("cifar-10-batches-py",),
        fetch="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        arrays=_as_they_are,
        classes=_of("classes"),
    ),
    "CIFAR100": VisionClass(
        splits=_BOOL,
        needs=("cifar-100-python",),
        fetch="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        arrays=_as_they_are,
        classes=_of("classes"),
    ),
    "MNIST": _mnist("MNIST", "https://ossci-datasets.s3.amazonaws.com/mnist/"),
    "FashionMNIST": _mnist("FashionMNIST", "https://github.com/zalandoresearch/fashion-mnist"),
    "KMNIST": _mnist("KMNIST", "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"),
    "USPS": VisionClass(
        splits=_BOOL,
        needs=(),
        split_needs={"train": ("usps.bz2",), "test": ("usps.t.bz2",)},
        folder="usps",
        fetch="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html",
        arrays=_as_they_are,
        classes=_fixed(digits(10)),
    ),
    "SVHN": VisionClass(
        splits=_named("split", "train", "test", "extra"),
        needs=(),
        split_needs={s: (f"{s}_32x32.mat",) for s in ("train", "test", "extra")},
        folder="svhn",
        fetch="http://ufldl.stanford.edu/housenumbers/",
        arrays=_channels_last,
        classes=_fixed(digits(10)),
    ),
    "STL10": VisionClass(
        splits=_named("split", "train", "test"),
        needs=("stl10_binary", "stl10_binary/class_names.txt"),
        fetch="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        arrays=_channels_last,
        classes=_of("classes"),
    ),
    "Flowers102": VisionClass(
        splits=_named("split", "train", "val", "test"),
        needs=("flowers-102/jpg", "flowers-102/imagelabels.mat", "flowers-102/setid.mat"),
        fetch="102flowers.tgz, imagelabels.mat and setid.mat of https://www.robots.ox.ac.uk/~vgg/data/flowers/102/; "
        "unpack and put them into flowers-102",
        index=_FILES,
        classes=_fixed(FLOWERS),
    ),
    "OxfordIIITPet": VisionClass(
        splits=_named("split", "trainval", "test"),
        needs=("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"),
        fetch="images.tar.gz and annotations.tar.gz of https://www.robots.ox.ac.uk/~vgg/data/pets/; unpack both into "
        "oxford-iiit-pet",
        index=_two("_images", "_labels"),
        classes=_of("classes"),
        classes_differ=True,
    ),
    "DTD": VisionClass(
        splits=_named("split", "train", "val", "test"),
        needs=("dtd/dtd/images", "dtd/dtd/labels"),
        fetch="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz; unpack it into dtd",
        index=_FILES,
        classes=_of("classes"),
        classes_differ=True,
    ),
    "Food101": VisionClass(
        splits=_named("split", "train", "test"),
        needs=("food-101/meta", "food-101/images"),
        fetch="http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
        index=_FILES,
        classes=_of("classes"),
        classes_differ=True,
    ),
    "FGVCAircraft": VisionClass(
        splits=_named("split", "train", "val", "trainval", "test"),
        needs=("fgvc-aircraft-2013b/data",),
        fetch="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
        index=_FILES,
        classes=_of("classes"),
    ),
    "StanfordCars": VisionClass(
        splits=_named("split", "train", "test"),
        needs=("stanford_cars/devkit",),
        split_needs={
            "train": ("stanford_cars/cars_train",),
            "test": ("stanford_cars/cars_test", "stanford_cars/cars_test_annos_withlabels.mat"),
        },
        fetch="the Stanford Cars images and devkit from a copy of your own: the original address is gone",
        index=_pairs("_samples"),
        classes=_of("classes"),
    ),
    "GTSRB": VisionClass(
        splits=_named("split", "train", "test"),
        needs=(),
        split_needs={
            "train": ("gtsrb/GTSRB/Training",),
            "test": ("gtsrb/GTSRB/Final_Test/Images", "gtsrb/GT-final_test.csv"),
        },
        fetch="https://benchmark.ini.rub.de/gtsrb_dataset.html; unpack it into gtsrb",
        index=_pairs("_samples"),
        classes=_fixed(digits(43)),
    ),
    "EuroSAT": VisionClass(
        splits={"all": {}},
        needs=("eurosat/2750",),
        fetch="EuroSAT.zip of https://github.com/phelber/EuroSAT; unpack it into eurosat",
        index=_pairs("samples"),
        classes=_of("classes"),
    ),
    "Caltech101": VisionClass(
        splits={"all": {}},
        needs=("caltech101/101_ObjectCategories",),
        fetch="https://data.caltech.edu/records/mzrjq-6wc02; unpack it into caltech101",
        index=_caltech("101_ObjectCategories", lambda _, i: f"image_{i:04d}.jpg"),
        classes=_of("categories"),
    ),
    "Caltech256": VisionClass(
        splits={"all": {}},
        needs=("caltech256/256_ObjectCategories",),
        fetch="https://data.caltech.edu/records/nyy15-4j048; unpack it into caltech256",
        index=_caltech("256_ObjectCategories", lambda y, i: f"{y + 1:03d}_{i:04d}.jpg"),
        classes=_of("categories"),
    ),
    "Country211": VisionClass(
        splits=_named("split", "train", "valid", "test"),
        needs=("country211",),
        split_needs={s: (f"country211/{s}",) for s in ("train", "valid", "test")},
        fetch="https://openaipublic.azureedge.net/clip/data/country211.tgz",
        index=_pairs("samples"),
        classes=_of("classes"),
        classes_differ=True,
    ),
    "RenderedSST2": VisionClass(
        splits=_named("split", "train", "val", "test"),
        needs=("rendered-sst2",),
        fetch="https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz",
        index=_pairs("_samples"),
        classes=_of("classes"),
    ),
    "Imagenette": VisionClass(
        splits=_named("split", "train", "val"),
        needs=("imagenette2",),
        split_needs={s: (f"imagenette2/{s}",) for s in ("train", "val")},
        fetch="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz",
        index=_pairs("_samples"),
        classes=_of("wnids"),
        classes_differ=True,
    ),
    "SUN397": VisionClass(
        splits={"all": {}},
        needs=("SUN397", "SUN397/ClassName.txt"),
        fetch="http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
        index=_sorted_pairs,
        classes=_of("classes"),
    ),
    "Places365": VisionClass(
        splits={s: {"split": s, "small": True} for s in ("train-standard", "train-challenge", "val")},
        needs=("categories_places365.txt",),
        split_needs={
            "train-standard": ("places365_train_standard.txt", "data_256_standard"),
            "train-challenge": ("places365_train_challenge.txt", "data_256_challenge"),
            "val": ("places365_val.txt", "val_256"),
        },
        folder="places365",
        fetch="filelist_places365-standard.tar, train_256_places365standard.tar and val_256.tar of "
        "http://places2.csail.mit.edu/download.html; unpack them and rename data_256 to data_256_standard",
        index=_pairs("imgs"),
        classes=_by_index,
    ),
    "ImageNet": VisionClass(  # a folder per class as any other; its index is ours, and needs no meta.bin
        splits=_named("split", "train", "val"),
        needs=(),
        split_needs={"train": ("train",), "val": ("val",)},
        folder="imagenet",
        fetch="ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar of https://image-net.org/download-images.php (a "
        "login is needed); unpack them into train/<wnid>/ and val/<wnid>/",
        classes=_of("wnids"),
    ),
}
"""Name of a class to how it is read. Sets without labels per image, or for other tasks, are not here."""
