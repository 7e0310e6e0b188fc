"""The statistics store: named float64 and int64 arrays beside the features that they were computed from.

statistics/<representation id>/<rows>.arrays       one object, atomic, with its own checksum

They are derived data: what is damaged or gone is computed anew from the features.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store import _statistics_file, ledger
from store.codecs import Checksum
from store.errors import InvalidRequest, NotFound, StoreError
from store.ids import check_name
from store.objects import ObjectInfo, ObstoreObjects

ROOT = "statistics"
"""Folder of all statistics."""

_ID = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(rf"{ROOT}/([0-9a-f]{{64}})/([A-Za-z0-9][A-Za-z0-9._+@-]*)\.arrays\Z")


class StatisticsStore:
    """Statistics of representations below one root. Made by `open_store`."""

    def __init__(self, objects: ObstoreObjects) -> None:
        self._objects = objects

    def put(self, rep_id: str, rows: str, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Write statistics, atomically; what has this name already is replaced.

        Parameters
        ----------
        rep_id
            The representation.
        rows
            Which of its rows were counted, in short: ``all``, ``train-0.9-seed-0``.
        arrays
            Arrays by name, float64 or int64, of any shape.

        Returns
        -------
        str
            Name of the object that was written.

        Raises
        ------
        InvalidRequest
            If a name has other characters than a name may have, or an array another dtype.
        """
        name = object_name(rep_id, rows)
        self._objects.put(name, _statistics_file.encode(rep_id, rows, arrays))
        return name

    def get(self, rep_id: str, rows: str) -> dict[str, NDArray[Any]]:
        """Read statistics, held against their checksum; the arrays share one buffer of the object's size.

        Raises
        ------
        NotFound
            If there are none of these rows.
        Corrupt
            If they are not what was written; the message names the object.
        UnsupportedFormat
            If a newer drfarm wrote them.
        """
        name = object_name(rep_id, rows)
        for info in self._objects.list(f"{ROOT}/{rep_id}"):
            if info.key == name:
                return self._read(info, rep_id, rows)
        raise NotFound(
            f"{self._objects.url}: there are no statistics of rows {rows!r} of representation {rep_id}. A study that "
            "needs them computes them."
        )

    def exists(self, rep_id: str, rows: str) -> bool:
        """Say whether there are statistics of these rows."""
        return self._objects.exists(object_name(rep_id, rows))

    def rows(self, rep_id: str) -> list[str]:
        """Return which rows of a representation there are statistics of."""
        found = [_NAME.match(o.key) for o in self._objects.list(f"{ROOT}/{_checked_id(rep_id)}")]
        return [m[2] for m in found if m]

    def ids(self) -> list[str]:
        """Return the representations that there are statistics of."""
        return sorted({m[1] for o in self._objects.list(ROOT) if (m := _NAME.match(o.key))})

    def discard(self, rep_id: str, rows: str | None = None) -> None:
        """Remove the statistics of some rows, or all of a representation; what is absent is no error."""
        if rows is not None:
            self._objects.delete([object_name(rep_id, rows)])
        else:
            self._objects.delete([o.key for o in self._objects.list(f"{ROOT}/{_checked_id(rep_id)}")])

    def check(self) -> Iterator[tuple[str, str | None, Callable[[], None]]]:
        """Re-read every object.

        Yields
        ------
        tuple
            Name of the object; what is wrong with it, None where it is what was written; what removes it, so that the
            next run that needs it makes it anew.
        """
        for info in self._objects.list(ROOT):
            try:
                reason = self._problem(info)
            except NotFound:  # removed since it was listed
                continue
            yield info.key, reason, partial(self._objects.delete, [info.key])

    def _problem(self, info: ObjectInfo) -> str | None:
        match = _NAME.match(info.key)
        if match is None:
            return f"{info.key} is no name of statistics; drfarm did not write it."
        rep_id, rows = match.groups()
        if not self._objects.exists(ledger.opened_key(rep_id)):
            return f"{info.key}: its representation {rep_id} is gone, so nothing needs it."
        try:
            self._read(info, rep_id, rows)
        except NotFound:
            raise
        except StoreError as e:
            return str(e)
        return None

    def _read(self, info: ObjectInfo, rep_id: str, rows: str) -> dict[str, NDArray[Any]]:
        data = np.empty(info.size_bytes, np.uint8)
        content = max(0, len(data) - _statistics_file.DIGEST_BYTES)
        digest, seen = Checksum(), 0

        def look(piece: memoryview) -> None:
            nonlocal seen
            digest.update(piece[: max(0, content - seen)])
            seen += len(piece)

        self._objects.read_into(info.key, data.data, look)
        where = f"{self._objects.url}: {info.key}"
        return _statistics_file.decode(data, digest.text, rep_id=rep_id, rows=rows, name=where)


def object_name(rep_id: str, rows: str) -> str:
    """Return the name of the object with the statistics of these rows."""
    return f"{ROOT}/{_checked_id(rep_id)}/{check_name('rows', rows)}.arrays"


def _checked_id(rep_id: str) -> str:
    if not _ID.match(rep_id):
        raise InvalidRequest(f"{rep_id!r} is no id of a representation: expected 64 hexadecimal characters.")
    return rep_id
