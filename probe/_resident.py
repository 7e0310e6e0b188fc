"""The training features of one view in memory, once, with their neurons in the order of the stack at work."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 1024
"""Rows that are gathered at a time."""


class Resident:
    """Features of a view, and which columns of the representation they are, in order.

    Parameters
    ----------
    x
        Features, shape (n, r), any float dtype.
    order
        Columns, shape (r,), int64, distinct.
    view
        Number of the view.
    """

    def __init__(self, x: NDArray[Any], order: NDArray[np.int64], view: int = 0) -> None:
        self.x = x
        self.view = view
        self._order = order

    def holds(self, order: NDArray[np.int64]) -> bool:
        """Say whether it has these columns and no others, in whatever order."""
        return len(order) == len(self._order) and np.array_equal(np.sort(order), np.sort(self._order))

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Permute the columns in place, a few rows at a time: no second copy of the representation."""
        by_column = np.argsort(self._order)
        move = by_column[np.searchsorted(self._order, order, sorter=by_column)]
        for start in range(0, len(self.x), _ROWS):
            part = self.x[start : start + _ROWS]
            part[:] = part[:, move]
        self._order = order


def all_columns(order: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return an order of all columns that begins with the given ones: other stacks will want others."""
    if len(order) == width:
        return order
    rest = np.ones(width, dtype=np.bool_)
    rest[order] = False
    return np.concatenate([order, np.flatnonzero(rest)])
