"""One thread that assembles whole chunks from batches of activations and puts them into the store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from queue import Full, Queue
from threading import Event, Thread

import numpy as np

from extract._batches import Batch
from extract._stopwatch import Stopwatch
from extract.errors import NonFiniteActivations
from store import FeatureWriter, Overflow

_QUEUED_BATCHES = 2
"""Batches of activations that wait to be written: this bounds the memory (flattened layers are large)."""
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """What one batch gave of one network."""

    assemblers: "Sequence[ChunkAssembler]"
    """Where the layers go."""
    batch: Batch
    """Its rows."""
    view: int
    """Which pass."""
    values: tuple[np.ndarray, ...]
    """Per layer: float32, shape (n, width)."""
    masked: tuple[int, ...]
    """Rows of the split that could not be decoded."""


@dataclass(slots=True)
class _OpenChunk:
    """A chunk that is being filled."""

    values: np.ndarray
    n_filled: int = 0
    masked: list[int] = field(default_factory=list)


class ChunkAssembler:
    """Puts the rows of one layer into its missing chunks, and each chunk into the store when it is full.

    Parameters
    ----------
    writer
        Where chunks go.
    missing
        The (view, chunk) to write.
    sample_ids
        Names of the rows, for messages.
    """

    def __init__(self, writer: FeatureWriter, missing: Collection[tuple[int, int]], sample_ids: Sequence[str]) -> None:
        self._writer = writer
        self._missing = frozenset(missing)
        self._sample_ids = sample_ids
        self._open: dict[tuple[int, int], _OpenChunk] = {}
        self.n_written = 0
        """Chunks that were put."""
        self.overflow: Overflow | None = None
        """What was beyond float16; nothing is written after it."""

    def add(self, batch: Batch, view: int, values: np.ndarray, masked: Sequence[int]) -> None:
        """Take the activations of one batch, float32, shape (n, width); masked rows become NaN.

        Raises
        ------
        NonFiniteActivations
            If a row that is not masked holds NaN or infinity.
        """
        if self.overflow is not None:
            return
        if masked:
            values = values.copy()
            values[np.array(masked) - batch.start] = np.nan
        self._check_finite(batch, values, masked)
        rows = self._writer.chunk_rows
        for chunk in range(batch.start // rows, -(-batch.stop // rows)):
            cell = (view, chunk)
            if cell not in self._missing:
                continue
            start, stop = self._writer.span(chunk)
            first, last = max(start, batch.start), min(stop, batch.stop)
            if cell not in self._open:
                self._open[cell] = _OpenChunk(np.empty((stop - start, self._writer.width), np.float32))
            held = self._open[cell]
            held.values[first - start : last - start] = values[first - batch.start : last - batch.start]
            held.n_filled += last - first
            held.masked += [row for row in masked if first <= row < last]
            if held.n_filled == stop - start:
                self._write(cell, held)

    def _write(self, cell: tuple[int, int], held: _OpenChunk) -> None:
        try:
            self._writer.write_chunk(*cell, held.values, masked=tuple(held.masked))
        except Overflow as e:
            if self._writer.key.dtype != "float16":
                raise
            self.overflow = e
            self._open.clear()
            return
        del self._open[cell]
        self.n_written += 1

    def _check_finite(self, batch: Batch, values: np.ndarray, masked: Sequence[int]) -> None:
        finite = np.isfinite(values)
        if finite.all():
            return
        counts = values.shape[1] - finite.sum(axis=1)
        counts[[row - batch.start for row in masked]] = 0
        bad = np.flatnonzero(counts)
        if len(bad):
            key, row = self._writer.key, batch.start + int(bad[0])
            raise NonFiniteActivations(
                f"model {key.model!r}, layer {key.layer!r}: {counts[bad[0]]} of {values.shape[1]} activations of "
                f"sample {self._sample_ids[row]!r} (row {row}) are NaN or infinite, as are "
                f"some of {len(bad)} of the {len(batch)} samples of its batch. Check the weights and the normalisation "
                f"(mean {key.mean}, std {key.std}){_less_range(key.precision)}."
            )


def _less_range(precision: str) -> str:
    half = precision.startswith("float16")
    return ", or set `precision: bfloat16` or float32: float16 ends at 65,504" if half else ""


class WriterThread:
    """Runs assemblers in a thread of their own; a context manager that joins it.

    On a clean exit everything that was put is written; after an exception in the caller what is queued is dropped.
    """

    def __init__(self) -> None:
        self._queue: Queue[Activations | None] = Queue(maxsize=_QUEUED_BATCHES)
        self._drop = Event()
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, name="drfarm-write", daemon=True)
        self._watch = Stopwatch()

    @property
    def write_s(self) -> float:
        """Seconds spent checking, assembling and writing."""
        return self._watch.seconds

    def __enter__(self) -> "WriterThread":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is not None:
            self._drop.set()
        self._put(None)
        self._thread.join()
        if kind is None:
            self.check()

    def put(self, activations: Activations) -> None:
        """Hand over one batch; waits while the queue is full, and raises what the thread raised."""
        self.check()
        self._put(activations)
        self.check()

    def check(self) -> None:
        """Raise what the thread raised."""
        if self._failure is not None:
            raise self._failure

    def _put(self, item: Activations | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(item, timeout=_POLL_S)
                return
            except Full:
                continue

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if self._drop.is_set():
                    continue
                with self._watch:
                    for assembler, values in zip(item.assemblers, item.values, strict=True):
                        assembler.add(item.batch, item.view, values, item.masked)
        except BaseException as e:  # noqa: BLE001 - handed to the thread that waits for us
            self._failure = e
