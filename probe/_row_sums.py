"""Adding up a stream of rows in float64: mean, centred second moments, class sums. Pure (no I/O).

Rows are gathered into blocks of one fixed number, whatever blocks they come in, so that the sizes of those change no
bit of the result. Written against the array API: the same lines run on a GPU.
"""

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace, to_numpy

_BUFFER_BYTES = 32 * 2**20
"""Rows are gathered in float64 up to this size before their product: it costs as much for few rows as for many."""


def _rows_at_a_time(width: int) -> int:
    """Return how many rows make one product; it depends on the width alone, so results do on no block's size."""
    return min(max(_BUFFER_BYTES // (8 * width), 256), 8192)


class RowSums:
    """Sums of the rows so far, in the array library of the first row, shape (d,), and on its device.

    Everything is of the rows less a pivot, that first row. A neuron that is constant then has zeros throughout, hence
    a scatter of exactly 0 and not of rounding, and a large mean costs no digits.
    """

    def __init__(self, first: Any, n_classes: int) -> None:
        self._xp = xp = namespace(first)
        width = first.shape[0]
        self._device = device = array_api_compat.device(first)
        self._pivot = xp.astype(first, xp.float64)
        # One row more than is gathered: the place of the step from the mean so far to the block's (see `_flush`).
        self._rows = xp.empty((_rows_at_a_time(width) + 1, width), dtype=xp.float64, device=device)
        self._labels = np.empty(_rows_at_a_time(width), np.int64)
        self._held = 0
        self._n = 0
        self._mean = xp.zeros((width,), dtype=xp.float64, device=device)
        self._scatter = xp.zeros((width, width), dtype=xp.float64, device=device)
        self._counts = np.zeros(n_classes, np.int64)
        self._sums = xp.zeros((n_classes, width), dtype=xp.float64, device=device)

    def add(self, x: Any, labels: NDArray[np.int64]) -> None:
        """Gather rows; each time enough are there, add them up."""
        done = 0
        while done < len(labels):
            n = min(len(self._labels) - self._held, len(labels) - done)
            there = slice(self._held, self._held + n)
            self._rows[there, :] = x[done : done + n, :]
            self._rows[there, :] -= self._pivot
            self._labels[there] = labels[done : done + n]
            self._held += n
            done += n
            if self._held == len(self._labels):
                self._flush()

    def _flush(self) -> None:
        """Add up the rows that are gathered, m of them.

        The correction of Chan, Golub and LeVeque, (n m / (n + m)) delta delta', is the square of one more row,
        sqrt(n m / (n + m)) delta: with it below the centred rows, one product gives both.
        """
        xp, m = self._xp, self._held
        if not m:
            return
        self._counts += np.bincount(self._labels[:m], minlength=len(self._counts))
        self._sums += _class_sums(self._rows[:m, :], self._labels[:m], len(self._counts))
        mean = xp.mean(self._rows[:m, :], axis=0)
        self._rows[:m, :] -= mean
        delta = mean - self._mean
        self._rows[m, :] = delta * (self._n * m / (self._n + m)) ** 0.5
        with_step = self._rows[: m + 1, :]
        # NumPy sees a matrix times its own transpose, and computes one triangle only (syrk).
        self._scatter += xp.matrix_transpose(with_step) @ with_step
        self._n += m
        self._mean += delta * (m / self._n)
        self._held = 0

    def finished(self) -> tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Return rows, mean, scatter, class counts and class sums, all in NumPy; nothing may be added after."""
        self._flush()
        pivot = to_numpy(self._pivot)
        scatter = to_numpy(self._scatter)
        if not array_api_compat.is_numpy_array(self._scatter):  # a plain product is symmetric but for rounding
            scatter = (scatter + scatter.T) / 2
        sums = to_numpy(self._sums) + np.outer(self._counts, pivot)
        return self._n, to_numpy(self._mean) + pivot, scatter, self._counts, sums


def _class_sums(rows: Any, labels: NDArray[np.int64], n_classes: int) -> Any:
    """Return the sums of the rows of each class, shape (C, d)."""
    if array_api_compat.is_numpy_array(rows):
        from scipy.sparse import csr_array

        # 20 times faster than a dense product with one-hot labels, for 100 classes.
        one_hot = csr_array((np.ones(len(labels)), labels, np.arange(len(labels) + 1)), shape=(len(labels), n_classes))
        return one_hot.T @ rows
    xp = namespace(rows)
    device = array_api_compat.device(rows)
    given = xp.asarray(labels, device=device)
    classes = xp.arange(n_classes, dtype=given.dtype, device=device)
    return xp.astype(classes[:, None] == given[None, :], xp.float64) @ rows
