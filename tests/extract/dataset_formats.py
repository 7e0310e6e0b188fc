"""Small files in exactly the formats in which data sets are published: what torchvision's classes read."""

import bz2
import csv
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

CHECKED = ("cifar", "flowers102", "places365", "stl10", "svhn")
"""Modules of torchvision.datasets that compare checksums with the published files'."""


def unverified(monkeypatch):
    """Let torchvision take our small files for the published ones."""
    for module in CHECKED:
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: Path(path).is_file()
        )


def picture(path: Path, number: int, size=(13, 11)) -> Path:
    """Write a picture of its own: none equals another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format=None if path.suffix.lower() != ".jpeg" else "JPEG")
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def noise(number: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def python2_pickle(value) -> bytes:
    """Pickle as the Python 2 and numpy of 2009 did, which wrote CIFAR's files: byte strings, and 0 and 1 for bools."""
    return b"\x80\x02" + _pickled(value) + b"."


def _pickled(value) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_pickled(k) + _pickled(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_pickled, value)) + b"e"
    if isinstance(value, int):
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
    if isinstance(value, str | bytes):
        data = value.encode("latin1") if isinstance(value, str) else value
        return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.uint8
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + _pickled(-1) * 2 + b"K\x00tb"
    shape = b"(" + b"".join(map(_pickled, value.shape)) + b"t"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + _pickled(value.tobytes()) + b"tb"


def write_cifar10(root: Path, n_batch=10):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for b, file in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        n = n_batch
        batch = {
            "batch_label": file,
            "labels": [(b * 7 + 3 * i) % 10 for i in range(n)],
            "data": noise(b, n, 3072),
            "filenames": [f"{i}.png" for i in range(n)],
        }
        (folder / file).write_bytes(python2_pickle(batch))
    (folder / "batches.meta").write_bytes(python2_pickle({"num_cases_per_batch": n_batch, "label_names": names}))


def write_cifar100(root: Path):
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for b, file in enumerate(("train", "test")):
        fine = [(i * 7) % 100 for i in range(100)]
        batch = {"fine_labels": fine, "coarse_labels": [f % 20 for f in fine], "data": noise(b, 100, 3072)}
        (folder / file).write_bytes(python2_pickle(batch))
    meta = {"fine_label_names": [f"fine{i:02d}" for i in range(100)], "coarse_label_names": ["x"] * 20}
    (folder / "meta").write_bytes(python2_pickle(meta))


def write_mnist(root: Path, name: str):
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for number, (part, n) in enumerate((("train", 20), ("t10k", 10))):
        labels = (np.arange(n) * 3 % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">iiii", 2051, n, 28, 28) + noise(number, n, 28, 28).tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, n) + labels.tobytes())


def write_usps(root: Path):
    (root / "usps").mkdir(parents=True)
    for number, file in enumerate(("usps.bz2", "usps.t.bz2")):
        values = np.random.default_rng(number).uniform(-1, 1, (10, 256)).round(3)
        lines = [f"{i % 10 + 1} " + " ".join(f"{j}:{v}" for j, v in enumerate(row, 1)) for i, row in enumerate(values)]
        with bz2.open(root / "usps" / file, "wt") as out:
            out.write("\n".join(lines) + "\n")


def write_svhn(root: Path):
    (root / "svhn").mkdir(parents=True)
    for number, part in enumerate(("train", "test", "extra")):
        y = np.arange(1, 13).reshape(-1, 1) % 10
        y[y == 0] = 10  # the digit 0 is called 10
        savemat(root / "svhn" / f"{part}_32x32.mat", {"X": noise(number, 32, 32, 3, 12), "y": y.astype(np.uint8)})


def write_stl10(root: Path):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    text(folder / "class_names.txt", "\n".join(f"thing{i}" for i in range(10)) + "\n")
    for number, part in enumerate(("train", "test", "unlabeled")):
        (folder / f"{part}_X.bin").write_bytes(noise(number, 10, 3, 96, 96).tobytes())
        if part != "unlabeled":
            (folder / f"{part}_y.bin").write_bytes((np.arange(10) * 3 % 10 + 1).astype(np.uint8).tobytes())


def write_flowers(root: Path):
    folder = root / "flowers-102"
    n = 102 * 4
    labels = np.arange(n) % 102 + 1
    dealt = np.arange(n).reshape(4, 102)[:, ::-1]  # every class in every split; ids lie in no order there either
    parts = {"trnid": slice(0, 1), "valid": slice(1, 2), "tstid": slice(2, 4)}
    folder.mkdir(parents=True)
    savemat(folder / "imagelabels.mat", {"labels": labels[None].astype(np.uint8)})
    savemat(folder / "setid.mat", {k: (dealt[s].reshape(1, -1) + 1).astype(np.uint16) for k, s in parts.items()})
    for i in range(1, n + 1):
        picture(folder / "jpg" / f"image_{i:05d}.jpg", i, (5, 4))


def write_pets(root: Path):
    folder = root / "oxford-iiit-pet"
    breeds = ["Abyssinian", "american_bulldog", "Birman"]
    lines = {"trainval": [], "test": []}
    for i in range(12):
        label = i * 2 % 3
        name = f"{breeds[label]}_{100 - i}"
        picture(folder / "images" / f"{name}.jpg", i)
        lines["trainval" if i < 7 else "test"].append(f"{name} {label + 1} {1 + (label == 1)} {i}")
    for part, rows in lines.items():
        text(folder / "annotations" / f"{part}.txt", "\n".join(rows) + "\n")


def write_dtd(root: Path):
    folder = root / "dtd" / "dtd"
    for s, part in enumerate(("train", "val", "test")):
        rows = []
        for i in range(4):
            name = ("zigzagged", "banded")[i % 2]
            rows.append(f"{name}/{name}_{s}{9 - i}.jpg")
            picture(folder / "images" / rows[-1], 10 * s + i)
        text(folder / "labels" / f"{part}1.txt", "\n".join(rows) + "\n")


def write_food(root: Path):
    folder = root / "food-101"
    for s, part in enumerate(("train", "test")):
        meta = {}
        for c in ("waffles", "apple_pie"):
            meta[c] = [f"{c}/{s}{9 - i}" for i in range(2)]
            for i, name in enumerate(meta[c]):
                picture(folder / "images" / f"{name}.jpg", 100 * s + 10 * len(c) + i)
        text(folder / "meta" / f"{part}.json", json.dumps(meta))


def write_aircraft(root: Path):
    folder = root / "fgvc-aircraft-2013b" / "data"
    text(folder / "variants.txt", "A340-200\n707-320\nDC-10 (long)\n")
    for s, part in enumerate(("train", "val", "trainval", "test")):
        rows = []
        for i, name in enumerate(("DC-10 (long)", "A340-200", "707-320", "A340-200")):
            rows.append(f"{1000 * s + 99 - i:07d} {name}")
            picture(folder / "images" / f"{1000 * s + 99 - i:07d}.jpg", 10 * s + i)
        text(folder / f"images_variant_{part}.txt", "\n".join(rows) + "\n")


def write_cars(root: Path):
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array(["AM General Hummer 2000", "Acura TL 2012"], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    kind = [("fname", "O"), ("class", "O")]
    for s, (part, place) in enumerate(
        (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat"))
    ):
        rows = [(f"{9 - i:05d}.jpg", i % 2 + 1) for i in range(4)]
        for i, (file, _) in enumerate(rows):
            picture(folder / f"cars_{part}" / file, 10 * s + i)
        savemat(folder / place, {"annotations": np.array(rows, dtype=kind)})


def write_gtsrb(root: Path):
    folder = root / "gtsrb"
    for c in range(43):
        picture(folder / "GTSRB" / "Training" / f"{c:05d}" / "00000_00000.ppm", c, (6, 5))
    with (folder / "GT-final_test.csv").open("w", newline="") as file:
        out = csv.writer(file, delimiter=";")
        out.writerow(["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"])
        for i in range(43):
            picture(folder / "GTSRB" / "Final_Test" / "Images" / f"{i:05d}.ppm", 100 + i, (6, 5))
            out.writerow([f"{i:05d}.ppm", 6, 5, 0, 0, 6, 5, i * 5 % 43])


def write_folders(root: Path, below: dict[str, list[str]], suffix: str, number=0):
    """Write two pictures into each class folder of each place."""
    for place, names in below.items():
        for name in names:
            for i in range(2):
                number += 1
                picture(root / place / name / f"{name}_{9 - i}.{suffix}", number)


def write_eurosat(root: Path):
    write_folders(root, {"eurosat/2750": ["River", "AnnualCrop"]}, "jpg")


def write_caltech101(root: Path):
    for number, c in enumerate(("BACKGROUND_Google", "Faces", "accordion")):
        for i in (1, 2):
            picture(root / "caltech101/101_ObjectCategories" / c / f"image_{i:04d}.jpg", 10 * number + i)


def write_caltech256(root: Path):
    for number, c in enumerate(("001.ak47", "002.flag")):
        for i in (1, 2):
            picture(root / "caltech256/256_ObjectCategories" / c / f"{number + 1:03d}_{i:04d}.jpg", 10 * number + i)


def write_country(root: Path):
    write_folders(root, {f"country211/{s}": ["NL", "AD"] for s in ("train", "valid", "test")}, "jpg")


def write_sst(root: Path):
    write_folders(root, {f"rendered-sst2/{s}": ["positive", "negative"] for s in ("train", "valid", "test")}, "png")


def write_imagenette(root: Path):
    write_folders(root, {f"imagenette2/{s}": ["n02102040", "n01440764"] for s in ("train", "val")}, "JPEG")
    for file in list((root / "imagenette2").rglob("*.JPEG")):
        file.rename(file.with_suffix(".jpeg"))


def write_sun(root: Path):
    names = ["/a/abbey", "/a/apartment_building/outdoor"]
    text(root / "SUN397" / "ClassName.txt", "\n".join(names) + "\n")
    for number, name in enumerate(names):
        for i in range(2):
            picture(root / "SUN397" / name[1:] / f"sun_{9 - i}{number}.jpg", 10 * number + i)


def write_places(root: Path):
    names = ["/a/airfield", "/a/airplane_cabin", "/b/bar"]
    text(root / "places365/categories_places365.txt", "".join(f"{n} {i}\n" for i, n in enumerate(names)))
    for part in ("standard", "challenge"):
        rows = [(f"{names[i % 3]}/{9 - i:08d}.jpg", i % 3) for i in range(6)]
        text(root / f"places365/places365_train_{part}.txt", "".join(f"{f} {c}\n" for f, c in rows))
        for i, (file, _) in enumerate(rows):
            picture(root / f"places365/data_256_{part}" / file[1:], i)
    rows = [(f"Places365_val_{i:08d}.jpg", (i + 1) % 3) for i in range(4)]
    text(root / "places365/places365_val.txt", "".join(f"{f} {c}\n" for f, c in rows))
    for i, (file, _) in enumerate(rows):
        picture(root / "places365/val_256" / file, 50 + i)


def write_imagenet(root: Path, wnids=("n01440764", "n01443537", "n15075141")):
    import torch

    write_folders(root / "imagenet", {"train": list(wnids), "val": list(wnids)}, "JPEG")
    torch.save(({w: (f"name of {w}",) for w in wnids}, []), root / "imagenet" / "meta.bin")


WRITERS = {
    "CIFAR10": write_cifar10,
    "CIFAR100": write_cifar100,
    "MNIST": lambda root: write_mnist(root, "MNIST"),
    "FashionMNIST": lambda root: write_mnist(root, "FashionMNIST"),
    "KMNIST": lambda root: write_mnist(root, "KMNIST"),
    "USPS": write_usps,
    "SVHN": write_svhn,
    "STL10": write_stl10,
    "Flowers102": write_flowers,
    "OxfordIIITPet": write_pets,
    "DTD": write_dtd,
    "Food101": write_food,
    "FGVCAircraft": write_aircraft,
    "StanfordCars": write_cars,
    "GTSRB": write_gtsrb,
    "EuroSAT": write_eurosat,
    "Caltech101": write_caltech101,
    "Caltech256": write_caltech256,
    "Country211": write_country,
    "RenderedSST2": write_sst,
    "Imagenette": write_imagenette,
    "SUN397": write_sun,
    "Places365": write_places,
    "ImageNet": write_imagenet,
}
"""Name of a class of torchvision to what writes its files below a folder of data sets."""
