"""``folder:PATH``: PATH/<split>/<class>/**/<image>; classes and files are sorted by name."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from extract._agreement import check_agreement
from extract._decoding import decode_image
from extract.errors import InvalidDataset, SampleUnreadable
from store.errors import UnknownName

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSamples:
    """Image files of one split."""

    root: Path
    """PATH/<split>; a sample's id is its path below this."""
    classes: tuple[str, ...]
    """Names of the class folders."""
    labels: np.ndarray
    """Labels, int64, shape (n,)."""
    sample_ids: tuple[str, ...]
    """Paths below `root`, with ``/``."""
    sizes: np.ndarray
    """Sizes in bytes, int64, shape (n,)."""

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
    labels: list[int] = []
    ids: list[str] = []
    sizes: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(_images(root, name))
        if not files and (kept is None or name in kept):
            raise InvalidDataset(
                f"{where}: class {name!r} is empty: {root / name} has no file that ends in {', '.join(SUFFIXES)}. "
                "Remove the folder in every split, or name the classes to keep with `classes`."
            )
        labels += [label] * len(files)
        for file, _ in files:
            if any(unicodedata.category(c) in ("Cc", "Cs") for c in file):
                raise InvalidDataset(
                    f"{where}: {str(root)!r} has a file named {file!r}; names are kept as sample ids, so they are "
                    "UTF-8 without control characters. Rename the file."
                )
        ids += [f for f, _ in files]
        sizes += [n for _, n in files]
    return FolderSamples(
        root=root,
        classes=tuple(classes),
        labels=np.array(labels, dtype=np.int64),
        sample_ids=tuple(ids),
        sizes=np.array(sizes, dtype=np.int64),
    )


def _folders(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(root: Path, name: str) -> list[tuple[str, int]]:
    """Return (path below the root with ``/``, size in bytes) of every image below one class folder."""
    found: list[tuple[str, int]] = []
    for folder, folders, files in os.walk(root / name, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            path = Path(folder, file)
            if path.suffix.lower() in SUFFIXES and not file.startswith("."):
                found.append((path.relative_to(root).as_posix(), path.stat().st_size))
    return found
