"""Two sets of curves in one: the cell of side A and that of side B of each pair, told apart by place. Pure (no I/O).

Everything that works on `Curves` then works on both sides at once. Ranks of seeds are those of a table, so that they
are replaced by the seeds themselves: seed 3 of one table is seed 3 of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate._curves import Curves
from aggregate._runs import Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCurves:
    """Curves of 2 n cells: 0 .. n - 1 are those of side A, n .. 2 n - 1 those of side B."""

    both: Curves
    """The curves; `seed` holds seeds and not ranks, `source` is -1 throughout."""
    n_pairs: int
    """n."""

    @property
    def bounds(self) -> Integers:
        """First size of each cell, and the number of sizes, shape (2 n + 1,)."""
        return np.searchsorted(self.both.cell, np.arange(2 * self.n_pairs + 1)).astype(np.int64)


def pair_curves(
    a: Curves, seeds_a: Integers, cells_a: Sequence[int], b: Curves, seeds_b: Integers, cells_b: Sequence[int]
) -> PairedCurves:
    """Join chosen cells of two tables, in the order given; a cell may be chosen several times."""
    parts = _take(a, seeds_a, cells_a), _take(b, seeds_b, cells_b)
    n, n_sizes, n_values = len(cells_a), parts[0]["size"].size, parts[0]["seed"].size
    joined: dict[str, NDArray[Any]] = {}
    for name, first in parts[0].items():
        second = parts[1][name]
        if name == "cell":
            second = second + n
        elif name == "previous":
            second = np.where(second >= 0, second + n_sizes, -1)
        elif name == "starts":
            second = second + n_values
        joined[name] = np.concatenate([first, second])
    return PairedCurves(both=Curves(**joined), n_pairs=n)


def _take(curves: Curves, seeds: Integers, cells: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return the fields of the curves of chosen cells, which become cells 0, 1, ..."""
    chosen = np.asarray(cells, dtype=np.int64)
    rows, cell = _spans(np.searchsorted(curves.cell, chosen), np.searchsorted(curves.cell, chosen, side="right"))
    ends = np.append(curves.starts, curves.seed_value.size)
    values, owner = _spans(ends[rows], ends[rows + 1])
    taken: dict[str, NDArray[Any]] = {}
    for field in fields(Curves):
        array = getattr(curves, field.name)
        if field.name in ("seed", "seed_value", "seed_whole"):
            taken[field.name] = array[values]
        elif field.name in ("whole", "source", "n_undefined", "width"):
            taken[field.name] = array[chosen]
        else:
            taken[field.name] = array[rows]
    same = np.diff(cell, prepend=-1) == 0
    return {
        **taken,
        "cell": cell,
        "source": np.full(chosen.size, -1, dtype=np.int64),
        "previous": np.where(same, np.arange(cell.size) - 1, -1),
        "starts": np.searchsorted(owner, np.arange(rows.size)).astype(np.int64),
        "seed": seeds[taken["seed"]],
    }


def _spans(start: Integers, stop: Integers) -> tuple[Integers, Integers]:
    """Return all integers of [start_i, stop_i) one after the other, and i of each."""
    length = stop - start
    owner = np.repeat(np.arange(length.size), length)
    offset = np.cumsum(length) - length
    return np.arange(owner.size) - offset[owner] + start[owner], owner
