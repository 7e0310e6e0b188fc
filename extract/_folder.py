"""``folder:PATH``: PATH/<split>/<class>/**/<image>; classes and files are sorted by name."""

import os
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from extract._agreement import check_agreement
from extract._decoding import decode_image
from extract._stamp import Stamp, times_of
from extract.errors import InvalidDataset, SampleUnreadable
from store.errors import UnknownName

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif")
_THREADS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSamples:
    """Image files of one split."""

    root: Path
    """Folder of the images; a sample's id is its path below this."""
    classes: tuple[str, ...]
    """Names of the classes."""
    labels: np.ndarray
    """Labels, int64, shape (n,)."""
    sample_ids: tuple[str, ...]
    """Paths below `root`, with ``/``."""
    sizes: np.ndarray
    """Sizes in bytes, int64, shape (n,)."""
    stamp: Stamp | None = None
    """When the files last changed."""

    @property
    def image_size(self) -> tuple[int, int] | None:
        """None: files may have any size."""
        return None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def size_bytes(self, i: int) -> int:
        """Return the size of file i when the split was listed."""
        return int(self.sizes[i])

    def content(self, i: int) -> bytes:
        """Return the bytes of file i."""
        path = self.root / self.sample_ids[i]
        try:
            return path.read_bytes()
        except OSError as e:
            raise SampleUnreadable(
                f"{path} can't be read ({e.strerror or e}); see that it exists and may be read, then run again."
            ) from e

    def image(self, i: int) -> Image.Image:
        """Return image i, decoded."""
        return decode_image(self.content(i), name=str(self.root / self.sample_ids[i]))


def open_folder(
    path: Path, split: str, splits: Sequence[str], *, kept: tuple[str, ...] | None, where: str
) -> FolderSamples:
    """List one split; the class folders of every split in use must be the same, or those kept must be there.

    Raises
    ------
    InvalidDataset
        If a folder is missing, a class is empty, or splits disagree.
    UnknownName
        If there is no such split.
    """
    if not path.is_dir():
        raise InvalidDataset(f"{where}: there is no folder {path}; expected {path}/<split>/<class>/<image>.")
    have = _folders(path)
    for name in splits:
        if name not in have:
            raise UnknownName.among("split", name, have, where=f"{where}: {path}")
    check_agreement({name: _folders(path / name) for name in splits}, kept=kept, where=f"{where}: {path}")
    root = path / split
    classes = _folders(root)
    if not classes:
        raise InvalidDataset(f"{where}: {root} has no class folders; expected {root}/<class>/<image>.")
    return list_classes(root, classes, classes, kept=kept, where=where)


def list_classes(
    root: Path, folders: Sequence[str], classes: Sequence[str], *, kept: tuple[str, ...] | None, where: str
) -> FolderSamples:
    """List folders of images, one per class, in the order of the labels.

    Raises
    ------
    InvalidDataset
        If a class (of those kept) is empty, or a file has a name that no table can hold.
    """
    # Listing a million files on a network's disk is waiting: several folders wait at once.
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            listed = list(pool.map(lambda name: _images(root, name), folders))
    except OSError as e:
        raise InvalidDataset(
            f"{where}: {e.filename} can't be looked at ({e.strerror or e}); see that it exists and may be read."
        ) from e
    for name, folder, files in zip(classes, folders, listed, strict=True):
        if not files and (kept is None or name in kept):
            raise InvalidDataset(
                f"{where}: class {name!r} is empty: {root / folder} has no file that ends in {', '.join(SUFFIXES)}. "
                "Remove the folder in every split, or name the classes to keep with `classes`."
            )
        for file in files:
            check_file_name(file.name, root, where=where)
    every = [file for files in listed for file in files]
    return FolderSamples(
        root=root,
        classes=tuple(classes),
        labels=np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in listed]),
        sample_ids=tuple(file.name for file in every),
        sizes=np.array([file.size for file in every], dtype=np.int64),
        stamp=Stamp.of(np.array([file.times_ns for file in every], dtype=np.int64).reshape(-1, 2)),
    )


def check_file_name(name: str, root: Path, *, where: str) -> None:
    """Refuse a name that no table of sample ids can hold.

    Raises
    ------
    InvalidDataset
        If it is no UTF-8 or has control characters.
    """
    if name.isascii() and name.isprintable():
        return
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise InvalidDataset(
            f"{where}: {str(root)!r} has a file named {name!r}; names are kept as sample ids, so they are UTF-8 "
            "without control characters. Rename the file."
        )


class _File(NamedTuple):
    name: str
    """Path below the split's folder, with ``/``."""
    size: int
    """In bytes."""
    times_ns: tuple[int, int]
    """When it changed."""


def _folders(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(root: Path, name: str) -> list[_File]:
    """Return every image below one class folder, sorted by its path."""
    found: list[_File] = []
    waiting = [name]
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                below = f"{folder}/{entry.name}"
                if entry.is_dir():
                    waiting.append(below)
                elif entry.name.lower().endswith(SUFFIXES):
                    status = entry.stat()
                    found.append(_File(below, status.st_size, times_of(status)))
    found.sort()
    return found
