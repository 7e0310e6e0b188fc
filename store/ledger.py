"""The ledger: what has been written of a representation, chunk by chunk, and what it must be.

It lies beside the Zarr groups, not inside them, so that a group holds nothing but Zarr:

    ledger/<id>/representation.json     opened: identity, shape, codec, sizes; written once, before any chunk
    ledger/<id>/chunks/<view>.<chunk>.json   one per finished chunk, written after its bytes
    ledger/<id>/complete.json           sealed: every entry; written last
    ledger/<id>/fallback.json           what stands in for it, where a value was beyond float16 (`store.fallbacks`)

Each carries a digest of itself (`store.records`).
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from store import records
from store.errors import Corrupt
from store.grid import Grid

ROOT = "ledger"
"""Folder of all ledgers."""

_ID = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkEntry:
    """One finished chunk."""

    view: int
    """Which pass over the data, from 0."""
    chunk: int
    """Which row block, from 0."""
    rows: int
    """Rows of data in it (the last chunk may have fewer than the grid's)."""
    n_bytes: int
    """Length of the stored object."""
    checksum: str
    """XXH3-128 of the stored object."""
    minimum: float | None
    """Smallest finite value; None where there is none."""
    maximum: float | None
    """Largest finite value; None where there is none."""
    n_nonfinite: int
    """Values that are NaN or infinite, masked rows included."""
    masked: tuple[int, ...] = field(default=())
    """Rows of the split that could not be decoded and are kept as NaN."""

    @property
    def key(self) -> tuple[int, int]:
        """Where it stands in the grid."""
        return (self.view, self.chunk)

    def to_json(self) -> bytes:
        """Serialise."""
        return records.to_bytes(asdict(self))

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> "ChunkEntry":
        """Read one back; `Corrupt`, naming the object, where it is not what was written."""
        return cls.from_dict(records.from_bytes(data, where=where), where=where)

    @classmethod
    def from_dict(cls, value: dict[str, Any], *, where: str) -> "ChunkEntry":
        """Read one back; unknown fields are an error."""
        try:
            return cls(**{**value, "masked": tuple(value["masked"])})
        except (TypeError, KeyError) as e:
            raise Corrupt(f"{where} is not a ledger entry ({e}).") from e

    def held_against(self, grid: Grid, cell: tuple[int, int], *, where: str) -> "ChunkEntry":
        """Return it where it is the entry of ``cell`` in ``grid``; `Corrupt` where it is of another."""
        start, stop = grid.span(cell[1])
        if self.key != cell or self.rows != stop - start:
            raise Corrupt(
                f"{where} is the entry of {self.rows} rows of (view, chunk) {self.key}, expected {stop - start} rows "
                f"of {cell}. Run `drfarm store verify --discard`, then the study again."
            )
        return self


def is_id(text: str) -> bool:
    """Say whether ``text`` can be the id of a representation."""
    return _ID.match(text) is not None


def opened_key(rep_id: str) -> str:
    """Return where the identity and shape are."""
    return f"{ROOT}/{rep_id}/representation.json"


def chunk_prefix(rep_id: str) -> str:
    """Return the folder of the entries."""
    return f"{ROOT}/{rep_id}/chunks"


def chunk_key(rep_id: str, view: int, chunk: int) -> str:
    """Return where the entry of one chunk is."""
    return f"{chunk_prefix(rep_id)}/{view}.{chunk:06d}.json"


def complete_key(rep_id: str) -> str:
    """Return where the seal is."""
    return f"{ROOT}/{rep_id}/complete.json"


def fallback_key(rep_id: str) -> str:
    """Return where it is said what stands in for a representation."""
    return f"{ROOT}/{rep_id}/fallback.json"


def seal_bytes(rep_id: str, entries: Sequence[ChunkEntry]) -> bytes:
    """Serialise the seal of a representation."""
    return records.to_bytes({"id": rep_id, "chunks": [asdict(e) for e in entries]})


def sealed_entries(data: bytes, rep_id: str, grid: Grid) -> dict[tuple[int, int], ChunkEntry]:
    """Read a seal back, in the order of the grid; `Corrupt` where it is not of this representation, whole."""
    where = complete_key(rep_id)
    record = records.from_bytes(data, where=where)
    entries = [ChunkEntry.from_dict(e, where=where) for e in record["chunks"]]
    if record["id"] != rep_id or [e.key for e in entries] != grid.cells():
        raise Corrupt(f"{where} does not list every chunk. Delete it and run `drfarm extract` again.")
    return {e.key: e.held_against(grid, e.key, where=where) for e in entries}
