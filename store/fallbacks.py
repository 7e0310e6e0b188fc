"""What stands in for a float16 representation of which a value was beyond float16: the same one in float32.

ledger/<id>/fallback.json     written once, with its own digest; from then on it decides

The float16 representation is never listed, opened or sealed again, whatever a writer that did not know leaves of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from store import ledger, records
from store.errors import Conflict, Corrupt, InvalidRequest, NotFound, Overflow
from store.ids import JSON
from store.keys import RepresentationKey
from store.objects import Objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """One representation that another stands in for."""

    key: RepresentationKey
    """What was asked for."""
    stand_in: str
    """Id of the representation that stands in."""
    reason: str
    """Why."""
    created_at: datetime
    """When it fell back (UTC)."""


def put_fallback(objects: Objects, key: RepresentationKey, stand_in: str, reason: str) -> Fallback:
    """Write the record of a fallback, unless there is one; return the one that is there.

    Raises
    ------
    InvalidRequest
        If ``stand_in`` is no other representation's id, or the representation is float32 itself.
    Conflict
        If it fell back on another one already.
    """
    if key.dtype != "float16" or not ledger.is_id(stand_in) or stand_in == key.id:
        raise InvalidRequest(
            f"{key.path}: a float16 representation falls back on another one's id (64 hexadecimal characters); this is "
            f"{key.dtype}, and falls back on {stand_in!r}."
        )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    record: dict[str, JSON] = {"key": key.to_dict(), "stand_in": stand_in, "reason": reason, "created_at": at}
    objects.put_new(ledger.fallback_key(key.id), records.to_bytes(record))
    there = read_fallback(objects, key.id)
    if there is None or there.stand_in != stand_in:
        raise Conflict(
            f"{key.path}: expected {stand_in} to stand in for it, but {'nothing' if there is None else there.stand_in} "
            "does: another process said so. Run the study again."
        )
    return there


def read_fallback(objects: Objects, rep_id: str) -> Fallback | None:
    """Return what stands in for a representation; None where nothing does.

    Raises
    ------
    Corrupt
        If the record is not what was written, or of another representation.
    UnsupportedFormat
        If a newer drfarm wrote it.
    """
    name = ledger.fallback_key(rep_id)
    if not ledger.is_id(rep_id):
        return None
    try:
        record = records.from_bytes(objects.get(name), where=name)
    except NotFound:
        return None
    key = RepresentationKey.from_dict(record["key"])
    if key.id != rep_id:
        raise Corrupt(
            f"{name} is of representation {key.id}. Run `drfarm store verify --discard`, then the study again."
        )
    return Fallback(
        key=key,
        stand_in=record["stand_in"],
        reason=record["reason"],
        created_at=datetime.fromisoformat(record["created_at"]),
    )


def refuse_fallen(objects: Objects, key: RepresentationKey) -> None:
    """Raise `Overflow` where another representation stands in for this one; only float16 ones are looked up."""
    there = read_fallback(objects, key.id) if key.dtype == "float16" else None
    if there is not None:
        raise Overflow(
            f"{key.model}, layer {key.layer}: it fell back on representation {there.stand_in} ({there.reason}). Write "
            "that one: planning the study again does."
        )
