"""Data sets that are arrays: ``npz:FILE`` (x_<split>, y_<split>) and scikit-learn's digits."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from extract._agreement import check_agreement
from extract._stamp import Stamp, stamp_of
from extract.errors import InvalidDataset
from store.errors import DrfarmError, UnknownName

_DIGITS_TRAIN = 1200
"""The data set has no official split; this one is fixed for ever."""
_DIGITS_WHITE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySamples:
    """Images of one split, held in memory."""

    classes: tuple[str, ...]
    """Names of the classes."""
    labels: np.ndarray
    """Labels, int64, shape (n,)."""
    sample_ids: tuple[str, ...]
    """``<split>/<row>``, the row with leading zeros."""
    pixels: np.ndarray
    """uint8, shape (n, height, width) or (n, height, width, 3)."""
    stamp: Stamp | None = None
    """When the files that they were read from last changed; None where there are none."""

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of every image."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def __len__(self) -> int:
        return len(self.labels)

    def size_bytes(self, i: int) -> int:
        """Return the size of image i's pixels."""
        return int(self.pixels[i].nbytes)

    def content(self, i: int) -> bytes:
        """Return the pixels of image i, in C order, after their shape."""
        return f"{self.pixels.shape[1:]}\0".encode() + self.pixels[i].tobytes()

    def image(self, i: int) -> Image.Image:
        """Return image i, mode L or RGB."""
        return Image.fromarray(self.pixels[i])


def open_digits(split: str, *, where: str) -> ArraySamples:
    """Open scikit-learn's 8 x 8 digits: the first 1,200 are ``train``, the other 597 ``test``."""
    from sklearn.datasets import load_digits

    ranges = {"train": slice(0, _DIGITS_TRAIN), "test": slice(_DIGITS_TRAIN, None)}
    if split not in ranges:
        raise UnknownName.among("split of sklearn:digits", split, ranges, where=where)
    data = load_digits()
    grey = np.round(data.images[ranges[split]] * (255 / _DIGITS_WHITE)).astype(np.uint8)
    labels = data.target[ranges[split]].astype(np.int64)
    return ArraySamples(
        classes=tuple(str(n) for n in range(10)),
        labels=labels,
        sample_ids=row_ids(split, len(labels)),
        pixels=grey,
    )


def open_npz(
    path: Path, split: str, splits: Sequence[str], *, kept: tuple[str, ...] | None, where: str
) -> ArraySamples:
    """Open one split of an ``.npz`` file.

    The arrays are ``x_<split>``, uint8, shape (n, h, w) or (n, h, w, c) with c 1 or 3, and ``y_<split>``, integers,
    shape (n,). Classes are named by their integer and sorted by it; the splits in use must have the same.

    Raises
    ------
    InvalidDataset
        If the file is missing or no npz file, an array has another type or shape, lengths differ, or splits disagree.
    UnknownName
        If there is no such array.
    """
    where = f"{where}: {path}"
    if not path.is_file():
        raise InvalidDataset(
            f"{where}: there is no such file; give an .npz file with the arrays x_{split} and y_{split}."
        )
    if not zipfile.is_zipfile(path):
        raise InvalidDataset(f"{where}: not a readable npz file (no zip archive); write it with np.savez_compressed.")
    stamp = stamp_of([path])  # before it is read: what changes meanwhile has another
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in (f"{a}_{s}" for s in splits for a in "xy"):
                if name not in file.files:
                    raise UnknownName.among("array", name, file.files, where=where)
            targets = {s: _labels(file[f"y_{s}"], f"y_{s}", where=where) for s in splits}
            pixels = _pixels(file[f"x_{split}"], f"x_{split}", where=where)
    except DrfarmError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError) as e:
        raise InvalidDataset(f"{where}: not a readable npz file ({e}); write it with np.savez_compressed.") from e
    except ValueError as e:
        raise InvalidDataset(f"{where}: {e}. Arrays of Python objects are not read; save numbers.") from e
    labels = targets[split]
    if len(labels) != len(pixels):
        raise InvalidDataset(
            f"{where}: x_{split} has {len(pixels)} images, but y_{split} has {len(labels)} labels; they go in pairs."
        )
    check_agreement({s: [str(v) for v in np.unique(y)] for s, y in targets.items()}, kept=kept, where=where)
    values, encoded = np.unique(labels, return_inverse=True)
    return ArraySamples(
        classes=tuple(str(v) for v in values),
        labels=encoded.astype(np.int64),
        sample_ids=row_ids(split, len(labels)),
        pixels=pixels,
        stamp=stamp,
    )


def _labels(array: np.ndarray, name: str, *, where: str) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidDataset(
            f"{where}: {name} must be integers of shape (n,), got {array.dtype} of shape {array.shape}; save "
            f"{name}.astype('int64').reshape(-1)."
        )
    return array


def _pixels(array: np.ndarray, name: str, *, where: str) -> np.ndarray:
    if array.dtype != np.uint8:
        raise InvalidDataset(
            f"{where}: {name} must be uint8 (grey values 0 to 255), got {array.dtype}; save values in [0, 1] as "
            f"({name} * 255).round().astype('uint8')."
        )
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
        raise InvalidDataset(
            f"{where}: {name} must have shape (n, height, width) or (n, height, width, c) with c 1 or 3, got "
            f"{array.shape}; channels come last."
        )
    return array


def row_ids(split: str, n: int) -> tuple[str, ...]:
    """Return the names of n samples that have none: ``<split>/<row>``, the row with leading zeros."""
    return tuple(f"{split}/{i:06d}" for i in range(n))
