"""Debiased linear CKA of any subset at every size in one pass: unbiased HSIC as a sum over pairs of neurons. Pure.

The biased estimate grows with the number of neurons alone: with n rows, k independent neurons have CKA of about
k / (n + k) with k others. The unbiased estimator of HSIC (Song et al. 2012, "Feature Selection via Dependence
Maximization", eq. 5) of Gram matrices K and L, whose diagonals are set to 0 (K~, L~), is

    n (n - 3) HSIC = tr(K~ L~) + (1' K~ 1)(1' L~ 1) / ((n - 1)(n - 2)) - 2 / (n - 2) 1' K~ L~ 1,

and centring the features first does not change it. With centred rows the rows of K = Xc,S Xc,S' sum to 0, so with
p_i = ||xc_i,S||^2 and q_i = ||xc_i,T||^2 on the diagonals, K~ 1 = -p and L~ 1 = -q, and

    tr(K~ L~)  = ||C[S, T]||^2 - p'q,        1' K~ L~ 1 = p'q,        1' K~ 1 = -sum p = -tr C[S, S],
    n (n - 3) HSIC(S, T) = ||C[S, T]||^2 - n / (n - 2) p'q + tr C[S, S] tr C[T, T] / ((n - 1)(n - 2)),

the form in Kornblith et al.'s (2019) code. As p'q = sum_i (sum_a xc_ia^2)(sum_b xc_ib^2), each of the three is a sum
over the neurons a in S and b in T, and so is HSIC: with Q = (Xc o Xc)' (Xc o Xc),

    U_ab = C_ab^2 - n / (n - 2) Q_ab + C_aa C_bb / ((n - 1)(n - 2)),        n (n - 3) HSIC(S, T) = sum of U[S, T].

U (d x d) takes the place of C^2 in the cumulative sums of `probe.cka`; debiased CKA is HSIC(S, T) /
sqrt(HSIC(S, S) HSIC(T, T)). The unbiased HSIC is an inner product, that of U-centred Gram matrices (Szekely and Rizzo
2014, "Partial distance correlation with methods for dissimilarities", sec. 2), so HSIC(S, S) >= 0 and the ratio lies in
[-1, 1]. Below 0 it is not clipped: that would bring the bias back. It is undefined (NaN) with fewer than 4 rows, and
where HSIC(S, S) is 0: all neurons of the part are constant, or differ from a constant in one row only.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace
from probe.cka import CANCELLED, Curve, above, leading_sums, nothing, ratio
from probe.errors import InvalidProbe


def squared_moments(blocks: Iterable[NDArray[Any]], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Q = (Xc o Xc)' (Xc o Xc) of all rows of a stream of blocks, added up in float64.

    Parameters
    ----------
    blocks
        Rows, each block of shape (n, d), any float dtype. Q of several streams with one ``mean`` is the sum of theirs.
    mean
        Mean of each neuron over *all* rows, shape (d,): a first pass gives it.

    Returns
    -------
    ndarray
        Shape (d, d), float64: entry (a, b) is the sum over rows of xc_a^2 xc_b^2.

    Raises
    ------
    InvalidProbe
        If there is no row, or the widths differ.
    """
    xp = namespace(mean)
    total: Any = None
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != mean.shape[0]:
            raise InvalidProbe(f"expected rows of shape (n, {mean.shape[0]}), as the mean, got {tuple(block.shape)}.")
        if block.shape[0]:
            squares = (xp.astype(block, xp.float64) - mean) ** 2
            part = squares.T @ squares
            total = part if total is None else total + part
    if total is None:
        raise InvalidProbe("squared moments need at least one row, got none.")
    return total


def hsic_matrix(scatter: NDArray[np.float64], squares: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return U, whose sums over blocks are n (n - 3) times the unbiased HSIC of two sets of neurons.

    Parameters
    ----------
    scatter
        C = Xc' Xc, shape (d, d), float64.
    squares
        Q of the same rows, from `squared_moments`, shape (d, d), float64.
    n
        Rows.

    Returns
    -------
    ndarray
        Shape (d, d), symmetric; all NaN with fewer than 4 rows.
    """
    xp = namespace(scatter, squares)
    if n < 4:
        return xp.full_like(scatter, xp.nan)
    variances = xp.linalg.diagonal(scatter)
    found = scatter * scatter
    found -= squares * (n / (n - 2))
    found += variances[:, None] * (variances / ((n - 1) * (n - 2)))[None, :]
    # A neuron that is constant, or active in one row only, has no HSIC with any other; what is left of it is rounding.
    own = xp.linalg.diagonal(found)
    some = (variances**2 > nothing(scatter)) & (own > CANCELLED * variances**2)
    return found * xp.astype(some[:, None] & some[None, :], xp.float64)


def part_whole(hsic: NDArray[np.float64], order: NDArray[np.int64]) -> Curve:
    """Return debiased CKA of the first k neurons of ``order`` against the whole layer, for every k.

    Parameters
    ----------
    hsic
        U of `hsic_matrix`, shape (d, d), float64.
    order
        Neurons without repetition, shape (r,), r <= d.

    Returns
    -------
    ndarray
        Shape (r,), in [-1, 1]; NaN where undefined.
    """
    xp = namespace(hsic)
    order = xp.asarray(order)
    rows = xp.sum(hsic, axis=1)
    cross = xp.cumulative_sum(xp.take(rows, order, axis=0))
    whole = above(xp.sum(rows), CANCELLED * xp.sum(_lengths(hsic)) ** 2)
    return ratio(cross, _own(hsic, order), whole)


def pair(hsic: NDArray[np.float64], order_a: NDArray[np.int64], order_b: NDArray[np.int64]) -> Curve:
    """Return debiased CKA of the first k neurons of one order against the first k of another, for every k.

    Parameters
    ----------
    hsic
        U of `hsic_matrix`, shape (d, d), float64.
    order_a, order_b
        Neurons without repetition, both of shape (r,), r <= d.

    Returns
    -------
    ndarray
        Shape (r,), in [-1, 1]; NaN where undefined.
    """
    xp = namespace(hsic)
    order_a, order_b = xp.asarray(order_a), xp.asarray(order_b)
    return ratio(leading_sums(hsic, order_a, order_b), _own(hsic, order_a), _own(hsic, order_b))


def _own(hsic: Any, order: Any) -> Any:
    """Return HSIC(S, S) of the first k neurons for every k, with 0 for what is rounding beside its bound."""
    xp = namespace(hsic)
    bound = xp.cumulative_sum(xp.take(_lengths(hsic), order, axis=0)) ** 2  # the triangle inequality
    return above(leading_sums(hsic, order, order), CANCELLED * bound)


def _lengths(hsic: Any) -> Any:
    """Return the root of HSIC(a, a) of each neuron."""
    xp = namespace(hsic)
    return xp.sqrt(xp.linalg.diagonal(hsic))
