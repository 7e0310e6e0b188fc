"""What a listing says of one object."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object in a listing."""

    key: str
    """Name below the root, with ``/`` between segments."""
    size_bytes: int
    """Size."""
    modified: datetime
    """When it was last written, by the storage's clock (UTC)."""


def listing(pages: Iterable[Sequence[Any]]) -> list[ObjectInfo]:
    """Return the objects on the pages of an `obstore` listing, in the order of the names."""
    found = [
        ObjectInfo(key=o["path"], size_bytes=o["size"], modified=o["last_modified"]) for page in pages for o in page
    ]
    return sorted(found, key=lambda o: o.key)
