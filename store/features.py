"""The feature store: representations by content address, complete or unreadable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from store import ledger
from store._catalogue import RepresentationInfo, read_catalogue
from store._feature_check import check_representation
from store._feature_group import group_objects
from store._feature_reader import Features
from store._feature_writer import FeatureWriter
from store._opened import Opened, labels_digest, opening_record, read_opened
from store.codecs import codec as codec_named
from store.errors import Conflict, Incomplete, InvalidRequest, NotFound, StoreError
from store.fallbacks import Fallback, put_fallback, read_fallback, refuse_fallen
from store.grid import Grid, chunk_rows
from store.keys import RepresentationKey
from store.ledger import ChunkEntry
from store.neuron_sets import digest_of
from store.objects import ObstoreObjects
from store.statistics import StatisticsStore

Status = Literal["absent", "partial", "complete", "fallback"]
"""How far a representation is; ``fallback`` where another one stands in for it."""


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
        neurons: NDArray[np.int64] | None = None,
        layer_width: int | None = None,
        codec: str = "lz4",
        rows_per_chunk: int | None = None,
    ) -> FeatureWriter:
        """Open a representation for writing; where it is there already, go on with it.

        Parameters
        ----------
        key
            What it is; its id is the address.
        width
            Neurons that are stored.
        labels
            Class of each row, shape (n_samples,), int64.
        sample_ids
            Which sample each row is, n_samples names.
        classes
            Names of the classes, in the order of the labels.
        neurons
            Where only some neurons of the layer are kept, their indices in it, shape (width,), int64, ascending and
            distinct: those of which ``key.neurons`` is the digest. None where all are.
        layer_width
            Neurons of the whole layer; needed with ``neurons``.
        codec
            ``lz4``, ``zstd`` or ``none``: how chunks are stored; it changes no value.
        rows_per_chunk
            Rows of a chunk; by default as many as make about 8 to 16 MB.

        Raises
        ------
        InvalidRequest
            If the sizes contradict each other, or the neurons the key.
        Conflict
            If the representation was begun with another width, other rows or other labels.
        Overflow
            If another representation stands in for it: see `fallback`.
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
        kept, layer_width = _kept_neurons(key, width, neurons, layer_width)
        chosen = codec_named(codec)
        refuse_fallen(self._objects, key)
        while (opened := self._opened(key.id)) is None:
            itemsize = np.dtype(key.dtype).itemsize
            rows = min(rows_per_chunk or chunk_rows(len(labels), width, itemsize), len(labels))
            grid = Grid(n_views=key.n_views, n_samples=len(labels), width=width, chunk_rows=rows)
            objects = group_objects(
                key, grid, chosen, labels=labels, sample_ids=sample_ids, classes=classes, neurons=kept
            )
            for name, data in objects.items():
                self._objects.put(name, data)
            record = opening_record(
                key, grid, chosen, layer_width=layer_width, labels=labels, classes=classes, objects=objects
            )
            self._objects.put_new(ledger.opened_key(key.id), record)
            refuse_fallen(self._objects, key)
        grid = opened.grid
        if (grid.width, grid.n_samples, opened.labels) != (width, len(labels), labels_digest(labels)):
            raise Conflict(
                f"{key.path}: it was begun with {grid.n_samples} rows of {grid.width} neurons, and is now asked for "
                f"with {len(labels)} of {width}, or with other labels. Two different representations claim one id: "
                "please report this."
            )
        return FeatureWriter(self._objects, opened.key, grid, opened.codec, self.open)

    def status(self, rep_id: str) -> Status:
        """Say whether a representation is complete, begun or absent, or whether another one stands in for it."""
        if not ledger.is_id(rep_id):
            return "absent"
        if self._objects.exists(ledger.fallback_key(rep_id)):
            return "fallback"
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
            If its ledger is not complete, or another representation stands in for it.
        Corrupt
            If its ledger is not what was written; the message names the object.
        """
        opened = self._opened(rep_id)
        if opened is None or (opened.key.dtype == "float16" and self.fallback(rep_id) is not None):
            raise self._unlisted(rep_id)
        try:
            sealed = self._objects.get(ledger.complete_key(rep_id))
        except NotFound:
            raise Incomplete(
                f"{self._objects.url}: representation {opened.key.path} is not complete, so it can't be read. Run "
                "`drfarm extract` with its study: what is finished is kept."
            ) from None
        return self._features(opened, ledger.sealed_entries(sealed, rep_id, opened.grid))

    def key(self, rep_id: str) -> RepresentationKey:
        """Return what a representation is that was begun, complete or not.

        Raises
        ------
        NotFound
            If there is none of this id.
        Corrupt
            If its record is not what was written; the message names it.
        UnsupportedFormat
            If a newer drfarm wrote it.
        """
        opened = self._opened(rep_id)
        if opened is None:
            raise self._absent(rep_id)
        return opened.key

    def info(self, rep_id: str) -> RepresentationInfo:
        """Return the catalogue's line of one representation, complete or not."""
        if ledger.is_id(rep_id):
            for info in read_catalogue(self._objects, f"{ledger.ROOT}/{rep_id}"):
                return info
        raise self._unlisted(rep_id)

    def catalogue(self) -> list[RepresentationInfo]:
        """Return the catalogue, complete representations and begun ones, by readable path."""
        return sorted(read_catalogue(self._objects, ledger.ROOT), key=lambda i: i.key.path)

    def fall_back(self, rep_id: str, stand_in: str, reason: str) -> str:
        """Say that a float16 representation can't be: a value is beyond float16, and another one stands in for it.

        It is never complete then, so what was written of it is removed. Any number of processes may say so at once.

        Parameters
        ----------
        rep_id
            The representation that was begun.
        stand_in
            Id of the one that is made instead.
        reason
            Why, in a few words.

        Returns
        -------
        str
            Id of the representation to use: ``stand_in``, or ``rep_id`` where that is complete after all.

        Raises
        ------
        NotFound
            If it was not begun.
        InvalidRequest
            If it is not float16, or ``stand_in`` is no other representation's id.
        Conflict
            If it fell back on another one already.
        """
        opened = self._opened(rep_id)  # before the fallback: this is removed after that is written
        there = read_fallback(self._objects, rep_id)
        if there is not None:
            key = there.key
        elif opened is None:
            raise self._absent(rep_id)
        elif self._objects.exists(ledger.complete_key(rep_id)):
            return rep_id
        else:
            key = opened.key
        put_fallback(self._objects, key, stand_in, reason)
        self._remove(rep_id, key.path)
        return stand_in

    def fallback(self, rep_id: str) -> str | None:
        """Return the id of the representation that stands in for one; None where nothing does.

        Raises
        ------
        Corrupt
            If the record that says so is not what was written; the message names it.
        """
        there = read_fallback(self._objects, rep_id)
        return None if there is None else there.stand_in

    def fallbacks(self) -> list[Fallback]:
        """Return every representation that another one stands in for, by readable path."""
        ids = [o.key.split("/")[1] for o in self._objects.list(ledger.ROOT) if o.key.endswith("/fallback.json")]
        found = [read_fallback(self._objects, rep_id) for rep_id in ids]
        return sorted((f for f in found if f is not None), key=lambda f: f.key.path)

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
        return check_representation(
            self._objects,
            rep_id,
            reader=self._features,
            forget=partial(self.forget, rep_id),
            discard=partial(self.discard, rep_id),
        )

    def discard(self, rep_id: str, chunks: Sequence[tuple[int, int]]) -> None:
        """Forget ledger entries and the seal, so that the next extraction makes those chunks anew.

        Statistics of the representation go first: what is made anew may differ, such as in rows that are masked.
        """
        StatisticsStore(self._objects).discard(rep_id)
        self._objects.delete([ledger.complete_key(rep_id), *(ledger.chunk_key(rep_id, v, c) for v, c in chunks)])

    def forget(self, rep_id: str) -> None:
        """Forget all that the ledger has of a representation, and its statistics: the next extraction makes it anew."""
        if not ledger.is_id(rep_id):
            raise self._absent(rep_id)
        StatisticsStore(self._objects).discard(rep_id)
        # Killed half-way, it is unreadable and begun: the seal goes first, what tells the chunks' shape goes last.
        seal, opened = ledger.complete_key(rep_id), ledger.opened_key(rep_id)
        rest = [o.key for o in self._objects.list(f"{ledger.ROOT}/{rep_id}") if o.key not in (seal, opened)]
        self._objects.delete([seal, *rest, opened])

    def _remove(self, rep_id: str, path: str) -> None:
        """Remove what was written of a representation, but for what says that another one stands in for it.

        Killed half-way it is begun or less, and never readable: the seal goes first, what tells where all is goes last.
        """
        first, last = ledger.complete_key(rep_id), ledger.opened_key(rep_id)
        names = [o.key for folder in (f"{ledger.ROOT}/{rep_id}", path) for o in self._objects.list(folder)]
        rest = [n for n in names if n not in (first, last, ledger.fallback_key(rep_id))]
        self._objects.delete([first, *rest, last])

    def _opened(self, rep_id: str) -> Opened | None:
        return read_opened(self._objects, rep_id)

    def _features(self, opened: Opened, entries: Mapping[tuple[int, int], ChunkEntry]) -> Features:
        return Features(
            self._objects,
            opened.key,
            opened.grid,
            opened.codec,
            layer_width=opened.layer_width,
            classes=opened.classes,
            digests=opened.digests,
            entries=entries,
        )

    def _unlisted(self, rep_id: str) -> StoreError:
        there = read_fallback(self._objects, rep_id)
        if there is None:
            return self._absent(rep_id)
        return Incomplete(
            f"{self._objects.url}: representation {there.key.path} is not complete and never will be: "
            f"{there.reason}. Representation {there.stand_in} stands in for it."
        )

    def _absent(self, rep_id: str) -> NotFound:
        return NotFound(f"{self._objects.url}: there is no representation {rep_id}. `drfarm store ls` lists them.")


def _kept_neurons(
    key: RepresentationKey, width: int, neurons: NDArray[np.int64] | None, layer_width: int | None
) -> tuple[NDArray[np.int64] | None, int]:
    """Return the neurons that are kept, None where all are, and the layer's width; refuse what contradicts the key."""
    if key.neurons is None:
        if neurons is not None or layer_width not in (None, width):
            raise InvalidRequest(
                f"{key.path}: the key says that the whole layer is stored, but neurons to keep are given, or a layer's "
                f"width of {layer_width} beside {width}. Give the key the digest of the neurons (`neurons`)."
            )
        return None, width
    if neurons is None or layer_width is None:
        raise InvalidRequest(
            f"{key.path}: the key says that only some neurons are kept ({key.neurons[:12]}...), so give their indices "
            "and the layer's width: `store.neuron_sets.get(key.neurons)` has both."
        )
    digest = digest_of(neurons, layer_width)
    if digest != key.neurons or len(neurons) != width:
        raise InvalidRequest(
            f"{key.path}: expected {width} neurons of digest {key.neurons[:12]}..., got {len(neurons)} of "
            f"{layer_width} of digest {digest[:12]}...."
        )
    return np.asarray(neurons, dtype=np.int64), layer_width
