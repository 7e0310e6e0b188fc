"""``torchvision:CLASS``: torchvision's own index of a data set on the disk, and nothing fetched or unpacked."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from extract._agreement import check_agreement, check_labels
from extract._arrays import ArraySamples, row_ids
from extract._folder import FolderSamples, check_file_name, open_folder
from extract._stamp import Stamp, sizes_and_times, stamp_of
from extract._torchvision_classes import CLASSES, VisionClass
from extract._user_folders import data_folder
from extract.errors import InvalidDataset
from store.errors import UnknownName

_SHOWN = 3


def open_torchvision(
    name: str, split: str, splits: Sequence[str], *, root: str | None, kept: tuple[str, ...] | None, where: str
) -> FolderSamples | ArraySamples:
    """Open one split of a class of ``torchvision.datasets``; row i is its row i.

    Parameters
    ----------
    name
        Name of the class.
    split, splits
        The split, and all in use: their classes must agree.
    root
        Folder in which the class looks; None is the user's folder of data sets.
    kept
        Where some classes are kept, only these must agree and have images.
    where
        What errors begin with.

    Raises
    ------
    UnknownName
        If there is no such class or split.
    InvalidDataset
        If files are missing, are not those that were published (torchvision compares their checksums where it knows
        them), or disagree.
    """
    if name not in CLASSES:
        raise UnknownName.among(
            "image classification set of torchvision", name, CLASSES, where=where, most=len(CLASSES)
        )
    entry = CLASSES[name]
    for s in dict.fromkeys((*splits, split)):
        if s not in entry.splits:
            raise UnknownName.among(f"split of torchvision:{name}", s, entry.splits, where=where)
    base = find_root(name, split, root, where=where)
    if name == "ImageNet":
        present = [s for s in splits if s == split or (base / s).is_dir()]
        return open_folder(base, split, present, kept=kept, where=where)
    where = f"{where}: torchvision:{name} in {base}"
    stamp = _stamp_of_arrays(entry, split, base) if entry.arrays else None  # before they are read
    data = _construct(name, entry, split, base, where=where)
    classes = _class_names(data, entry, where=where)
    if entry.classes_differ:
        others = [s for s in splits if s != split and not missing_paths(entry, s, base)]
        named = {s: _class_names(_construct(name, entry, s, base, where=where), entry, where=where) for s in others}
        check_agreement({split: classes} | named, kept=kept, where=where)
    samples: FolderSamples | ArraySamples
    if entry.index is not None:
        found, targets = _read(entry.index, data, where=where)
        samples = _files(found, targets, classes, entry, base, where=where)
    else:
        pixels, labels = _read(entry.arrays, data, where=where)
        samples = ArraySamples(
            classes=classes,
            labels=np.array(labels, dtype=np.int64),
            sample_ids=row_ids(split, len(labels)),
            pixels=pixels,
            stamp=stamp,
        )
    check_labels(samples.labels, classes, kept=kept, where=where)
    return samples


def find_root(name: str, split: str, root: str | None, *, where: str) -> Path:
    """Return the folder in which a class finds a split.

    Raises
    ------
    InvalidDataset
        If it is nowhere: with what to fetch, and where to put it.
    """
    base, missing = look_for(name, split, root)
    if missing:
        raise InvalidDataset(
            f"{where}: torchvision:{name} needs {', '.join(map(str, missing))}, which "
            f"{'is' if len(missing) == 1 else 'are'} not there. Nothing is downloaded: fetch {CLASSES[name].fetch}; it "
            f"belongs into {base}. Or say where the files are, with `root` or DRFARM_DATA."
        )
    return base


def look_for(name: str, split: str, root: str | None) -> tuple[Path, list[Path]]:
    """Return the folder in which a class finds a split, or should, and what is missing there."""
    entry = CLASSES[name]
    base = data_folder(root)
    own = base / entry.folder if entry.folder else base
    for place in (own, base):
        if not missing_paths(entry, split, place):
            return place, []
    return own, [own / path for path in missing_paths(entry, split, own)]


def missing_paths(entry: VisionClass, split: str, base: Path) -> list[str]:
    """Return what a split needs and what is not below a folder."""
    return [path for path in entry.paths(split) if not (base / path).exists()]


def _construct(name: str, entry: VisionClass, split: str, base: Path, *, where: str) -> Any:
    """Let torchvision read its index. It verifies checksums before it unpickles anything (CIFAR)."""
    import torchvision.datasets

    try:
        with warnings.catch_warnings():
            # CIFAR was pickled by a numpy of 2009: numpy 2.4.0 to 2.4.4 warns of it, and nobody can do anything.
            # https://github.com/numpy/numpy/pull/31177
            warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed", category=Warning)
            return getattr(torchvision.datasets, name)(str(base), **entry.splits[split])
    except Exception as e:  # torchvision raises RuntimeError, and readers of many formats raise their own
        raise InvalidDataset(
            f"{where}: split {split!r} is incomplete, or its files are not those that were published (torchvision: "
            f"{type(e).__name__}: {e}). Fetch again {entry.fetch}."
        ) from e


def _class_names(data: Any, entry: VisionClass, *, where: str) -> tuple[str, ...]:
    names = tuple(str(c) for c in _read(entry.classes, data, where=where))
    if len(set(names)) != len(names):
        twice = sorted({c for c in names if names.count(c) > 1})
        raise InvalidDataset(f"{where}: classes must have names of their own, got twice: {', '.join(twice)}.")
    return names


def _files(
    found: Sequence[str | Path],
    labels: Sequence[int],
    classes: tuple[str, ...],
    entry: VisionClass,
    base: Path,
    *,
    where: str,
) -> FolderSamples:
    paths = [str(p) for p in found]
    sizes, times_ns, missing = sizes_and_times(paths)
    if missing:
        shown = ", ".join(paths[i] for i in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        raise InvalidDataset(
            f"{where}: {len(missing):,} of {len(paths):,} images are missing: {shown}{more}. Fetch again {entry.fetch}."
        )
    prefix = f"{base}{os.sep}"
    ids = tuple(p.removeprefix(prefix).replace(os.sep, "/") for p in paths)
    for name in ids:
        check_file_name(name, base, where=where)
    return FolderSamples(
        root=base,
        classes=classes,
        labels=np.array(labels, dtype=np.int64),
        sample_ids=ids,
        sizes=sizes,
        stamp=Stamp.of(times_ns),
    )


def _stamp_of_arrays(entry: VisionClass, split: str, base: Path) -> Stamp:
    places = [base / path for path in entry.paths(split)]
    return stamp_of(sorted(f for p in places for f in ((p,) if p.is_file() else p.rglob("*"))))


def _read(reader: Any, data: Any, *, where: str) -> Any:
    try:
        return reader(data)
    except (AttributeError, TypeError) as e:
        import torchvision

        raise InvalidDataset(
            f"{where}: torchvision {torchvision.__version__} keeps its index otherwise ({e}); say so in an issue, and "
            "use a version between 0.19 and 0.29 meanwhile."
        ) from e
