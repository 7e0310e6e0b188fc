"""An archive: a tar file whose last member says what the others must be. It is written once, in one pass.

    drfarm-archive.json     first: the format, so that a newer one is refused at once
    objects                 as the store names them
    manifest.json           last: name, size and sha256 of every object; without it the file is not whole

Equal contents make equal bytes: no time, owner or host is written.
"""

import contextlib
import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from store import records
from store.errors import Corrupt, InvalidRequest, UnsupportedFormat
from store.ids import JSON, canonical_json

ARCHIVE_FORMAT = 1
"""Version of archives."""

COMPRESSIONS: Final[dict[str, str | None]] = {".tar": None, ".tar.zst": "zstd", ".tar.gz": "gzip", ".tgz": "gzip"}
"""How an archive is compressed, by the end of its name."""

_MARK = "drfarm-archive.json"
_MANIFEST = "manifest.json"
_MAGIC = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip"))
_PIECE = 2**20
_UNREADABLE = (tarfile.TarError, EOFError, pa.ArrowException, OSError, ValueError)
"""What is raised where a file is no archive, or ends too early."""

_ID = "[0-9a-f]{64}"
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9%._~+@,-]+"
_NAMES = re.compile(
    rf"""(?: (?:features/(?:{_SEGMENT}/){{0,4}})? zarr\.json
    | features/(?:{_SEGMENT}/){{4}} {_ID} (?:/{_SEGMENT}){{1,6}}
    | ledger/{_ID}/(?:representation|complete|fallback)\.json
    | ledger/{_ID}/chunks/[0-9]+\.[0-9]{{6,}}\.json
    | statistics/{_ID}/{_SEGMENT}\.arrays
    | neurons/{_ID}\.int64
    | results/(?:probes|cka)\.parquet
    | descriptions/{_SEGMENT}\.json
    | studies/{_SEGMENT}\.json )\Z""",
    re.VERBOSE,
)


class ArchiveWriter:
    """Writes an archive, member by member."""

    def __init__(self, file: Path, name: str) -> None:
        """Begin ``file``; ``name`` is what it will be called, which says how it is compressed."""
        self._compressed = pa.output_stream(str(file), compression=compression_of(name))
        self._tar = tarfile.open(fileobj=self._compressed, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._objects: list[tuple[str, int, str]] = []
        self._put(_MARK, canonical_json({"archive_format": ARCHIVE_FORMAT}))

    def add(self, name: str, data: bytes) -> None:
        """Add one object."""
        self._put(name, data)
        self._objects.append((name, len(data), hashlib.sha256(data).hexdigest()))

    def close(self, about: Mapping[str, JSON]) -> None:
        """Write the manifest, and end the file."""
        objects: list[JSON] = [list(o) for o in self._objects]
        self._put(_MANIFEST, records.to_bytes({"archive_format": ARCHIVE_FORMAT, "objects": objects, **about}))
        self._tar.close()
        self._compressed.close()

    def abandon(self) -> None:
        """Stop; the file is of no use."""
        # Both would end the file when they are collected, and then fail: it is gone by that time.
        for part in (self._tar, self._compressed):
            with contextlib.suppress(OSError):
                part.close()

    def _put(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, io.BytesIO(data))


def compression_of(name: str) -> str | None:
    """Return how an archive of this name is compressed; `InvalidRequest` where the name does not say it."""
    for suffix, compression in COMPRESSIONS.items():
        if name.endswith(suffix):
            return compression
    raise InvalidRequest(f"{name}: an archive's name ends with {', '.join(COMPRESSIONS)}. Choose one of these.")


def read_archive(file: Path, *, keep: re.Pattern[str]) -> tuple[dict[str, Any], dict[str, int], dict[str, bytes]]:
    """Read all of an archive, and hold every object against the manifest; nothing is written anywhere.

    Parameters
    ----------
    file
        The archive.
    keep
        Names of the objects whose bytes are returned.

    Returns
    -------
    tuple
        The manifest, the size of every object, and the bytes of those to keep.

    Raises
    ------
    Corrupt
        If it is cut short, damaged, or holds what no archive holds.
    UnsupportedFormat
        If a newer drfarm wrote it, or it is no archive of drfarm's.
    """
    seen: dict[str, tuple[int, str]] = {}
    kept: dict[str, bytes] = {}
    manifest: dict[str, Any] | None = None
    for name, member in _members(file):
        if manifest is not None:
            raise _damaged(file, f"{name} comes after its manifest")
        if name == _MANIFEST:
            manifest = records.from_bytes(member.read(), where=f"{file}: {name}")
            continue
        if not _NAMES.match(name):
            raise _damaged(file, f"it holds {name!r}, which no store has")
        if name in seen:
            raise _damaged(file, f"it holds {name} twice")
        digest, size, pieces = hashlib.sha256(), 0, []
        while piece := member.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if keep.match(name):
                pieces.append(piece)
        seen[name] = (size, digest.hexdigest())
        if keep.match(name):
            kept[name] = b"".join(pieces)
    if manifest is None:
        raise _damaged(file, "it ends before its manifest: it was cut short")
    expected = {str(name): (int(size), str(digest)) for name, size, digest in manifest["objects"]}
    for name in expected.keys() | seen.keys():
        if expected.get(name) != seen.get(name):
            raise _damaged(file, f"{name} is not what was written")
    return manifest, {name: size for name, (size, _) in seen.items()}, kept


def archive_objects(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the objects of an archive that `read_archive` has found whole, in their order."""
    for name, member in _members(file):
        if name != _MANIFEST:
            yield name, member.read()


class _Member:
    """Content of a member; that it ends too early is told as what is wrong with the archive."""

    def __init__(self, file: Path, content: IO[bytes]) -> None:
        self._file = file
        self._content = content

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, none at the end; all by default."""
        try:
            return self._content.read(size)
        except _UNREADABLE as e:
            raise _damaged(self._file, _cut_short(e)) from e


def _members(file: Path) -> Iterator[tuple[str, _Member]]:
    """Yield name and content of every member but the first, which is looked at here."""
    try:
        with file.open("rb") as f:
            start = f.read(4)
    except OSError as e:
        raise InvalidRequest(f"{file} can't be read: {e.strerror}. Give the path of an archive.") from e
    compression = next((c for magic, c in _MAGIC if start.startswith(magic)), None)
    first = True
    try:
        with (
            pa.input_stream(str(file), compression=compression) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                if content is None:
                    raise _damaged(file, f"{info.name!r} is no plain file")
                member = _Member(file, content)
                if first:
                    _check_mark(file, info.name, member.read())
                    first = False
                else:
                    yield info.name, member
    except (tarfile.TarError, EOFError, pa.ArrowException, OSError, ValueError) as e:
        if isinstance(e, Corrupt | UnsupportedFormat | InvalidRequest):
            raise
        if first:
            raise _no_archive(file) from e
        raise _damaged(
            file, f"it can't be read to its end ({str(e).splitlines()[0] if str(e) else 'cut short'})"
        ) from e
    if first:
        raise _no_archive(file)


def _cut_short(error: Exception) -> str:
    return f"it can't be read to its end ({(str(error) or 'cut short').splitlines()[0]})"


def _check_mark(file: Path, name: str, data: bytes) -> None:
    if name != _MARK:
        raise _no_archive(file)
    version = records.parse(data, where=f"{file}: {name}").get("archive_format")
    if version != ARCHIVE_FORMAT:
        raise UnsupportedFormat(
            f"{file} has archive format {version}; this drfarm reads and writes format {ARCHIVE_FORMAT}. Upgrade "
            "drfarm."
        )


def _no_archive(file: Path) -> UnsupportedFormat:
    return UnsupportedFormat(f"{file} is no archive of a store. `drfarm store export` makes one.")


def _damaged(file: Path, why: str) -> Corrupt:
    return Corrupt(
        f"{file} is not the archive that was written: {why}. Nothing of it was taken in. Copy it again, or export it "
        "anew."
    )
