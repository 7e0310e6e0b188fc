"""The catalogue: one line for each representation, from the ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from store import ledger
from store._opened import read_opened
from store.errors import NotFound
from store.grid import Grid
from store.keys import RepresentationKey
from store.ledger import ChunkEntry
from store.objects import Objects


@dataclass(frozen=True, slots=True, kw_only=True)
class RepresentationInfo:
    """One line of the catalogue."""

    key: RepresentationKey
    """What it is."""
    width: int
    """Neurons that are stored."""
    layer_width: int
    """Neurons of the whole layer."""
    n_samples: int
    """Rows of a view."""
    n_chunks: int
    """Chunks of all views."""
    n_chunks_done: int
    """Chunks that the ledger has."""
    stored_bytes: int
    """Size of the finished chunks in the store, in bytes."""
    complete: bool
    """Whether it is sealed, hence readable."""
    created_at: datetime
    """When it was opened for writing (UTC)."""

    @property
    def gathered(self) -> bool:
        """Whether only some neurons of the layer are stored."""
        return self.key.neurons is not None


def read_catalogue(objects: Objects, prefix: str) -> list[RepresentationInfo]:
    """Return a line for each representation whose ledger lies below ``prefix``.

    One that another stands in for is none: it is never complete, and nobody goes on with it.
    """
    names: dict[str, list[str]] = {}
    for o in objects.list(prefix):
        names.setdefault(o.key.split("/")[1], []).append(o.key)
    found = []
    for rep_id, keys in names.items():
        if ledger.fallback_key(rep_id) in keys:
            continue
        opened = read_opened(objects, rep_id)
        if opened is None:
            continue
        entries = _sealed(objects, rep_id, opened.grid) if ledger.complete_key(rep_id) in keys else None
        complete = entries is not None
        if entries is None:
            entries = _entered(objects, opened.grid, keys, ledger.chunk_prefix(rep_id))
        found.append(
            RepresentationInfo(
                key=opened.key,
                width=opened.grid.width,
                layer_width=opened.layer_width,
                n_samples=opened.grid.n_samples,
                n_chunks=len(opened.grid.cells()),
                n_chunks_done=len(entries),
                stored_bytes=sum(e.n_bytes for e in entries.values()),
                complete=complete,
                created_at=opened.created_at,
            )
        )
    return found


def _sealed(objects: Objects, rep_id: str, grid: Grid) -> dict[tuple[int, int], ChunkEntry] | None:
    try:
        return ledger.sealed_entries(objects.get(ledger.complete_key(rep_id)), rep_id, grid)
    except NotFound:  # discarded since it was listed
        return None


def _entered(objects: Objects, grid: Grid, keys: Sequence[str], prefix: str) -> dict[tuple[int, int], ChunkEntry]:
    entries = {}
    for key in keys:
        if key.startswith(f"{prefix}/"):
            try:
                entry = ChunkEntry.from_json(objects.get(key), where=key)
            except NotFound:  # discarded since it was listed
                continue
            entries[entry.key] = entry.held_against(grid, entry.key, where=key)
    return entries
