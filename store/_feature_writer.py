"""Writing a representation: whole chunks, each followed by its ledger entry, then the seal."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from store import ledger
from store.codecs import Codec, checksum
from store.errors import Corrupt, Incomplete, InvalidRequest, NotFound, Overflow
from store.fallbacks import refuse_fallen
from store.grid import Grid
from store.keys import RepresentationKey
from store.ledger import ChunkEntry
from store.objects import Objects

if TYPE_CHECKING:
    from store._feature_reader import Features

FLOAT16_MAX = 65504.0
"""Largest finite float16 (IEEE 754 binary16)."""

_WRITERS = min(4, 1 + (os.cpu_count() or 1))
"""Threads that write chunks of one array: one more than cores, as each waits for the disk now and then."""


class FeatureWriter:
    """Writes the chunks of one representation. Every method may be called again, here or in another process.

    Made by `FeatureStore.create`.
    """

    def __init__(
        self, objects: Objects, key: RepresentationKey, grid: Grid, codec: Codec, reader: Callable[[str], "Features"]
    ) -> None:
        self._objects = objects
        self._reader = reader
        self._codec = codec
        self.key = key
        self.grid = grid
        self.id = key.id

    @property
    def width(self) -> int:
        """Neurons."""
        return self.grid.width

    @property
    def n_samples(self) -> int:
        """Rows of a view."""
        return self.grid.n_samples

    @property
    def n_views(self) -> int:
        """Passes."""
        return self.grid.n_views

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk."""
        return self.grid.chunk_rows

    @property
    def n_chunks(self) -> int:
        """Chunks of one view."""
        return self.grid.n_chunks

    def span(self, chunk: int) -> tuple[int, int]:
        """Return the rows of a chunk as (start, stop)."""
        return self.grid.span(chunk)

    def missing(self) -> list[tuple[int, int]]:
        """Return every (view, chunk) that the ledger does not have, or whose object is gone, in order."""
        folder = f"{self.key.path}/activations"
        entered = {o.key for o in self._objects.list(ledger.chunk_prefix(self.id))}
        stored = {o.key for o in self._objects.list(folder) if o.size_bytes}
        return [
            (v, c)
            for v, c in self.grid.cells()
            if ledger.chunk_key(self.id, v, c) not in entered or f"{folder}/{self.grid.object_name(v, c)}" not in stored
        ]

    def write_chunk(self, view: int, chunk: int, values: NDArray[np.float32], masked: Sequence[int] = ()) -> ChunkEntry:
        """Encode, put and enter one chunk.

        Parameters
        ----------
        view, chunk
            Its place in the grid.
        values
            Its rows, shape (rows, width), float32.
        masked
            Rows of the split that are kept as NaN because their sample could not be decoded, whatever ``values`` has.

        Returns
        -------
        ChunkEntry
            What the ledger has now: the entry of an earlier write, where that put other bytes.

        Raises
        ------
        InvalidRequest
            If there is no such chunk, or the shape or the masked rows are not of it.
        Overflow
            If a finite value is beyond the stored dtype, or was elsewhere, so that another representation stands in.
        """
        if (view, chunk) not in self.grid:
            raise InvalidRequest(
                f"{self.key.path}: there is no (view, chunk) {(view, chunk)}; it has {self.n_views} view(s) of "
                f"{self.n_chunks} chunks."
            )
        start, stop = self.span(chunk)
        if values.shape != (stop - start, self.width):
            raise InvalidRequest(
                f"{self.key.path}: chunk {chunk} has shape {(stop - start, self.width)}, got {values.shape}."
            )
        if not all(start <= row < stop for row in masked):
            raise InvalidRequest(
                f"{self.key.path}: chunk {chunk} has rows {start} to {stop - 1}; masked are {list(masked)}."
            )
        if len(masked):
            values = values.copy()
            values[np.asarray(masked, dtype=np.int64) - start] = np.nan
        refuse_fallen(self._objects, self.key)
        minimum, maximum, n_nonfinite = _finite_range(values)
        self._refuse_overflow(start, stop, minimum, maximum)
        data = self._codec.encode(self._block(values))
        entry = ChunkEntry(
            view=view,
            chunk=chunk,
            rows=stop - start,
            n_bytes=len(data),
            checksum=checksum(data),
            minimum=minimum,
            maximum=maximum,
            n_nonfinite=n_nonfinite,
            masked=tuple(sorted({int(r) for r in masked})),
        )
        return self._put(entry, data)

    def write_view(self, view: int, values: NDArray[np.float32]) -> None:
        """Write every chunk of one view that the ledger does not have, a few at a time.

        Parameters
        ----------
        view
            Which pass, from 0.
        values
            All rows, shape (n_samples, width), float32.

        Raises
        ------
        InvalidRequest
            If there is no such view, or the shape is not that of one.
        Overflow
            If a finite value is beyond the stored dtype.
        """
        if not 0 <= view < self.n_views:
            raise InvalidRequest(f"{self.key.path}: there is no view {view}; views are 0 to {self.n_views - 1}.")
        if values.shape != (self.n_samples, self.width):
            raise InvalidRequest(
                f"{self.key.path}: a view has shape {(self.n_samples, self.width)}, got {values.shape}."
            )
        missing = [chunk for v, chunk in self.missing() if v == view]
        with ThreadPoolExecutor(_WRITERS) as pool:
            for done in [pool.submit(self.write_chunk, view, c, values[slice(*self.span(c))]) for c in missing]:
                done.result()

    def _block(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Return the whole chunk in the stored dtype, filled up with NaN."""
        rows = len(values)
        if rows == self.chunk_rows:
            return values.astype(self.key.dtype, copy=False)
        block = np.empty((self.chunk_rows, self.width), dtype=self.key.dtype)
        block[:rows] = values
        block[rows:] = np.nan
        return block

    def _refuse_overflow(self, start: int, stop: int, minimum: float | None, maximum: float | None) -> None:
        worst = max(abs(minimum or 0.0), abs(maximum or 0.0))
        largest = FLOAT16_MAX if self.key.dtype == "float16" else float(np.finfo(np.float32).max)
        if worst > largest:
            remedy = " Set `dtype: float32` in the study." if self.key.dtype == "float16" else ""
            raise Overflow(
                f"{self.key.model}, layer {self.key.layer}, rows {start} to {stop - 1}: a value of {worst:.6g} does "
                f"not fit {self.key.dtype} (largest {largest:.6g}).{remedy}"
            )

    def _put(self, entry: ChunkEntry, data: bytes | memoryview) -> ChunkEntry:
        """Put the bytes, then the entry. The first to enter a chunk wins; later ones put the same bytes, or none.

        A device may round differently the second time. Bytes that differ from those of an entry are not put, so a slow
        double of a task can't touch what is finished. Where two doubles put different bytes between their looks at the
        ledger, the entry is settled on the bytes that are there: each looks after its own put, so the last one does.
        """
        name = ledger.chunk_key(self.id, entry.view, entry.chunk)
        present = self._entry_if_any(entry.view, entry.chunk)
        if present is not None and present.checksum != entry.checksum:
            return present
        chunk = f"{self.key.path}/activations/{self.grid.object_name(entry.view, entry.chunk)}"
        self._objects.put(chunk, data)
        if self._objects.put_new(name, entry.to_json()):
            return entry
        present = self._entry(entry.view, entry.chunk)
        if present.checksum == entry.checksum:
            return present
        if checksum(self._objects.get(chunk)) != entry.checksum:
            return present
        self._objects.put(name, entry.to_json())
        if self._objects.exists(ledger.complete_key(self.id)):
            self.seal()
        return entry

    def seal(self) -> "Features":
        """Declare the representation complete and open it.

        Raises
        ------
        Incomplete
            If a chunk has no ledger entry.
        Corrupt
            If an entry is not what was written; the message names it.
        Overflow
            If another representation stands in for this one.
        """
        refuse_fallen(self._objects, self.key)
        missing = self.missing()
        if missing:
            raise Incomplete(
                f"{self.key.path}: {len(missing)} of {len(self.grid.cells())} chunks are not written yet, the first is "
                f"(view, chunk) {missing[0]}. Run the extraction again: it writes those only."
            )
        entries = [self._entry(v, c) for v, c in self.grid.cells()]
        self._objects.put(ledger.complete_key(self.id), ledger.seal_bytes(self.id, entries))
        try:
            refuse_fallen(self._objects, self.key)
        except Overflow:  # it fell back just now: whoever did that may have looked for a seal before there was one
            self._objects.delete([ledger.complete_key(self.id)])
            raise
        return self._reader(self.id)

    def _entry(self, view: int, chunk: int) -> ChunkEntry:
        name = ledger.chunk_key(self.id, view, chunk)
        entry = ChunkEntry.from_json(self._objects.get(name), where=name)
        return entry.held_against(self.grid, (view, chunk), where=name)

    def _entry_if_any(self, view: int, chunk: int) -> ChunkEntry | None:
        """Return the entry; None where there is none, or none that can be read: it is then written anew."""
        try:
            return self._entry(view, chunk)
        except NotFound:
            return None
        except Corrupt:
            self._objects.delete([ledger.chunk_key(self.id, view, chunk)])
            return None


def _finite_range(values: NDArray[Any]) -> tuple[float | None, float | None, int]:
    """Return the smallest and largest finite value, and how many are not finite."""
    low, high = float(values.min()), float(values.max())  # NaN passes through both
    if math.isfinite(low) and math.isfinite(high):
        return low, high, 0
    finite = np.isfinite(values)
    n_finite = int(np.count_nonzero(finite))
    if not n_finite:
        return None, None, values.size
    low = float(np.min(values, where=finite, initial=np.inf))
    high = float(np.max(values, where=finite, initial=-np.inf))
    return low, high, values.size - n_finite
