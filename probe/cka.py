"""Linear CKA of any subset from one covariance, at every size in one pass. Pure (no I/O).

Kornblith et al. (2019), "Similarity of Neural Network Representations Revisited", eq. 3 with linear kernels (Appendix
A of Nanda et al.): with centred X (n x a) and Y (n x b),

    CKA(X, Y) = ||X' Y||_F^2 / (||X' X||_F ||Y' Y||_F).

For subsets S and T of one layer with C = Xc' Xc (d x d), X' Y is the block C[S, T]; nothing n x n is ever formed. For
prefixes of neuron orders the squared norms are cumulative sums of C^2, so all d sizes cost O(d^2) together. A part may
also be directions: the coordinates X M of a matrix M (d x r) have X' Y = M_a' C M_b, and the same sums serve.

Written against the array API: curves come back in the library that holds the scatter (NumPy, CuPy).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace
from probe.errors import InvalidProbe

Curve = NDArray[np.float64]
"""CKA at every size k = 1 to d, shape (d,); NaN where it is undefined (all of a subset's neurons are constant)."""


def part_whole(scatter: NDArray[np.float64], order: NDArray[np.int64]) -> Curve:
    """Return CKA of the first k neurons of ``order`` against the whole layer, for every k.

    Parameters
    ----------
    scatter
        C = Xc' Xc, shape (d, d), float64.
    order
        Neurons without repetition, shape (r,), r <= d.

    Returns
    -------
    ndarray
        Shape (r,): entry k - 1 is ||C[S, :]||^2 / (||C[S, S]|| ||C||) with S the first k.
    """
    xp = namespace(scatter)
    order = xp.asarray(order)
    squared = scatter * scatter
    rows = xp.sum(squared, axis=1)
    cross = xp.cumulative_sum(xp.take(rows, order, axis=0))
    own = above(leading_sums(squared, order, order), nothing(scatter))
    return _bounded(ratio(cross, own, xp.sum(rows)))


def pair(scatter: NDArray[np.float64], order_a: NDArray[np.int64], order_b: NDArray[np.int64]) -> Curve:
    """Return CKA of the first k neurons of one order against the first k of another, for every k.

    Parameters
    ----------
    scatter
        C = Xc' Xc, shape (d, d), float64.
    order_a, order_b
        Neurons without repetition, both of shape (r,), r <= d.

    Returns
    -------
    ndarray
        Shape (r,): entry k - 1 is ||C[S, T]||^2 / (||C[S, S]|| ||C[T, T]||).
    """
    xp = namespace(scatter)
    order_a, order_b = xp.asarray(order_a), xp.asarray(order_b)
    squared = scatter * scatter
    own_a, own_b = (above(leading_sums(squared, o, o), nothing(scatter)) for o in (order_a, order_b))
    return _bounded(ratio(leading_sums(squared, order_a, order_b), own_a, own_b))


def part_whole_projected(scatter: NDArray[np.float64], matrix: NDArray[np.float64]) -> Curve:
    """Return CKA of the first k coordinates along directions against the whole layer, for every k.

    Parameters
    ----------
    scatter
        C = Xc' Xc, shape (d, d), float64.
    matrix
        Directions M as columns, shape (d, r), float64; the coordinates are X M.

    Returns
    -------
    ndarray
        Shape (r,): entry k - 1 is ||M_k' C||^2 / (||M_k' C M_k|| ||C||) with M_k the first k columns.

    Raises
    ------
    InvalidProbe
        If M has not one row for each neuron.
    """
    xp = namespace(scatter)
    half = _along(scatter, matrix).T @ scatter
    own = half @ matrix
    cross = xp.cumulative_sum(xp.sum(half * half, axis=1))
    own = above(_corner_sums(own * own), nothing(scatter, matrix))
    return _bounded(ratio(cross, own, xp.sum(scatter * scatter)))


def pair_projected(scatter: NDArray[np.float64], matrix_a: NDArray[np.float64], matrix_b: NDArray[np.float64]) -> Curve:
    """Return CKA of the first k coordinates of one set of directions against the first k of another, for every k.

    Parameters
    ----------
    scatter
        C = Xc' Xc, shape (d, d), float64.
    matrix_a, matrix_b
        Directions as columns, both of shape (d, r), float64.

    Returns
    -------
    ndarray
        Shape (r,): entry k - 1 is ||A_k' C B_k||^2 / (||A_k' C A_k|| ||B_k' C B_k||).

    Raises
    ------
    InvalidProbe
        If the shapes don't fit.
    """
    if matrix_a.shape != matrix_b.shape:
        raise InvalidProbe(
            f"a pair of projections has one shape, got {tuple(matrix_a.shape)} and {tuple(matrix_b.shape)}."
        )
    half_a, half_b = _along(scatter, matrix_a).T @ scatter, _along(scatter, matrix_b).T @ scatter
    cross, own_a, own_b = half_a @ matrix_b, half_a @ matrix_a, half_b @ matrix_b
    own_a = above(_corner_sums(own_a * own_a), nothing(scatter, matrix_a))
    own_b = above(_corner_sums(own_b * own_b), nothing(scatter, matrix_b))
    return _bounded(ratio(_corner_sums(cross * cross), own_a, own_b))


def _along(scatter: Any, matrix: Any) -> Any:
    if matrix.ndim != 2 or matrix.shape[0] != scatter.shape[0]:
        raise InvalidProbe(
            f"directions in a layer of {scatter.shape[0]} neurons have shape ({scatter.shape[0]}, r), "
            f"got {tuple(matrix.shape)}."
        )
    return matrix


_ROWS = 128
"""Rows that are permuted at a time: the permuted matrix as a whole is never made."""


def leading_sums(symmetric: Any, rows: Any, columns: Any) -> Any:
    """Return the sum of every leading k x k block of a symmetric (d, d) matrix whose rows and columns are permuted.

    Going from k - 1 to k adds row k up to the diagonal and column k above it; by symmetry the column is the row of the
    matrix with the two orders exchanged.
    """
    xp = namespace(symmetric)
    added, diagonal = _rows_to_diagonal(symmetric, rows, columns)
    across = added if rows is columns else _rows_to_diagonal(symmetric, columns, rows)[0]
    return xp.cumulative_sum(added + across - diagonal)


def _rows_to_diagonal(symmetric: Any, rows: Any, columns: Any) -> tuple[Any, Any]:
    """Return, for every k, the sum of row k of the permuted matrix up to and with its diagonal; and that diagonal."""
    xp = namespace(symmetric)
    sums, diagonals = [], []
    for start in range(0, rows.shape[0], _ROWS):
        stop = min(start + _ROWS, rows.shape[0])
        part = xp.take(xp.take(symmetric, rows[start:stop], axis=0), columns[:stop], axis=1)
        square = part[:, start:]
        sums.append(xp.sum(part[:, :start], axis=1) + xp.sum(xp.tril(square), axis=1))
        diagonals.append(xp.asarray(xp.linalg.diagonal(square), copy=True))  # a view would hold on to `part`
    return xp.concat(sums), xp.concat(diagonals)


def _corner_sums(matrix: Any) -> Any:
    """Return the sum of every leading k x k block of a square matrix as it stands."""
    xp = namespace(matrix)
    added = xp.sum(xp.tril(matrix), axis=1) + xp.sum(xp.triu(matrix), axis=0)
    return xp.cumulative_sum(added - xp.linalg.diagonal(matrix))


ROUNDING = 1e-12
"""A norm is nothing below this times the trace of the scatter.

Centring a constant neuron, and directions in which nothing varies (the last principal components where n < d), leave
rounding of about 1e-16 of the trace, and CKA would make a value of it.
"""
CANCELLED = 1e-12
"""An unbiased HSIC(S, S) is nothing below this times the squared trace of the part's scatter, or a like bound.

It is a difference of terms of that size, which cancel to about 1e-16; of real parts it is at least 1e-8.
"""


def nothing(scatter: Any, matrix: Any = None) -> Any:
    """Return the squared norm of a part's own scatter below which the part is constant but for rounding.

    ``matrix`` holds the part's directions as columns; None: the part consists of neurons.
    """
    xp = namespace(scatter)
    longest = 1.0 if matrix is None else xp.max(xp.sum(matrix * matrix, axis=0))
    return (ROUNDING * xp.linalg.trace(scatter) * longest) ** 2


def above(own: Any, least: Any) -> Any:
    """Return ``own`` with zeros where it is not above ``least``."""
    xp = namespace(own)
    return xp.where(own > least, own, xp.zeros_like(own))


def ratio(cross: Any, own_a: Any, own_b: Any) -> Any:
    """Return cross / sqrt(own_a own_b); NaN where one of the two is not above zero."""
    xp = namespace(cross)
    defined = (own_a > 0) & (own_b > 0)
    # Two roots, not the root of a product: that would leave the range of float64 first.
    below = xp.sqrt(xp.where(defined, own_a, 1.0)) * xp.sqrt(xp.where(defined, own_b, 1.0))
    return xp.where(defined, cross / below, xp.nan)


def _bounded(curve: Any) -> Any:
    """Clip to [0, 1]: rounding may pass the bounds of Cauchy-Schwarz by 1e-16."""
    return namespace(curve).clip(curve, 0.0, 1.0)
