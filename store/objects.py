"""Named byte objects under one root: all that the store asks of a disk or an object store.

`ObstoreObjects` serves both through `obstore`: a put is atomic (a reader sees the old object, the new one or none).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol
from urllib.request import url2pathname

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, MemoryStore, from_url

from store._objects_claims import HIDDEN
from store._objects_errors import translated
from store._objects_listing import ObjectInfo, listing
from store._objects_s3 import Bucket
from store.errors import Corrupt, InvalidRequest, NotFound

__all__ = ["ObjectInfo", "Objects", "ObstoreObjects", "open_objects"]


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
        """Remove objects; one that is absent already is no error.

        The first goes before all others and the last two after them, in their order: killed in between, what says that
        something is whole is gone, and what says where it is is there. Those between may go in any order.
        """
        ...


_PIECE = 2**19
"""Bytes of one read: they are still in the cache when they are looked at."""

_MEMORY: dict[str, MemoryStore] = {}
"""Stores in this process's memory, by address."""


class ObstoreObjects:
    """Objects in a local folder, an object store or (``memory://name``, for tests) this process, through `obstore`."""

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._url = url
        self._local: Path | None = None
        self._bucket: Bucket | None = None
        if url.startswith(("s3://", "s3a://")):
            self._bucket = Bucket(url)
            self._store: Any = self._bucket.store
            return
        if url.startswith("memory://"):
            self._store = _MEMORY.setdefault(url, MemoryStore())
            return
        if "://" in url and not url.startswith("file://"):
            with translated("open", url, ""):
                self._store = from_url(url)
            return
        self._local = Path(url2pathname(url.removeprefix("file://"))) if url.startswith("file://") else Path(url)
        with translated("make the folder", url, ""):
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

    def __repr__(self) -> str:
        return f"ObstoreObjects({self._url!r})"

    def check(self, *, patient: bool = False) -> None:
        """Make sure that a bucket is there and the credentials are right; a disk is looked at when it is opened.

        Parameters
        ----------
        patient
            Whether a server that does not answer is waited for, as in all later work; one that has answered this
            process before is in any case.

        Raises
        ------
        StorageFailure
            If they are not, or the server does not answer: within a few seconds, or a minute if ``patient``.
        """
        if self._bucket is not None:
            self._bucket.check(patient=patient)

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        if self._bucket is not None:
            return self._bucket.get(key)
        with translated("read", self._url, key):
            if self._local is not None:
                return (self._local / key).read_bytes()
            return obstore.get(self._store, key).bytes().to_bytes()

    def read_into(self, key: str, buffer: memoryview, seen: Callable[[memoryview], None] | None = None) -> None:
        """Fill ``buffer``; a local file is read straight into it, with no second copy, and looked at while in cache."""
        with translated("read", self._url, key):
            if self._bucket is not None:
                done, rest = self._bucket.read_into(key, buffer, seen)
            elif self._local is not None:
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
        if self._bucket is not None:
            self._bucket.put(key, data)
            return
        with translated("write", self._url, key):
            obstore.put(self._store, key, data, use_multipart=False)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one."""
        if self._bucket is not None:
            return self._bucket.put_new(key, data)
        with translated("write", self._url, key):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        if self._bucket is not None:
            return self._bucket.exists(key)
        try:
            with translated("look for", self._url, key):
                obstore.head(self._store, key)
        except NotFound:
            return False
        return True

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return what lies below ``prefix``."""
        if self._bucket is not None:
            return [o for o in self._bucket.listed(prefix) if not _hidden(o.key)]
        with translated("list", self._url, prefix):
            return listing(obstore.list(self._store, prefix or None, chunk_size=1000))

    def first(self, prefix: str) -> str | None:
        """Return one object's name."""
        endpoint = None if self._bucket is None else self._bucket.address.endpoint
        with translated("list", self._url, prefix, endpoint=endpoint):
            for page in obstore.list(self._store, prefix or None, chunk_size=1):
                for o in page:
                    if self._bucket is None or not _hidden(o["path"]):
                        return str(o["path"])
        return None

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects."""
        if self._bucket is not None:
            self._bucket.delete(list(keys))
            return
        for key in keys:
            try:
                with translated("delete", self._url, key):
                    obstore.delete(self._store, key)
            except NotFound:
                continue


def _hidden(key: str) -> bool:
    """Say whether an object is none of the store's, but of how a bucket is written."""
    return key.startswith(f"{HIDDEN}/")


def open_objects(url: str | Path, *, create: bool = False, patient: bool = False) -> ObstoreObjects:
    """Open the root at ``url``: a local path or an address such as ``s3://bucket/prefix``; ``patient`` as in `check`.

    Raises
    ------
    NotFound
        If it is a local folder that does not exist and ``create`` is not asked.
    InvalidRequest
        If it is no address.
    StorageFailure
        If it can't be made or reached, or the credentials of a bucket are refused.
    """
    text = str(url)
    if not text:
        raise InvalidRequest("the store's address is empty: give a path or s3://bucket/prefix.")
    if "://" not in text:
        text = str(Path(text).expanduser().absolute())
    objects = ObstoreObjects(text, create=create)
    objects.check(patient=patient)
    return objects
