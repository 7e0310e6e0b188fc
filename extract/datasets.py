"""Data sets: one split as samples in a fixed order, whatever it is stored as."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from extract._arrays import open_digits, open_npz
from extract._folder import open_folder
from extract._stamp import Stamp
from extract._torchvision_sets import open_torchvision
from extract._webdataset import open_webdataset
from extract.errors import InvalidDataset
from extract.spec import DatasetSpec
from extract.zoo_datasets import open_zoo
from store.errors import UnknownName


class Samples(Protocol):
    """One split: sample i is the same image, label and id every time it is opened.

    Safe to share between threads, and picklable: processes that decode get a copy each.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; label c means ``classes[c]``."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """Labels, int64, shape (n,)."""
        ...

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """One readable name per sample, distinct."""
        ...

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width that every image has; None where they may differ."""
        ...

    @property
    def stamp(self) -> Stamp | None:
        """When the files last changed, as of before they were read; None where nobody can tell."""
        ...

    def __len__(self) -> int: ...

    def size_bytes(self, i: int) -> int:
        """Return the size of sample i's stored content."""
        ...

    def content(self, i: int) -> bytes:
        """Return sample i's stored content.

        Raises
        ------
        SampleUnreadable
            If the disk refuses.
        """
        ...

    def image(self, i: int) -> Image.Image:
        """Return sample i, decoded.

        Raises
        ------
        SampleUnreadable
            If the disk refuses.
        CorruptSample
            If the content is no image.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    """Samples of some classes of a split, with labels 0, 1, ... in the order in which the classes were asked for."""

    whole: Samples
    """The split with all its classes."""
    rows: tuple[int, ...]
    """Rows of `whole` that are kept, ascending."""
    classes: tuple[str, ...]
    """Names of the kept classes."""
    labels: np.ndarray
    """New labels, int64, shape (n,)."""
    sample_ids: tuple[str, ...]
    """Names of the kept samples."""

    @property
    def image_size(self) -> tuple[int, int] | None:
        return self.whole.image_size

    @property
    def stamp(self) -> Stamp | None:
        return self.whole.stamp

    def __len__(self) -> int:
        return len(self.rows)

    def size_bytes(self, i: int) -> int:
        return self.whole.size_bytes(self.rows[i])

    def content(self, i: int) -> bytes:
        return self.whole.content(self.rows[i])

    def image(self, i: int) -> Image.Image:
        return self.whole.image(self.rows[i])


def open_samples(spec: DatasetSpec, split: str) -> Samples:
    """Open one split of a data set.

    Raises
    ------
    UnknownName
        If the source has no such split, or not one of the classes to keep.
    InvalidDataset
        If the data set isn't laid out as its source says, its splits disagree on the classes, or only one is left.
    """
    where = f"dataset {spec.name!r}, split {split!r}"
    kind, _, place = spec.source.partition(":")
    splits = spec.split_names if split in spec.split_names else (*spec.split_names, split)
    samples: Samples
    if kind == "folder":
        samples = open_folder(Path(place), split, splits, kept=spec.classes, where=where)
    elif kind == "npz":
        samples = open_npz(Path(place), split, splits, kept=spec.classes, where=where)
    elif kind == "torchvision":
        samples = open_torchvision(place, split, splits, root=spec.root, kept=spec.classes, where=where)
    elif kind == "zoo":
        samples = open_zoo(place, split, splits, root=spec.root, kept=spec.classes, where=where)
    elif kind == "webdataset":
        samples = open_webdataset(place, split, splits, kept=spec.classes, where=where)
    elif place == "digits":
        samples = open_digits(split, where=where)
    else:
        raise UnknownName.among("sklearn data set", place, ["digits"], where=where)
    if spec.classes is not None:
        samples = _keep(samples, spec.classes, where=where)
    if len(samples.classes) < 2:
        raise InvalidDataset(
            f"{where}: probing needs at least two classes, got {len(samples.classes)} "
            f"({', '.join(samples.classes) or 'none'})."
        )
    return samples


def _keep(samples: Samples, classes: tuple[str, ...], *, where: str) -> _Kept:
    for name in classes:
        if name not in samples.classes:
            raise UnknownName.among("class", name, samples.classes, where=where)
    new_label = np.full(len(samples.classes), -1, dtype=np.int64)
    new_label[[samples.classes.index(c) for c in classes]] = np.arange(len(classes))
    labels = new_label[samples.labels]
    rows = np.flatnonzero(labels >= 0)
    return _Kept(
        whole=samples,
        rows=tuple(rows.tolist()),
        classes=classes,
        labels=labels[rows],
        sample_ids=tuple(samples.sample_ids[i] for i in rows),
    )
