"""A root in a bucket: one request a put, create-only puts that are looked at again, deletes in bulk.

obstore repeats what is safe to repeat. What is not, a create-only put whose answer was lost, is settled here by a look
at what the server has.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError

from store import _objects_claims
from store._objects_address import FIRST, WORK, BucketAddress, bucket_address, conditional_puts_trusted, connected
from store._objects_errors import http_status, of_bucket, translated
from store._objects_listing import ObjectInfo, listing
from store.errors import Corrupt, NotFound, StorageFailure

PIECE_BYTES = 2**25
"""Larger objects are read by ranges of this size and written in parts of it: no request runs into its time limit."""

_BULK = 1000
"""Names of one bulk delete: the most that S3 takes."""

_ATTEMPTS = 5
"""Times that a request is made which the library does not repeat by itself."""

_ANSWERED = (400, 403, 404, 405, 501)
"""Answers that another attempt does not change."""

_UNSUPPORTED = (400, 405, 501)
"""Answers of a server that does not know a request."""

_PROBE = f"{_objects_claims.HIDDEN}/conditional-put"

_answered: set[BucketAddress] = set()
"""Buckets that this process has opened."""


class Bucket:
    """Objects below a prefix of a bucket. Made by `store.objects`; its errors say what to do and hold no secret."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address: BucketAddress = bucket_address(url)
        self.store: Any = connected(self.address, WORK)
        self._conditional: bool | None = None
        self._deleting: Any = None

    def check(self, *, patient: bool = False) -> None:
        """Ask for one object.

        Parameters
        ----------
        patient
            Whether a server that does not answer is waited for, as in all later work. One that has answered this
            process before is; at first it is not, as who mistyped an address should not wait.

        Raises
        ------
        StorageFailure
            If the server does not answer, refuses the credentials or has no such bucket.
        """
        try:
            with self._translated("open the store", ""):
                if patient or self.address in _answered:
                    self._body(_PROBE)
                else:
                    obstore.get(connected(self.address, FIRST), _PROBE)
        except NotFound:
            pass
        _answered.add(self.address)

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        with self._translated("read", key):
            return bytes(self._body(key))

    def read_into(self, key: str, buffer: memoryview, seen: Callable[[memoryview], None] | None) -> tuple[int, bool]:
        """Fill ``buffer``; return how many bytes of it were filled, and whether the object has more."""
        with self._translated("read", key):
            if len(buffer) <= PIECE_BYTES:
                data = self._body(key, most=len(buffer))
                done = min(len(data), len(buffer))
                buffer[:done] = data[:done]
                if seen is not None:
                    seen(buffer[:done])
                return done, len(data) > len(buffer)
            return self._read_pieces(key, buffer, seen)

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write the object; a large one in parts, which nobody sees before the last is there."""
        with self._translated("write", key):
            if memoryview(data).nbytes <= PIECE_BYTES:
                obstore.put(self.store, key, data, use_multipart=False)
            else:
                self._again(
                    lambda: obstore.put(
                        self.store, key, data, use_multipart=True, chunk_size=PIECE_BYTES, max_concurrency=4
                    )
                )

    def put_new(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one.

        After a failure of the server it is True where the object has these bytes, whoever wrote them, and may be False
        for a writer whose own first attempt arrived: a caller that gets False looks at what is there.
        """
        if not self._has_conditional_puts():
            return _objects_claims.put_new(self, key, data, pause_s=_objects_claims.PAUSE_S)
        with self._translated("write", key):
            give_up = time.monotonic() + WORK.total_s
            failure: BaseError | None = None
            for attempt in range(_ATTEMPTS):
                try:
                    obstore.put(self.store, key, data, mode="create", use_multipart=False)
                    return True
                except AlreadyExistsError:
                    if not attempt:
                        return False
                except BaseError as e:
                    if http_status(e) in _ANSWERED or time.monotonic() > give_up:
                        raise
                    failure = e
                    time.sleep(0.2 * 2**attempt)
                try:  # the answer was lost: what did arrive?
                    return bytes(self._body(key)) == data
                except FileNotFoundError:
                    continue
            if failure is not None:
                raise failure
        raise StorageFailure(
            f"{self.url}: {key} came and went {_ATTEMPTS} times while it was written. Run again when nobody removes it."
        )

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        try:
            with self._translated("look for", key):
                obstore.head(self.store, key)
        except NotFound:
            return False
        return True

    def pages(self, prefix: str, *, size: int = 1000) -> Any:
        """Return what lies below the folder, page by page, as the library describes it."""
        return obstore.list(self.store, prefix or None, chunk_size=size)

    def listed(self, prefix: str) -> list[ObjectInfo]:
        """Return what lies below the folder, hidden objects included."""
        with self._translated("list", prefix):
            return self._again(lambda: listing(self.pages(prefix)))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects: the first before all others, the last two after them in order, those between in bulk."""
        names = list(dict.fromkeys(keys))
        for name in names:
            with self._translated("delete", name):
                pass
        between = names[1:-2]
        bulk = [between[i : i + _BULK] for i in range(0, len(between), _BULK)]
        for group in (names[:1], *bulk, *([n] for n in names[1:][-2:])):
            if not group:
                continue
            with self._translated("delete", group[0]):
                self._delete(group)

    def _delete(self, group: list[str]) -> None:
        if self._deleting is None:  # the first one finds out whether the server knows bulk deletes
            self._deleting = self.store
            try:  # without patience, as an answer of "not implemented" is taken for a failure that may pass
                obstore.delete(connected(self.address, FIRST), group)
                return
            except (BaseError, NotImplementedError) as e:
                if _unsupported(e):
                    self._deleting = connected(self.address, WORK, bulk_delete=False)
        self._again(partial(obstore.delete, self._deleting, group))

    def _body(self, key: str, *, most: int | None = None) -> memoryview:
        """Return the bytes of an object; of one that is larger than ``most``, one byte more than that."""

        def request() -> memoryview | int:
            answer = obstore.get(self.store, key)
            size = int(answer.meta["size"])
            if size > PIECE_BYTES or (most is not None and size > most):
                return size
            return memoryview(answer.bytes())

        found = self._again(request)
        if isinstance(found, memoryview):
            return found
        if most is not None:
            return self._range(key, 0, most + 1)[0]
        whole = memoryview(bytearray(found))
        done, rest = self._read_pieces(key, whole, None)
        if done < found or rest:
            raise Corrupt(f"{self.url}: {key} was replaced by one of another size while it was read. Run again.")
        return whole

    def _range(self, key: str, start: int, end: int) -> tuple[memoryview, str | None]:
        """Return the bytes from ``start`` to ``end`` and which version of the object they are of."""

        def request() -> tuple[memoryview, str | None]:
            answer = obstore.get(self.store, key, options={"range": (start, end)})
            return memoryview(answer.bytes()), answer.meta["e_tag"]

        return self._again(request)

    def _read_pieces(self, key: str, buffer: memoryview, seen: Callable[[memoryview], None] | None) -> tuple[int, bool]:
        """Fill ``buffer`` by ranges of one version of the object; one that is replaced meanwhile is `Corrupt`."""
        info = obstore.head(self.store, key)
        size = int(info["size"])
        if size != len(buffer):
            return min(size, len(buffer)), size > len(buffer)
        version = info["e_tag"]
        done = 0
        while done < size:
            data, got = self._range(key, done, min(done + PIECE_BYTES, size))
            if got != version or not len(data):
                raise Corrupt(f"{self.url}: {key} was replaced while it was read. Run again.")
            piece = buffer[done : done + len(data)]
            piece[:] = data
            if seen is not None:
                seen(piece)
            done += len(data)
        return done, False

    def _has_conditional_puts(self) -> bool:
        """Say whether the server refuses a create-only put of what is there: asked once, with one object for all."""
        if self._conditional is None:
            self._conditional = conditional_puts_trusted() and self._refuses_a_second()
        return self._conditional

    def _refuses_a_second(self) -> bool:
        # Without patience, as an answer of "not implemented" is taken for a failure that may pass.
        store: Any = connected(self.address, FIRST)
        with self._translated("write", _PROBE):
            for _ in range(_ATTEMPTS):
                try:
                    obstore.put(store, _PROBE, b"drfarm", mode="create", use_multipart=False)
                    obstore.put(store, _PROBE, b"drfarm", mode="create", use_multipart=False)
                    return False  # two that succeed: the condition is ignored
                except AlreadyExistsError:
                    return True
                except (BaseError, NotImplementedError) as e:
                    if _unsupported(e):
                        return False
                    if http_status(e) in _ANSWERED:
                        raise
                    failure, store = e, self.store
        raise of_bucket(failure, "write", self.url, _PROBE, self.address.endpoint)

    def _again(self, request: Callable[[], Any]) -> Any:
        """Make a request that may be made twice: the library itself repeats no put in parts and no bulk delete."""
        give_up = time.monotonic() + WORK.total_s
        for attempt in range(_ATTEMPTS):
            try:
                return request()
            except BaseError as e:
                if http_status(e) in _ANSWERED or attempt == _ATTEMPTS - 1 or time.monotonic() > give_up:
                    raise
                time.sleep(0.2 * 2**attempt)
        raise AssertionError  # the last attempt returned or raised

    def _translated(self, action: str, key: str) -> AbstractContextManager[None]:
        return translated(action, self.url, key, endpoint=self.address.endpoint)


def _unsupported(error: Exception) -> bool:
    """Say whether a server does not know a request."""
    return isinstance(error, NotImplementedError | NotSupportedError) or http_status(error) in _UNSUPPORTED
