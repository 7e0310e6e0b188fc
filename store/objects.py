"""Named byte objects under one root: all that the store asks of a disk or an object store.

`ObstoreObjects` serves both through `obstore`: a put is atomic (a reader sees the old object, the new one or none).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.request import url2pathname

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, from_url

from store.errors import Corrupt, InvalidRequest, NotFound, StorageFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object in a listing."""

    key: str
    """Name below the root, with ``/`` between segments."""
    size_bytes: int
    """Size."""
    modified: datetime
    """When it was last written, by the storage's clock (UTC)."""


class Objects(Protocol):
    """What the store asks of storage. Every put is all-or-nothing."""

    @property
    def url(self) -> str:
        """Where the root is, in the form that `open_objects` takes."""
        ...

    def get(self, key: str) -> bytes:
        """Return the object's bytes; `NotFound` where there is none."""
        ...

    def read_into(self, key: str, buffer: memoryview, seen: Callable[[memoryview], None] | None = None) -> None:
        """Fill ``buffer`` with the object's bytes, give each piece to ``seen``; `Corrupt` where the sizes differ."""
        ...

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write the object, replacing one of this name."""
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Write the object unless one of this name exists; say whether it was written."""
        ...

    def exists(self, key: str) -> bool:
        """Say whether there is an object of this name."""
        ...

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return what lies below the folder ``prefix``, in the order of the names."""
        ...

    def first(self, prefix: str) -> str | None:
        """Return the name of one object below ``prefix``, without listing all; None where there is none."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is absent already is no error."""
        ...


@contextmanager
def _translated(action: str, url: str, key: str) -> Iterator[None]:
    """Raise our errors, with the address, for the library's; refuse a name that could leave the root."""
    if key and any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidRequest(f"{url}: {key!r} can't name an object: it has an empty segment, or one of dots.")
    try:
        yield
    except FileNotFoundError as e:
        raise NotFound(f"{url}: there is no object {key!r}.") from e
    except ValueError as e:
        raise InvalidRequest(f"{url}: {key!r} can't name an object: {e}.") from e
    except (BaseError, OSError) as e:
        reason = str(e).split("\n", 1)[0]
        remedy = "Check the disk, the address and the permissions; it is safe to run again."
        if "os error 28" in str(e) or "No space left" in str(e):
            remedy = "The disk is full: free some space, then run again; what is finished is kept."
        elif any(s in str(e) for s in ("os error 27", "File too large", "os error 122", "quota exceeded")):
            remedy = "A quota or a limit on file sizes is reached: raise it or free some space, then run again."
        elif any(s in str(e) for s in ("os error 30", "os error 13", "os error 1)", "Permission denied")):
            remedy = (
                "The place is read-only for this user: choose another store with --store, or change its permissions."
            )
        elif any(s in str(e) for s in ("os error 20", "os error 17", "Not a directory", "File exists")):
            remedy = "A file stands where a folder is needed: choose another store with --store."
        raise StorageFailure(f"{url}: could not {action} {key!r}: {reason}. {remedy}") from e


_PIECE = 2**19
"""Bytes of one read: they are still in the cache when they are looked at."""

_MEMORY: dict[str, MemoryStore] = {}
"""Stores in this process's memory, by address."""


class ObstoreObjects:
    """Objects in a local folder, an object store or (``memory://name``, for tests) this process, through `obstore`."""

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._url = url
        self._local: Path | None = None
        if url.startswith("memory://"):
            self._store: Any = _MEMORY.setdefault(url, MemoryStore())
            return
        if "://" in url and not url.startswith("file://"):
            with _translated("open", url, ""):
                self._store = from_url(url)
            return
        self._local = Path(url2pathname(url.removeprefix("file://"))) if url.startswith("file://") else Path(url)
        with _translated("make the folder", url, ""):
            self._store = LocalStore(str(self._local), mkdir=create) if create or self._local.is_dir() else None
        if self._store is None:
            raise NotFound(
                f"there is no store at {url}: expected a folder. Check the path, or `drfarm run` a study first."
            )

    @property
    def url(self) -> str:
        """Where the root is."""
        return self._url

    @property
    def local_root(self) -> Path | None:
        """The root's folder where it is on a local disk."""
        return self._local

    @property
    def obstore(self) -> Any:
        """The `obstore` store, for libraries that take one."""
        return self._store

    def __reduce__(self) -> tuple[Any, ...]:
        return (ObstoreObjects, (self._url,))

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        with _translated("read", self._url, key):
            if self._local is not None:
                return (self._local / key).read_bytes()
            return obstore.get(self._store, key).bytes().to_bytes()

    def read_into(self, key: str, buffer: memoryview, seen: Callable[[memoryview], None] | None = None) -> None:
        """Fill ``buffer``; a local file is read straight into it, with no second copy, and looked at while in cache."""
        with _translated("read", self._url, key):
            if self._local is not None:
                with (self._local / key).open("rb", buffering=0) as f:
                    done = 0
                    while done < len(buffer) and (n := f.readinto(buffer[done : done + _PIECE])):
                        if seen is not None:
                            seen(buffer[done : done + n])
                        done += n
                    rest = bool(f.read(1))
            else:
                data = memoryview(obstore.get(self._store, key).bytes())
                done, rest = min(len(data), len(buffer)), len(data) > len(buffer)
                buffer[:done] = data[:done]
                if seen is not None:
                    seen(buffer[:done])
        if done < len(buffer) or rest:
            raise Corrupt(
                f"{self._url}: {key} is not what was written (it has {'more' if rest else 'fewer'} than {len(buffer)} "
                "bytes). Run `drfarm store verify --discard` and then the study again: it is made anew."
            )

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write the object."""
        with _translated("write", self._url, key):
            obstore.put(self._store, key, data, use_multipart=False)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one."""
        with _translated("write", self._url, key):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        try:
            with _translated("look for", self._url, key):
                obstore.head(self._store, key)
        except NotFound:
            return False
        return True

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return what lies below ``prefix``."""
        with _translated("list", self._url, prefix):
            pages = obstore.list(self._store, prefix or None, chunk_size=1000)
            found = [
                ObjectInfo(key=o["path"], size_bytes=o["size"], modified=o["last_modified"])
                for page in pages
                for o in page
            ]
        return sorted(found, key=lambda o: o.key)

    def first(self, prefix: str) -> str | None:
        """Return one object's name."""
        with _translated("list", self._url, prefix):
            for page in obstore.list(self._store, prefix or None, chunk_size=1):
                for o in page:
                    return str(o["path"])
        return None

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects."""
        for key in keys:
            try:
                with _translated("delete", self._url, key):
                    obstore.delete(self._store, key)
            except NotFound:
                continue


def open_objects(url: str | Path, *, create: bool = False) -> ObstoreObjects:
    """Open the root at ``url``: a local path or an address such as ``s3://bucket/prefix``.

    Raises
    ------
    NotFound
        If it is a local folder that does not exist and ``create`` is not asked.
    StorageFailure
        If it can't be made or reached.
    """
    text = str(url)
    if not text:
        raise InvalidRequest("the store's address is empty: give a path or s3://bucket/prefix.")
    if "://" not in text:
        text = str(Path(text).expanduser().absolute())
    return ObstoreObjects(text, create=create)
