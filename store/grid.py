"""The chunk grid of a representation. Pure (no I/O)."""

from dataclasses import dataclass

TARGET_CHUNK_BYTES = 16 * 2**20
"""A chunk has at most this many bytes before encoding (and more than half of it, where the split is long enough)."""


def chunk_rows(n_samples: int, width: int, itemsize: int) -> int:
    """Return the rows of a chunk: the largest power of two whose full-width block fits the target, at most all rows."""
    fit = max(1, TARGET_CHUNK_BYTES // (width * itemsize))
    return max(1, min(n_samples, 1 << (fit.bit_length() - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Row blocks of full width: one chunk is one object and belongs to one task."""

    n_views: int
    """Passes."""
    n_samples: int
    """Rows of a view."""
    width: int
    """Neurons."""
    chunk_rows: int
    """Rows of a chunk; the last of a view is filled up with NaN."""

    @property
    def n_chunks(self) -> int:
        """Chunks of one view."""
        return -(-self.n_samples // self.chunk_rows)

    def span(self, chunk: int) -> tuple[int, int]:
        """Return the rows of a chunk as (start, stop)."""
        start = chunk * self.chunk_rows
        return start, min(start + self.chunk_rows, self.n_samples)

    def cells(self) -> list[tuple[int, int]]:
        """Return every (view, chunk), in order."""
        return [(v, c) for v in range(self.n_views) for c in range(self.n_chunks)]

    def __contains__(self, cell: object) -> bool:
        return (
            isinstance(cell, tuple) and len(cell) == 2 and 0 <= cell[0] < self.n_views and 0 <= cell[1] < self.n_chunks
        )

    def object_name(self, view: int, chunk: int) -> str:
        """Return the chunk's name inside the array, as Zarr v3's default chunk key encoding has it."""
        return f"c/{view}/{chunk}/0"
