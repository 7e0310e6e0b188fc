"""Small JSON objects that carry their own digest, so that no flipped bit in one goes unnoticed. Pure (no I/O)."""

import json
from collections.abc import Mapping
from typing import Any

from store.errors import Corrupt, InvalidRequest
from store.ids import JSON, canonical_json, content_id

_DIGEST = "record_sha256"
"""The field that holds the digest of all the others."""


def to_bytes(record: Mapping[str, JSON]) -> bytes:
    """Serialise a record with the digest of its fields."""
    return canonical_json({**record, _DIGEST: content_id(record)})


def from_bytes(data: bytes, *, where: str) -> dict[str, Any]:
    """Read a record back.

    Raises
    ------
    Corrupt
        If it is not what `to_bytes` made; the message names the object.
    """
    record = parse(data, where=where)
    expected = record.pop(_DIGEST, None)
    try:
        got = content_id(record)
    except InvalidRequest as e:
        raise _not_what_was_written(where, str(e)) from e
    if got != expected:
        raise _not_what_was_written(where, f"digest {got[:12]}..., it says {str(expected)[:12]}")
    return record


def parse(data: bytes, *, where: str) -> dict[str, Any]:
    """Read a JSON object that carries no digest; `Corrupt`, naming it, where it does not parse."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise _not_what_was_written(where, str(e)) from e
    if not isinstance(value, dict):
        raise _not_what_was_written(where, f"expected an object, got {type(value).__name__}")
    return value


def _not_what_was_written(where: str, why: str) -> Corrupt:
    return Corrupt(
        f"{where} is not the JSON that was written ({why}). Run `drfarm store verify --discard`, then the study again: "
        "it is made anew."
    )
