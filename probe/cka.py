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
    squared = scatter[order] ** 2
    against_whole = np.cumsum(squared.sum(1))
    return _ratio(against_whole, _own_norm(squared[:, order]), np.sqrt(squared.sum()))


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
    norm_a = _own_norm(squared[np.ix_(order_a, order_a)])
    norm_b = _own_norm(squared[np.ix_(order_b, order_b)])
    return _ratio(_leading_sums(squared[np.ix_(order_a, order_b)]), norm_a, norm_b)


def _leading_sums(squared: NDArray[np.float64]) -> Curve:
    """Return the sum of every leading k x k block of a (d, d) matrix."""
    return np.cumsum(np.tril(squared).sum(1) + np.triu(squared, 1).sum(0))


def _own_norm(squared: NDArray[np.float64]) -> Curve:
    """Return ||C[S, S]||_F of every prefix S from the squared, permuted C."""
    return np.sqrt(_leading_sums(squared))


def _ratio(numerator: Curve, norm_a: Curve, norm_b: Curve | np.float64) -> Curve:
    """Divide; undefined where a norm is 0. Clipped, as rounding may pass the bounds of Cauchy-Schwarz by 1e-16."""
    denominator = norm_a * norm_b
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return np.clip(out, 0.0, 1.0)
