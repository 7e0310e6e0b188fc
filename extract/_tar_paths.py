"""Which tar shards a ``webdataset:`` source names for a split: a folder, a glob, or a range in braces."""

import glob
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from extract.errors import InvalidDataset
from store.errors import UnknownName

_SPLIT = "{split}"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_NUMBERED = re.compile(r"^(.+?)[-_]\d+$")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_SHOWN = 3


def base_folder(place: str) -> Path:
    """Return the folder above all splits: the place itself, or what comes before a pattern's ``{split}``."""
    above, mark, _ = place.partition(_SPLIT)
    return Path(above) if not mark or above.endswith("/") else Path(above).parent


def find_shards(place: str, split: str, *, where: str) -> tuple[Path, ...]:
    """Return the shards of a split, sorted by name.

    Parameters
    ----------
    place
        A folder with ``<split>/*.tar`` or ``<split>-*.tar``, or a pattern with ``{split}``, in which ``*`` and
        ``{000..123}`` may stand.
    split
        Name of the split.
    where
        What errors begin with.

    Raises
    ------
    UnknownName
        If a folder has no shards of that split.
    InvalidDataset
        If there is no such folder, shards of a range are missing, a pattern finds nothing, or shards are compressed.
    """
    if any(mark in place for mark in "*?[{"):
        shards = _matching(place, split, where=where)
    else:
        shards = _in_folder(Path(place), split, where=where)
    for shard in shards:
        if shard.name.lower().endswith(_COMPRESSED):
            raise InvalidDataset(
                f"{where}: {shard} is compressed: it has no random access. Unpack it to a plain .tar (images are "
                "compressed already)."
            )
    return shards


def _in_folder(folder: Path, split: str, *, where: str) -> tuple[Path, ...]:
    if not folder.is_dir():
        raise InvalidDataset(
            f"{where}: there is no folder {folder}; expected {folder}/<split>/*.tar or {folder}/<split>-*.tar."
        )
    inside = sorted(p for p in (folder / split).glob("*") if _is_shard(p))
    beside = sorted(p for p in folder.glob("*") if _is_shard(p) and _split_of(p) == split)
    if inside and beside:
        raise InvalidDataset(
            f"{where}: there are shards both in {folder / split} and beside it ({beside[0].name}); keep one of them."
        )
    if inside or beside:
        return tuple(inside or beside)
    have = {p.name for p in folder.iterdir() if p.is_dir() and any(_is_shard(s) for s in p.glob("*"))}
    have |= {_split_of(p) for p in folder.glob("*") if _is_shard(p)}
    raise UnknownName.among("split", split, have, where=f"{where}: {folder} (<split>/*.tar or <split>-*.tar)")


def _is_shard(path: Path) -> bool:
    return path.name.lower().endswith((".tar", *_COMPRESSED)) and not path.name.startswith(".")


def _split_of(path: Path) -> str:
    suffix = next(s for s in (*_COMPRESSED, ".tar") if path.name.lower().endswith(s))
    stem = path.name[: -len(suffix)]
    match = _NUMBERED.match(stem)
    return match[1] if match else stem


def _matching(pattern: str, split: str, *, where: str) -> tuple[Path, ...]:
    if _SPLIT not in pattern:
        raise InvalidDataset(
            f"{where}: {pattern!r} would give every split the same shards; write {_SPLIT} where the split's name "
            f"stands, as in /data/{_SPLIT}-{{000..123}}.tar."
        )
    expected = list(_expanded(pattern.replace(_SPLIT, split), where=where))
    found: list[str] = []
    missing: list[str] = []
    for name in expected:
        matches = _found(name)
        found += matches
        missing += [] if matches else [name]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + f" and {len(missing) - _SHOWN} more" * (len(missing) > _SHOWN)
        raise InvalidDataset(
            f"{where}: {len(missing)} of {len(expected)} shards are missing: {shown}. Complete them, or correct the "
            "pattern."
        )
    return tuple(Path(f) for f in sorted(set(found)))


def _found(name: str) -> list[str]:
    if not any(mark in name for mark in "*?["):
        return [name] * Path(name).is_file()
    return glob.glob(name)  # noqa: PTH207 - a Path has to be told where the pattern begins


def _expanded(pattern: str, *, where: str) -> Iterator[str]:
    """Yield a pattern's names: every ``{000..123}`` runs through its numbers, zeros kept."""
    parts: list[list[str]] = []
    end = 0
    for match in _RANGE.finditer(pattern):
        first, last = match[1], match[2]
        if int(first) > int(last):
            raise InvalidDataset(f"{where}: the range {match[0]} runs backwards; write the smaller number first.")
        width = len(first) if first.startswith("0") else 0
        parts += [[pattern[end : match.start()]], [f"{n:0{width}d}" for n in range(int(first), int(last) + 1)]]
        end = match.end()
    parts.append([pattern[end:]])
    if any("{" in text or "}" in text for text in (p[0] for p in parts[::2])):
        raise InvalidDataset(
            f"{where}: braces hold a range of numbers or the word split, as in {_SPLIT}-{{000..123}}.tar; got "
            f"{pattern!r}."
        )
    return ("".join(names) for names in itertools.product(*parts))
