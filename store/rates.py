"""Measured rates, such as images per second of a network on a device: what plans predict with.

rates/<kind>/<key>.json     one record, atomic, with its own digest; the newest replaces the one before

They are only predictions: one that is damaged or of another layout is as good as none, and nobody stops for it.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from store import records
from store._reread import Checked, reread
from store.errors import Corrupt, NotFound
from store.ids import JSON, check_name, path_segment
from store.objects import ObstoreObjects

ROOT = "rates"
"""Folder of all rates."""


class RateStore:
    """Rates below one root. Made by `open_store`."""

    def __init__(self, objects: ObstoreObjects) -> None:
        self._objects = objects

    def put(self, kind: str, key: str, record: Mapping[str, JSON]) -> None:
        """Keep a record, atomically; what has this name already is replaced.

        Parameters
        ----------
        kind
            What was measured: a name such as ``extraction``.
        key
            What it was measured on, in any characters: ``NVIDIA H200``.
        record
            What was measured, as JSON can carry it.

        Raises
        ------
        InvalidRequest
            If the kind is no name, or JSON can't carry the record.
        """
        at = datetime.now(UTC).isoformat()
        data = records.to_bytes({"kind": kind, "key": key, "at": at, "record": dict(record)})
        self._objects.put(object_name(kind, key), data)

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the newest record; None where there is none that can be read."""
        name = object_name(kind, key)
        try:
            return dict(self._read(name)["record"])
        except (NotFound, Corrupt):
            return None

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return every record of a kind that can be read, the newest last."""
        found = []
        for info in self._objects.list(f"{ROOT}/{check_name('kind', kind)}"):
            try:
                value = self._read(info.key)
            except (NotFound, Corrupt):
                continue
            found.append((value["at"], value["key"], dict(value["record"])))
        return [record for *_, record in sorted(found, key=lambda f: f[:2])]

    def check(self) -> Iterator[Checked]:
        """Re-read every record.

        Yields
        ------
        Checked
            Name of the object; what is wrong with it, None where it is what was written; what removes it: the next
            run measures anew.
        """
        yield from reread(self._objects, ROOT, self._read)

    def _read(self, name: str) -> dict[str, Any]:
        value = records.from_bytes(self._objects.get(name), where=name)
        if not {"kind", "key", "at", "record"} <= set(value) or object_name(value["kind"], value["key"]) != name:
            raise Corrupt(f"{name} is no rate of this name. Run `drfarm store verify --discard`: it is measured anew.")
        return value


def object_name(kind: str, key: str) -> str:
    """Return where a record is."""
    return f"{ROOT}/{check_name('kind', kind)}/{path_segment(key)}.json"
