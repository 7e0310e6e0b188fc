"""The feature store: representations by content address, complete or unreadable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from store import ledger, records
from store._feature_group import group_objects
from store._feature_reader import Features
from store._feature_writer import FeatureWriter
from store.codecs import Codec, checksum
from store.codecs import codec as codec_named
from store.errors import Conflict, Corrupt, Incomplete, InvalidRequest, NotFound, StoreError, UnsupportedFormat
from store.grid import Grid, chunk_rows
from store.keys import FEATURES_FORMAT, RepresentationKey
from store.ledger import ChunkEntry
from store.objects import ObstoreObjects
from store.statistics import StatisticsStore

_ID_LENGTH = 64

Status = Literal["absent", "partial", "complete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepresentationInfo:
    """One line of the catalogue."""

    key: RepresentationKey
    """What it is."""
    width: int
    """Neurons."""
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


class FeatureStore:
    """Representations below one root. Made by `open_store`."""

    def __init__(self, objects: ObstoreObjects) -> None:
        self._objects = objects

    def create(
        self,
        key: RepresentationKey,
        *,
        width: int,
        labels: NDArray[np.int64],
        sample_ids: Sequence[str],
        classes: Sequence[str],
        codec: str = "lz4",
        rows_per_chunk: int | None = None,
    ) -> FeatureWriter:
        """Open a representation for writing; where it is there already, go on with it.

        Parameters
        ----------
        key
            What it is; its id is the address.
        width
            Neurons.
        labels
            Class of each row, shape (n_samples,), int64.
        sample_ids
            Which sample each row is, n_samples names.
        classes
            Names of the classes, in the order of the labels.
        codec
            ``lz4``, ``zstd`` or ``none``: how chunks are stored; it changes no value.
        rows_per_chunk
            Rows of a chunk; by default as many as make about 8 to 16 MB.

        Raises
        ------
        InvalidRequest
            If the sizes contradict each other.
        Conflict
            If the representation was begun with another width, other rows or other labels.
        """
        labels = np.asarray(labels, dtype=np.int64)
        if len(labels) != len(sample_ids) or not len(labels):
            raise InvalidRequest(
                f"{key.path}: expected as many labels as samples (>= 1), got {len(labels)} and {len(sample_ids)}."
            )
        if width < 1:
            raise InvalidRequest(f"{key.path}: width must be >= 1, got {width}.")
        if rows_per_chunk is not None and rows_per_chunk < 1:
            raise InvalidRequest(f"{key.path}: rows of a chunk must be >= 1, got {rows_per_chunk}.")
        if not 0 <= labels.min() <= labels.max() < len(classes):
            raise InvalidRequest(
                f"{key.path}: labels run from {labels.min()} to {labels.max()}, but there are {len(classes)} classes."
            )
        chosen = codec_named(codec)
        opened = self._opened(key.id)
        if opened is None:
            itemsize = np.dtype(key.dtype).itemsize
            rows = min(rows_per_chunk or chunk_rows(len(labels), width, itemsize), len(labels))
            grid = Grid(n_views=key.n_views, n_samples=len(labels), width=width, chunk_rows=rows)
            objects = group_objects(key, grid, chosen, labels=labels, sample_ids=sample_ids, classes=classes)
            for name, data in objects.items():
                self._objects.put(name, data)
            record: dict[str, Any] = {
                "format": FEATURES_FORMAT,
                "key": key.to_dict(),
                "width": width,
                "n_samples": len(labels),
                "chunk_rows": rows,
                "codec": codec,
                "classes": list(classes),
                "labels": _labels_digest(labels),
                "digests": {n: checksum(d) for n, d in objects.items() if n.startswith(key.path)},
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            self._objects.put_new(ledger.opened_key(key.id), records.to_bytes(record))
            opened = self._opened(key.id)
            assert opened is not None  # just put
        grid = opened.grid
        if (grid.width, grid.n_samples, opened.labels) != (width, len(labels), _labels_digest(labels)):
            raise Conflict(
                f"{key.path}: it was begun with {grid.n_samples} rows of {grid.width} neurons, and is now asked for "
                f"with {len(labels)} of {width}, or with other labels. Two different representations claim one id: "
                "please report this."
            )
        return FeatureWriter(self._objects, opened.key, grid, opened.codec, self.open)

    def status(self, rep_id: str) -> Status:
        """Say whether a representation is complete, begun or absent."""
        if not _is_id(rep_id):
            return "absent"
        if self._objects.exists(ledger.complete_key(rep_id)):
            return "complete"
        return "partial" if self._objects.exists(ledger.opened_key(rep_id)) else "absent"

    def open(self, rep_id: str) -> Features:
        """Open a complete representation.

        Raises
        ------
        NotFound
            If there is none of this id.
        Incomplete
            If its ledger is not complete.
        Corrupt
            If its ledger is not what was written; the message names the object.
        """
        opened = self._opened(rep_id)
        if opened is None:
            raise self._absent(rep_id)
        try:
            sealed = self._objects.get(ledger.complete_key(rep_id))
        except NotFound:
            raise Incomplete(
                f"{self._objects.url}: representation {opened.key.path} is not complete, so it can't be read. Run "
                "`drfarm extract` with its study: what is finished is kept."
            ) from None
        return self._features(opened, ledger.sealed_entries(sealed, rep_id, opened.grid))

    def info(self, rep_id: str) -> RepresentationInfo:
        """Return the catalogue's line of one representation, complete or not."""
        if _is_id(rep_id):
            for info in self._catalogue(f"{ledger.ROOT}/{rep_id}"):
                return info
        raise self._absent(rep_id)

    def catalogue(self) -> list[RepresentationInfo]:
        """Return the catalogue, complete representations and begun ones, by readable path."""
        return sorted(self._catalogue(ledger.ROOT), key=lambda i: i.key.path)

    def ids(self) -> list[str]:
        """Return the ids of which the ledger has anything."""
        return sorted({o.key.split("/")[1] for o in self._objects.list(ledger.ROOT)})

    def check(self, rep_id: str) -> Iterator[tuple[str, str | None, Callable[[], None]]]:
        """Re-read all of one representation, object by object: its ledger, its small arrays, its chunks.

        Yields
        ------
        tuple
            Name of the object; what is wrong with it, None where it is what was written; what forgets it, so that the
            next run makes it anew.
        """

        def forget() -> None:
            self.forget(rep_id)

        name = ledger.opened_key(rep_id)
        try:
            opened = self._opened(rep_id)
        except UnsupportedFormat as e:
            refused = e

            def refuse() -> None:
                raise refused

            yield name, str(e), refuse
            return
        except StoreError as e:
            yield name, str(e), forget
            return
        if opened is None:
            yield name, f"{name} is missing, but the ledger has more of this representation.", forget
            return
        yield name, None, forget
        small = self._features(opened, {})
        for name in small.small_objects():
            yield name, _problem(partial(small.check_small_object, name)), forget
        entries = {}
        for name, reason, cells, discard in self._check_ledger(rep_id, opened):
            yield name, reason, discard
            entries.update(cells)
        features = self._features(opened, entries)
        for cell in sorted(entries):
            reason = _problem(partial(features.check_chunk, *cell))
            yield features.chunk_object(*cell), reason, partial(self.discard, rep_id, [cell])

    def _check_ledger(
        self, rep_id: str, opened: "_Opened"
    ) -> Iterator[tuple[str, str | None, dict[tuple[int, int], ChunkEntry], Callable[[], None]]]:
        """Re-read the seal and the entries: name, what is wrong, the chunks that it lists, what forgets it."""
        sealed: dict[tuple[int, int], ChunkEntry] = {}
        name = ledger.complete_key(rep_id)
        try:
            sealed = ledger.sealed_entries(self._objects.get(name), rep_id, opened.grid)
            yield name, None, sealed, partial(self.discard, rep_id, [])
        except NotFound:
            pass
        except StoreError as e:
            yield name, str(e), {}, partial(self.discard, rep_id, [])
        for cell in opened.grid.cells():
            name = ledger.chunk_key(rep_id, *cell)
            discard = partial(self.discard, rep_id, [cell])
            try:
                entry = ChunkEntry.from_json(self._objects.get(name), where=name)
                entry.held_against(opened.grid, cell, where=name)
            except NotFound:
                continue
            except StoreError as e:
                yield name, str(e), {}, discard
                continue
            if sealed and sealed[cell] != entry:
                yield name, f"{name} is not the entry that {ledger.complete_key(rep_id)} has.", {}, discard
            else:
                yield name, None, {cell: entry}, discard

    def discard(self, rep_id: str, chunks: Sequence[tuple[int, int]]) -> None:
        """Forget ledger entries and the seal, so that the next extraction makes those chunks anew.

        Statistics of the representation go first: what is made anew may differ, such as in rows that are masked.
        """
        StatisticsStore(self._objects).discard(rep_id)
        self._objects.delete([ledger.complete_key(rep_id), *(ledger.chunk_key(rep_id, v, c) for v, c in chunks)])

    def forget(self, rep_id: str) -> None:
        """Forget all that the ledger has of a representation, and its statistics: the next extraction makes it anew."""
        if not _is_id(rep_id):
            raise self._absent(rep_id)
        StatisticsStore(self._objects).discard(rep_id)
        # Killed half-way, it is unreadable and begun: the seal goes first, what tells the chunks' shape goes last.
        seal, opened = ledger.complete_key(rep_id), ledger.opened_key(rep_id)
        rest = [o.key for o in self._objects.list(f"{ledger.ROOT}/{rep_id}") if o.key not in (seal, opened)]
        self._objects.delete([seal, *rest, opened])

    def _catalogue(self, prefix: str) -> list[RepresentationInfo]:
        names: dict[str, list[str]] = {}
        for o in self._objects.list(prefix):
            names.setdefault(o.key.split("/")[1], []).append(o.key)
        found = []
        for rep_id, keys in names.items():
            opened = self._opened(rep_id)
            if opened is None:
                continue
            entries = self._sealed(rep_id, opened.grid) if ledger.complete_key(rep_id) in keys else None
            complete = entries is not None
            if entries is None:
                entries = self._entered(opened.grid, keys, ledger.chunk_prefix(rep_id))
            found.append(
                RepresentationInfo(
                    key=opened.key,
                    width=opened.grid.width,
                    n_samples=opened.grid.n_samples,
                    n_chunks=len(opened.grid.cells()),
                    n_chunks_done=len(entries),
                    stored_bytes=sum(e.n_bytes for e in entries.values()),
                    complete=complete,
                    created_at=opened.created_at,
                )
            )
        return found

    def _sealed(self, rep_id: str, grid: Grid) -> dict[tuple[int, int], ChunkEntry] | None:
        try:
            return ledger.sealed_entries(self._objects.get(ledger.complete_key(rep_id)), rep_id, grid)
        except NotFound:  # discarded since it was listed
            return None

    def _entered(self, grid: Grid, keys: Sequence[str], prefix: str) -> dict[tuple[int, int], ChunkEntry]:
        entries = {}
        for key in keys:
            if key.startswith(f"{prefix}/"):
                try:
                    entry = ChunkEntry.from_json(self._objects.get(key), where=key)
                except NotFound:  # discarded since it was listed
                    continue
                entries[entry.key] = entry.held_against(grid, entry.key, where=key)
        return entries

    def _opened(self, rep_id: str) -> "_Opened | None":
        name = ledger.opened_key(rep_id)
        if not _is_id(rep_id):
            return None
        try:
            record = records.from_bytes(self._objects.get(name), where=name)
        except NotFound:
            return None
        if record.get("format") != FEATURES_FORMAT:
            raise UnsupportedFormat(
                f"{self._objects.url}: {name} has format {record.get('format')}; this drfarm reads and writes features "
                f"of format {FEATURES_FORMAT}. Upgrade drfarm."
            )
        key = RepresentationKey.from_dict(record["key"])
        if key.id != rep_id:
            raise Corrupt(
                f"{self._objects.url}: {name} describes representation {key.id}. Run `drfarm store verify --discard`, "
                "then the study again: it is made anew."
            )
        return _Opened(
            key=key,
            grid=Grid(
                n_views=key.n_views,
                n_samples=record["n_samples"],
                width=record["width"],
                chunk_rows=record["chunk_rows"],
            ),
            codec=codec_named(record["codec"]),
            classes=tuple(record["classes"]),
            labels=record["labels"],
            digests=record["digests"],
            created_at=datetime.fromisoformat(record["created_at"]),
        )

    def _features(self, opened: "_Opened", entries: Mapping[tuple[int, int], ChunkEntry]) -> Features:
        return Features(
            self._objects,
            opened.key,
            opened.grid,
            opened.codec,
            classes=opened.classes,
            digests=opened.digests,
            entries=entries,
        )

    def _absent(self, rep_id: str) -> NotFound:
        return NotFound(f"{self._objects.url}: there is no representation {rep_id}. `drfarm store ls` lists them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What ``representation.json`` says."""

    key: RepresentationKey
    grid: Grid
    codec: Codec
    classes: tuple[str, ...]
    labels: str
    """Digest of the labels."""
    digests: Mapping[str, str]
    """Checksum of every object of the group but the chunks of ``activations``."""
    created_at: datetime


def _is_id(text: str) -> bool:
    return len(text) == _ID_LENGTH and all(c in "0123456789abcdef" for c in text)


def _labels_digest(labels: NDArray[np.int64]) -> str:
    return checksum(np.ascontiguousarray(labels, dtype="<i8"))


def _problem(look: Callable[[], None]) -> str | None:
    """Say what is wrong with what ``look`` looks at."""
    try:
        look()
    except (StoreError, ValueError, RuntimeError) as e:
        return str(e)
    return None
