"""``webdataset:PATH``: images in plain tar shards, read at their offsets: no unpacking, and any order is as fast."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from extract._agreement import check_agreement, check_labels
from extract._decoding import decode_image
from extract._folder import check_file_name
from extract._stamp import Stamp, stamp_of
from extract._tar_index import TarSample, index_shard
from extract._tar_paths import base_folder, find_shards
from extract.errors import InvalidDataset, SampleUnreadable

_THREADS = 8
_CLASSES = "classes.txt"


class _Open:
    """A shard held open by one thread, and closed with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle = os.open(path, os.O_RDONLY)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # bound: modules are gone at the very end
        if hasattr(self, "handle"):
            close(self.handle)


class _Reader:
    """Reads at offsets, and keeps each thread's latest shard open: rows in a row are mostly in the same one.

    ``pread`` moves no position, so processes that were forked don't disturb each other.
    """

    def __init__(self) -> None:
        self._mine = threading.local()

    def __reduce__(self) -> tuple[type["_Reader"], tuple[()]]:
        return _Reader, ()

    def read(self, path: Path, offset: int, size: int) -> bytes:
        shard: _Open | None = getattr(self._mine, "shard", None)
        if shard is None or shard.path != path:
            self._mine.shard = shard = _Open(path)
        return os.pread(shard.handle, size, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class TarSamples:
    """Images of one split, in tar shards."""

    shards: tuple[Path, ...]
    """The shards, sorted by name."""
    shard: np.ndarray
    """Number of each sample's shard, int32, shape (n,)."""
    offsets: np.ndarray
    """Where each image begins in its shard, int64, shape (n,)."""
    sizes: np.ndarray
    """Sizes in bytes, int64, shape (n,)."""
    classes: tuple[str, ...]
    """Names of the classes."""
    labels: np.ndarray
    """Labels, int64, shape (n,)."""
    sample_ids: tuple[str, ...]
    """``<shard>/<name in the tar>``."""
    stamp: Stamp
    """When the shards last changed."""
    reader: _Reader = field(default_factory=_Reader, repr=False, compare=False)
    """Reads the shards."""

    @property
    def image_size(self) -> tuple[int, int] | None:
        """None: images may have any size."""
        return None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def size_bytes(self, i: int) -> int:
        """Return the size of image i."""
        return int(self.sizes[i])

    def content(self, i: int) -> bytes:
        """Return the bytes of image i."""
        path, size = self.shards[self.shard[i]], int(self.sizes[i])
        try:
            content = self.reader.read(path, int(self.offsets[i]), size)
        except OSError as e:
            raise SampleUnreadable(
                f"{path} can't be read ({e.strerror or e}); see that it exists and may be read, then run again."
            ) from e
        if len(content) != size:
            raise SampleUnreadable(
                f"{path}: {self.sample_ids[i]} has {size:,} bytes, but {len(content):,} are left: the shard was cut "
                "short since it was listed. Copy it again and run again."
            )
        return content

    def image(self, i: int) -> Image.Image:
        """Return image i, decoded."""
        return decode_image(self.content(i), name=f"{self.shards[self.shard[i]]}: {self.sample_ids[i]}")


def open_webdataset(
    place: str, split: str, splits: Sequence[str], *, kept: tuple[str, ...] | None, where: str
) -> TarSamples:
    """List one split's shards, sorted by name, and their images, in the order of each tar.

    Classes are the lines of ``classes.txt`` beside the shards or in their folder's folder; without one they are named
    by their number, and are those that occur: the splits in use must have the same.

    Raises
    ------
    UnknownName
        If there are no shards of that split.
    InvalidDataset
        If shards are missing, compressed, cut short or hold incomplete samples, or splits disagree.
    """
    shards = find_shards(place, split, where=where)
    twice = sorted(name for name, n in Counter(p.stem for p in shards).items() if n > 1)
    if twice:
        raise InvalidDataset(f"{where}: shards must have names of their own, got twice: {', '.join(twice)}.")
    stamp = stamp_of(shards)
    listed = _index(shards, where=where)
    every = [sample for samples in listed for sample in samples]
    labels = _labels(listed)
    classes = _class_names(place, shards[0], where=where)
    if classes is not None:
        check_labels(labels, classes, kept=kept, where=f"{where}, with the {len(classes)} lines of {_CLASSES}")
    else:
        values, labels = np.unique(labels, return_inverse=True)
        classes = tuple(str(v) for v in values)
        others = {s: _labels(_index(find_shards(place, s, where=where), where=where)) for s in splits if s != split}
        named = {s: tuple(str(v) for v in np.unique(found)) for s, found in others.items()}
        check_agreement({split: classes} | named, kept=kept, where=f"{where}: {place}")
    for sample in every:
        check_file_name(sample.name, shards[0].parent, where=where)
    return TarSamples(
        shards=shards,
        shard=np.repeat(np.arange(len(shards), dtype=np.int32), [len(samples) for samples in listed]),
        offsets=np.array([s.offset for s in every], dtype=np.int64),
        sizes=np.array([s.size for s in every], dtype=np.int64),
        classes=classes,
        labels=labels,
        sample_ids=tuple(
            f"{shard.stem}/{s.name}" for shard, samples in zip(shards, listed, strict=True) for s in samples
        ),
        stamp=stamp,
    )


def _index(shards: Sequence[Path], *, where: str) -> list[tuple[TarSample, ...]]:
    with ThreadPoolExecutor(_THREADS) as pool:  # headers lie far apart: on a network's disk this is waiting
        return list(pool.map(lambda path: index_shard(path, where=where), shards))


def _labels(listed: Sequence[Sequence[TarSample]]) -> np.ndarray:
    return np.array([sample.label for samples in listed for sample in samples], dtype=np.int64)


def _class_names(place: str, shard: Path, *, where: str) -> tuple[str, ...] | None:
    for folder in dict.fromkeys((shard.parent, base_folder(place))):
        file = folder / _CLASSES
        if file.is_file():
            names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
            if len(set(names)) != len(names):
                twice = sorted(name for name, n in Counter(names).items() if n > 1)
                raise InvalidDataset(f"{where}: {file}: classes have names of their own, got twice: {twice[0]!r}.")
            return names
    return None
