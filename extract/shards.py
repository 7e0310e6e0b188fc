"""Which chunks of a representation belong to which of several processes that write it. Pure (no I/O).

Processes that know nothing of each other's progress must agree on it, so it follows from the job alone: from the sizes
of its chunks, never from what is done already.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from store.errors import InvalidRequest
from store.grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of several equal parts of an extraction."""

    index: int
    """Which part, from 0."""
    count: int
    """Parts."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InvalidRequest(
                f"shard {self.index + 1}/{self.count}: shards of {self.count} are 1/{self.count} to "
                f"{self.count}/{self.count}."
            )

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Read ``3/16``, the third of sixteen parts.

    Raises
    ------
    InvalidRequest
        If it has another form, or there is no such part.
    """
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if match is None:
        raise InvalidRequest(f"a shard has the form 3/16 (the third of sixteen parts), got {text!r}.")
    return Shard(index=int(match[1]) - 1, count=int(match[2]))


def owned_cells(grid: Grid, shard: Shard, *, block_rows: int, offset: int) -> set[tuple[int, int]]:
    """Return the (view, chunk) of a representation that a shard writes; each belongs to exactly one shard.

    Parameters
    ----------
    grid
        Of the representation.
    shard
        Which part.
    block_rows
        Rows that stay together: the most rows that a chunk of any layer of the job has, so that batches are not run
        twice for two layers.
    offset
        Turns the parts round, so that of many small splits not all go to the first shard.
    """
    n_blocks = -(-grid.n_samples // block_rows)
    n_units = n_blocks * grid.n_views

    def owner(view: int, chunk: int) -> int:
        unit = grid.span(chunk)[0] // block_rows * grid.n_views + view
        return (unit * shard.count // n_units + offset) % shard.count

    return {cell for cell in grid.cells() if owner(*cell) == shard.index}


def block_rows(grids: Sequence[Grid]) -> int:
    """Return the most rows that a chunk of any of some representations has."""
    return max(g.chunk_rows for g in grids)
