"""Mean, second moments and class sums of a representation, streamed in float64, mergeable in any order. Pure (no I/O).

CKA, PCA and ridge need nothing else of the rows they are fitted on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace, on_device, to_numpy
from probe._row_sums import RowSums
from probe.errors import InvalidProbe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """What linear methods need of n rows of d neurons, labelled with C classes."""

    n: int
    """Rows."""
    mean: NDArray[np.float64]
    """Mean of each neuron, shape (d,)."""
    scatter: NDArray[np.float64]
    """Centred second moments, Xc' Xc, shape (d, d); symmetric."""
    class_counts: NDArray[np.int64]
    """Rows of each class, shape (C,); 0 for a class that is absent."""
    class_sums: NDArray[np.float64]
    """Sums of the raw rows of each class, shape (C, d)."""

    def __post_init__(self) -> None:
        d, c = self.mean.shape[0], self.class_counts.shape[0]
        shapes = (self.mean.shape, self.scatter.shape, self.class_counts.shape, self.class_sums.shape)
        if shapes != ((d,), (d, d), (c,), (c, d)):
            raise InvalidProbe(f"expected shapes (d,), (d, d), (C,), (C, d) of statistics, got {shapes}.")
        if int(self.class_counts.sum()) != self.n:
            raise InvalidProbe(f"the rows of the classes are {self.class_counts.sum()}, expected {self.n}.")

    @property
    def width(self) -> int:
        """Neurons, d."""
        return self.mean.shape[0]

    @property
    def n_classes(self) -> int:
        """Classes, C."""
        return self.class_counts.shape[0]

    @property
    def cross(self) -> NDArray[np.float64]:
        """Xc' Y for one-hot labels Y (n, C), shape (d, C). Xc' Y = Xc' Yc too, as the columns of Xc sum to 0."""
        return np.ascontiguousarray((self.class_sums - np.outer(self.class_counts, self.mean)).T)

    def projected(self, matrix: NDArray[np.float64]) -> "Statistics":
        """Return the statistics of the coordinates ``x @ matrix``.

        Parameters
        ----------
        matrix
            Directions as columns, shape (d, r), float64.

        Raises
        ------
        InvalidProbe
            If the matrix has another number of rows than there are neurons.
        """
        if matrix.ndim != 2 or len(matrix) != self.width:
            raise InvalidProbe(f"expected a matrix of {self.width} rows, one per neuron, got shape {matrix.shape}.")
        scatter = matrix.T @ (self.scatter @ matrix)
        scatter = (scatter + scatter.T) / 2  # symmetric but for rounding; Cholesky and CKA take it as exactly so
        return Statistics(
            n=self.n,
            mean=self.mean @ matrix,
            scatter=scatter,
            class_counts=self.class_counts,
            class_sums=self.class_sums @ matrix,
        )

    def permuted(self, order: NDArray[np.int64]) -> "Statistics":
        """Return the statistics of the neurons ``x[:, order]``.

        Parameters
        ----------
        order
            Neurons to keep, in their new order, shape (r,).

        Raises
        ------
        InvalidProbe
            If one is not a neuron's number.
        """
        if order.ndim != 1 or (order.size and not 0 <= order.min() <= order.max() < self.width):
            raise InvalidProbe(f"expected a list of neurons 0 to {self.width - 1}, got {order!r}.")
        return Statistics(
            n=self.n,
            mean=self.mean[order],
            scatter=self.scatter.take(order, axis=0).take(order, axis=1),
            class_counts=self.class_counts,
            class_sums=self.class_sums[:, order],
        )


def block_statistics(x: NDArray[Any], labels: NDArray[np.int64], n_classes: int, *, device: str = "cpu") -> Statistics:
    """Return the statistics of one block of rows; it may have one row, or none.

    Parameters
    ----------
    x
        Activations, shape (n, d), any float dtype; computed in float64.
    labels
        Classes, shape (n,), int64, each in 0 to n_classes - 1.
    n_classes
        Classes, C.
    device
        ``cpu``, or ``cuda`` to compute with CuPy; what comes out is in NumPy either way.

    Raises
    ------
    InvalidProbe
        If shapes or labels are off, or a value is not finite.
    """
    total = _gathered(_placed([(x, labels)], device), n_classes)
    assert total is not None  # there is one block
    return total


def merge(a: Statistics, b: Statistics) -> Statistics:
    """Merge the statistics of two sets of rows; any order and grouping gives the same but for rounding.

    Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances":
    S = S_a + S_b + (n_a n_b / n) delta delta', delta = mean_b - mean_a.

    Raises
    ------
    InvalidProbe
        If they have different neurons or classes.
    """
    if (a.width, a.n_classes) != (b.width, b.n_classes):
        raise InvalidProbe(
            f"statistics of {a.width} neurons and {a.n_classes} classes can't be merged with those of {b.width} "
            f"neurons and {b.n_classes} classes: they are of different representations."
        )
    if not a.n or not b.n:
        return a if a.n else b
    n = a.n + b.n
    delta = b.mean - a.mean
    scatter = np.outer(delta * (a.n * b.n / n), delta)
    scatter += a.scatter
    scatter += b.scatter
    return Statistics(
        n=n,
        mean=a.mean + delta * (b.n / n),
        scatter=scatter,
        class_counts=a.class_counts + b.class_counts,
        class_sums=a.class_sums + b.class_sums,
    )


def statistics(
    blocks: Iterable[tuple[NDArray[Any], NDArray[np.int64]]], n_classes: int, *, device: str = "cpu"
) -> Statistics:
    """Return the statistics of all rows of a stream of blocks.

    Parameters
    ----------
    blocks
        Pairs of activations (n, d) and labels (n,), as for `block_statistics`; blocks of no rows are passed over.
    n_classes
        Classes, C.
    device
        ``cpu``, or ``cuda`` to compute with CuPy.

    Raises
    ------
    InvalidProbe
        If there are fewer than two rows, a value is not finite (the message says in how many rows), a label is no
        class, or blocks differ in width.
    """
    total = _gathered(_placed(blocks, device), n_classes)
    if total is None or total.n < 2:
        raise InvalidProbe(f"statistics need at least two rows, got {0 if total is None else total.n}.")
    return total


def _gathered(blocks: Iterable[tuple[Any, NDArray[np.int64]]], n_classes: int) -> Statistics | None:
    """Return the statistics of a stream, in the library of its first block; None where it has no block at all."""
    total: RowSums | None = None
    width: int | None = None
    n_rows = n_bad = first_bad = 0
    with np.errstate(over="ignore", invalid="ignore"):  # `_statistics_of` looks at what came out
        for x, labels in blocks:
            width = _checked(x, labels, n_classes, width)
            bad = _not_finite(x)
            if len(bad) and not n_bad:
                first_bad = n_rows + int(bad[0])
            n_bad += len(bad)
            n_rows += len(labels)
            if n_bad or not len(labels):  # after a bad row, go on only to count them all
                continue
            if total is None:
                total = RowSums(x[0, :], n_classes)
            total.add(x, labels)
        if n_bad:
            raise InvalidProbe(
                f"activations are NaN or infinite in {n_bad} of {n_rows} rows, the first of them row {first_bad} (from "
                "0). Store them as float32 if they overflow float16, or leave those rows out."
            )
        if total is not None:
            return _statistics_of(total)
    return None if width is None else _nothing(width, n_classes)


def _statistics_of(total: RowSums) -> Statistics:
    n, mean, scatter, counts, sums = total.finished()
    if not (np.isfinite(scatter).all() and np.isfinite(sums).all()):
        raise InvalidProbe("activations are so large that their squares overflow float64. Scale them down.")
    return Statistics(n=n, mean=mean, scatter=scatter, class_counts=counts, class_sums=sums)


def _placed(blocks: Iterable[tuple[Any, NDArray[np.int64]]], device: str) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    for x, labels in blocks:
        yield on_device(x, device), to_numpy(labels)


def _checked(x: Any, labels: NDArray[np.int64], n_classes: int, width: int | None) -> int:
    """Refuse a block that can't be added up; return its width."""
    if n_classes < 1:
        raise InvalidProbe(f"expected at least one class, got {n_classes}.")
    if x.ndim != 2 or x.shape[1] < 1 or labels.shape != (x.shape[0],):
        raise InvalidProbe(
            f"expected activations (n, d) with d >= 1 and labels (n,), got shapes {tuple(x.shape)} and {labels.shape}."
        )
    if width is not None and x.shape[1] != width:
        raise InvalidProbe(f"blocks of {width} and of {x.shape[1]} neurons: they are of different representations.")
    if labels.dtype.kind not in "iu":
        raise InvalidProbe(f"expected labels as whole numbers, got {labels.dtype}.")
    if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
        raise InvalidProbe(
            f"labels run from {labels.min()} to {labels.max()}, but there are {n_classes} classes, numbered from 0."
        )
    return int(x.shape[1])


def _not_finite(x: Any) -> NDArray[np.int64]:
    """Return the rows with a value that is not finite."""
    xp = namespace(x)
    finite = xp.isfinite(x)
    if bool(xp.all(finite)):
        return np.empty(0, np.int64)
    return np.flatnonzero(~to_numpy(xp.all(finite, axis=1)))


def _nothing(width: int, n_classes: int) -> Statistics:
    return Statistics(
        n=0,
        mean=np.zeros(width),
        scatter=np.zeros((width, width)),
        class_counts=np.zeros(n_classes, np.int64),
        class_sums=np.zeros((n_classes, width)),
    )
