"""Linear CKA of any subset from one covariance, at every size in one pass.

Kornblith et al. (2019), "Similarity of Neural Network Representations Revisited", eq. 3 with linear kernels (Appendix
A of Nanda et al.): with centred X (n x a) and Y (n x b),

    CKA(X, Y) = ||X' Y||_F^2 / (||X' X||_F ||Y' Y||_F).

For subsets S and T of one layer with C = Xc' Xc (d x d), X' Y is the block C[S, T]; nothing n x n is ever formed. For
prefixes of neuron orders the squared norms are cumulative sums of C^2, so all d sizes cost O(d^2) together.
"""

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
"""CKA at every size k = 1 to d, shape (d,); NaN where it is undefined (all of a subset's neurons are constant)."""


def part_whole(scatter: NDArray[np.float64], order: NDArray[np.int64]) -> Curve:
    """Return CKA of the first k neurons of ``order`` against the whole layer, for every k.

    Parameters
    ----------
    scatter
        C = Xc' Xc, shape (d, d), float64.
    order
        A permutation of the neurons, shape (d,).

    Returns
    -------
    ndarray
        Shape (d,): entry k - 1 is ||C[S, :]||^2 / (||C[S, S]|| ||C||) with S the first k.
    """
    squared = scatter**2
    rows = squared.sum(1)
    own = np.sqrt(_leading_sums(squared, order, order))
    return _ratio(np.cumsum(rows[order]), own, np.sqrt(rows.sum()))


def pair(scatter: NDArray[np.float64], order_a: NDArray[np.int64], order_b: NDArray[np.int64]) -> Curve:
    """Return CKA of the first k neurons of one order against the first k of another, for every k.

    Parameters
    ----------
    scatter
        C = Xc' Xc, shape (d, d), float64.
    order_a, order_b
        Permutations of the neurons, shape (d,).

    Returns
    -------
    ndarray
        Shape (d,): entry k - 1 is ||C[S, T]||^2 / (||C[S, S]|| ||C[T, T]||).
    """
    squared = scatter**2
    norm_a = np.sqrt(_leading_sums(squared, order_a, order_a))
    norm_b = np.sqrt(_leading_sums(squared, order_b, order_b))
    return _ratio(_leading_sums(squared, order_a, order_b), norm_a, norm_b)


_ROWS = 128
"""Rows that are permuted at a time: the permuted matrix as a whole is never made."""


def _leading_sums(squared: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Curve:
    """Return the sum of every leading k x k block of a symmetric (d, d) matrix whose rows and columns are permuted.

    Going from k - 1 to k adds row k up to the diagonal and column k above it; by symmetry the column is the row of the
    matrix with the two orders exchanged.
    """
    added = _rows_to_diagonal(squared, rows, columns)
    across = added if rows is columns else _rows_to_diagonal(squared, columns, rows)
    return np.cumsum(added + across - squared[rows, columns])


def _rows_to_diagonal(squared: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Curve:
    """Return, for every k, the sum of row k of the permuted matrix up to and with its diagonal."""
    sums = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        stop = min(start + _ROWS, len(rows))
        part = squared.take(rows[start:stop], axis=0).take(columns[:stop], axis=1)
        sums[start:stop] = part[:, :start].sum(1) + np.tril(part[:, start:]).sum(1)
    return sums


def _ratio(numerator: Curve, norm_a: Curve, norm_b: Curve | np.float64) -> Curve:
    """Divide; undefined where a norm is 0. Clipped, as rounding may pass the bounds of Cauchy-Schwarz by 1e-16."""
    denominator = norm_a * norm_b
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return np.clip(out, 0.0, 1.0)
