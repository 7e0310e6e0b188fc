"""Settings that were found automatically and must stay as they are when a job is resumed, such as its batch size.

settings/<name>.json     one record with its own digest; the first to write it wins
"""

from collections.abc import Iterator, Mapping
from typing import Any

from store import records
from store._reread import Checked, reread
from store.errors import Corrupt, NotFound
from store.ids import JSON, path_segment
from store.objects import ObstoreObjects

ROOT = "settings"
"""Folder of all settings."""


class SettingStore:
    """Settings below one root. Made by `open_store`."""

    def __init__(self, objects: ObstoreObjects) -> None:
        self._objects = objects

    def put_new(self, name: str, record: Mapping[str, JSON]) -> dict[str, Any]:
        """Keep a record unless there is one, atomically; return the one that is there now.

        Parameters
        ----------
        name
            Whose it is, in any characters: ``batch-size/5d40611c``.
        record
            The settings, as JSON can carry them.

        Raises
        ------
        InvalidRequest
            If JSON can't carry the record.
        Corrupt
            If the one that is there is not what was written; the message names the object.
        """
        data = records.to_bytes({"name": name, "record": dict(record)})
        while True:
            self._objects.put_new(object_name(name), data)
            there = self.get(name)
            if there is not None:  # else it was removed in between, so this one may be the first
                return there

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the record of this name; None where there is none.

        Raises
        ------
        Corrupt
            If it is not what was written; the message names the object.
        """
        try:
            return dict(self._read(object_name(name))["record"])
        except NotFound:
            return None

    def check(self) -> Iterator[Checked]:
        """Re-read every record.

        Yields
        ------
        Checked
            Name of the object; what is wrong with it, None where it is what was written; what removes it: the next
            run finds the settings anew, and may find others.
        """
        yield from reread(self._objects, ROOT, self._read)

    def _read(self, name: str) -> dict[str, Any]:
        value = records.from_bytes(self._objects.get(name), where=name)
        if not {"name", "record"} <= set(value) or object_name(value["name"]) != name:
            raise Corrupt(
                f"{name} holds no settings of this name. Run `drfarm store verify --discard`, then run again."
            )
        return value


def object_name(name: str) -> str:
    """Return where a record is."""
    return f"{ROOT}/{path_segment(name)}.json"
