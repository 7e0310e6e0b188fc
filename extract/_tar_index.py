"""What lies where in a tar shard: one pass over its headers, and images are read at their offsets ever after."""

import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from extract._kept import keep, kept
from extract._stamp import Stamp, times_of
from extract.errors import InvalidDataset

IMAGES = ("jpg", "jpeg", "png", "webp")
_LABELS = ("cls", "json")
_BLOCK = 512
KEPT_BYTES = 16 << 20
"""From this size on a shard's index is kept: below, it is read in no time."""


class TarSample(NamedTuple):
    """One image of a shard."""

    name: str
    """Its name in the tar."""
    offset: int
    """Where its bytes begin, counted from the shard's begin."""
    size: int
    """How many they are."""
    label: int
    """Its label."""


@dataclass(slots=True)
class _Found:
    image: tuple[str, int, int] | None = None
    labels: dict[str, tuple[int, int]] | None = None


def index_shard(path: Path, *, where: str) -> tuple[TarSample, ...]:
    """Return `read_index`, from the user's cache where a large shard is the one that was read before.

    The shard's path, size and times are the address in the cache, as for fingerprints.

    Raises
    ------
    InvalidDataset
        As `read_index`.
    """
    try:
        status = path.stat()
    except OSError as e:
        raise _unreadable(path, e, where=where) from e
    stamp = Stamp.of(np.array([times_of(status)]))
    if status.st_size < KEPT_BYTES:
        return read_index(path, where=where)
    address = f"drfarm shard index 1\n{path.absolute()}\n{status.st_size}\n{stamp.digest}\n"
    found = kept("shards", address)
    if found is not None:
        return tuple(TarSample(*row) for row in json.loads(found))
    settled = stamp.settled
    samples = read_index(path, where=where)
    if settled:
        keep("shards", address, json.dumps(samples).encode())
    return samples


def read_index(path: Path, *, where: str) -> tuple[TarSample, ...]:
    """List a shard's samples, in the order of their images.

    Members of one sample share their name up to the first dot after the last slash: ``KEY.jpg`` (or jpeg, png, webp)
    and ``KEY.cls``, a number in text, or ``KEY.json`` with ``{"label": number}``. Other members are passed over.

    Raises
    ------
    InvalidDataset
        If the file is no plain tar or is cut short, or a sample has no label, a wrong one, no image or two.
    """
    outer, where = where, f"{where}: {path}"
    found: dict[str, _Found] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # a list of a million headers, which nobody asks for
                if member.isfile():
                    _note(member, found, where=where)
            end = tar.offset
        size = path.stat().st_size
        with path.open("rb") as raw:
            raw.seek(end)
            if raw.read(_BLOCK) != bytes(_BLOCK):
                raise InvalidDataset(
                    f"{where}: cut short: it has {size:,} bytes and no mark of its end. Copy or make it again."
                )
            samples = tuple(
                _sample(key, one, raw.fileno(), where=where)
                for key, one in found.items()
                if one.image is not None or "cls" in (one.labels or {})  # other JSON is somebody's notes
            )
    except tarfile.TarError as e:
        raise InvalidDataset(
            f"{where}: not a plain tar, or cut short ({e}). Compressed shards have no random access: unpack them; "
            "else copy or make it again."
        ) from e
    except OSError as e:
        raise _unreadable(path, e, where=outer) from e
    if not samples:
        raise InvalidDataset(f"{where}: no sample in it; expected pairs such as 0001.jpg and 0001.cls.")
    return samples


def _unreadable(path: Path, e: OSError, *, where: str) -> InvalidDataset:
    return InvalidDataset(f"{where}: {path} can't be read ({e.strerror or e}); see that it exists and may be read.")


def _note(member: tarfile.TarInfo, found: dict[str, _Found], *, where: str) -> None:
    folder, slash, base = member.name.rpartition("/")
    stem, _, suffix = base.partition(".")
    suffix = suffix.lower()
    if not stem or suffix not in (*IMAGES, *_LABELS):
        return
    if member.issparse():
        raise InvalidDataset(f"{where}: {member.name} is stored sparse; make the shard again without that option.")
    one = found.setdefault(f"{folder}{slash}{stem}", _Found())
    if suffix in IMAGES:
        if one.image is not None:
            raise InvalidDataset(
                f"{where}: sample {folder}{slash}{stem} has two images, {one.image[0]} and {member.name}; one is "
                "expected per name."
            )
        one.image = (member.name, member.offset_data, member.size)
    else:
        one.labels = (one.labels or {}) | {suffix: (member.offset_data, member.size)}


def _sample(key: str, one: _Found, handle: int, *, where: str) -> TarSample:
    if one.image is None:
        raise InvalidDataset(f"{where}: sample {key} has a label but no image; expected {key}.{' or .'.join(IMAGES)}.")
    if not one.labels:
        raise InvalidDataset(
            f'{where}: sample {key} has no label; expected {key}.cls (a number) or {key}.json ({{"label": number}}).'
        )
    suffix = "cls" if "cls" in one.labels else "json"
    offset, size = one.labels[suffix]
    text = os.pread(handle, size, offset)
    try:
        label = int(text) if suffix == "cls" else json.loads(text)["label"]
        good = isinstance(label, int) and not isinstance(label, bool) and label >= 0
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise InvalidDataset(
            f"{where}: {key}.{suffix}: a label is a whole number >= 0"
            f"{'' if suffix == 'cls' else ' under the key `label`'}, got {text[:40]!r}."
        )
    return TarSample(*one.image, label)
