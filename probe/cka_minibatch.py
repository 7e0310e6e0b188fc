"""CKA as the authors' library STIR computes it on the first rows of a split, for comparison. Pure (no I/O).

Nguyen, Raghu and Kornblith (2020), "Do Wide and Deep Networks Learn the Same Things?", eq. 2-3, as STIR's
`CKA_minibatch.py` has it: the unbiased HSIC of Song et al. is taken in each batch, and

    CKA = mean HSIC(K, L) / (sqrt(mean HSIC(K, K)) sqrt(mean HSIC(L, L)))        with means over the batches.

One departure of the code from the formula is kept: `/ n * (n - 3)` divides by n and *multiplies* by n - 3, where
1 / (n (n - 3)) is meant. A batch of n rows then weighs (n - 3)^2 times as much: this cancels among equal batches, and a
short last batch counts for less. STIR computes in float32, here all is float64.

Batches are small, so Gram matrices (n x n) are: they grow by the neurons between one size and the next, and all sizes
of a part together cost one product of n^2 k for each batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import namespace
from probe.cka import above, ratio
from probe.cka_parts import Comparison, Part, check_request, coordinates, in_float64, least, reach, row_blocks
from probe.errors import InvalidProbe

PAPER_BATCH = 100
"""Rows of a batch in the authors' notebooks."""
PAPER_ROWS = 1000
"""Rows of the test split that the authors' notebooks take: the first."""


def minibatch(
    rows: NDArray[Any],
    parts: Sequence[Part],
    comparisons: Sequence[Comparison],
    sizes: Sequence[int],
    *,
    batch: int = PAPER_BATCH,
    limit: int = PAPER_ROWS,
) -> tuple[NDArray[np.float64], ...]:
    """Return STIR's mini-batch CKA over consecutive batches of the first rows, at the sizes asked for.

    Parameters
    ----------
    rows
        Features in the order of the split, shape (n, d), any float dtype.
    parts
        Neurons in order or directions, see `Part`.
    comparisons
        Which part against which, or against the whole layer (None).
    sizes
        Sizes k, rising.
    batch, limit
        Rows of a batch (at least 4), and how many of the first rows are used.

    Returns
    -------
    tuple of ndarray
        One for each comparison, shape (sizes,), float64. In [-1, 1]; NaN where a mean HSIC(K, K) is 0. Batches of
        fewer than 4 rows are left out: the released factor gives 3 rows no weight, fewer have no value.

    Raises
    ------
    InvalidProbe
        If parts, sizes, rows or the batch don't fit, or a value is not finite.
    """
    check_request(rows, parts, comparisons, sizes)
    batches = _batches(rows, limit, batch, fewest=4)
    return _values([b for b in batches if b.shape[0] >= 4], parts, comparisons, sizes, _released_hsic)


def last_batch(
    rows: NDArray[Any],
    parts: Sequence[Part],
    comparisons: Sequence[Comparison],
    sizes: Sequence[int],
    *,
    batch: int = PAPER_BATCH,
    limit: int = PAPER_ROWS,
) -> tuple[NDArray[np.float64], ...]:
    """Return what STIR's default gives: biased linear CKA of the last batch alone.

    `STIR()` takes `linear_CKA` unless told otherwise, and the object around it overwrites its value with each batch:
    of 1000 rows in batches of 100, rows 900 to 999 count. Arguments, result and errors are those of `minibatch`.
    """
    check_request(rows, parts, comparisons, sizes)
    return _values(_batches(rows, limit, batch, fewest=2)[-1:], parts, comparisons, sizes, _biased_hsic)


def _batches(rows: Any, limit: int, batch: int, *, fewest: int) -> list[Any]:
    if batch < fewest or limit < fewest:
        raise InvalidProbe(f"CKA in batches needs {fewest} rows in a batch and in all, got {batch} and {limit}.")
    return [rows[block, :] for block in row_blocks(min(limit, rows.shape[0]), batch)]


def _values(
    batches: Sequence[Any],
    parts: Sequence[Part],
    comparisons: Sequence[Comparison],
    sizes: Sequence[int],
    hsic: Callable[[Any, Any], Any],
) -> tuple[NDArray[np.float64], ...]:
    """Return sum HSIC(K, L) / sqrt(sum HSIC(K, K) sum HSIC(L, L)) over batches: their number cancels."""
    cross = np.zeros((len(comparisons), len(sizes)))
    own = np.zeros((len(parts) + 1, len(sizes)))  # the last: the whole layer
    nothing = np.zeros_like(own)
    lengths = [*map(reach, parts)]
    for block in batches:
        xp = namespace(block)
        x = in_float64(block)
        x -= xp.mean(x, axis=0)
        whole = x @ x.T
        trace = float(xp.linalg.trace(whole))
        along = [coordinates(x, part, sizes[-1]) for part in parts]
        grams = [*(xp.zeros_like(whole) for _ in parts), whole]
        own[-1, :] += float(hsic(whole, whole))
        nothing[-1, :] += least(trace, trace, 1.0)
        before = 0
        for column, k in enumerate(sizes):
            for i, z in enumerate(along):
                added = z[:, before:k]
                grams[i] += added @ added.T
                own[i, column] += float(hsic(grams[i], grams[i]))
                nothing[i, column] += least(float(xp.linalg.trace(grams[i])), trace, lengths[i])
            for i, (a, b) in enumerate(comparisons):
                cross[i, column] += float(hsic(grams[a], grams[-1 if b is None else b]))
            before = k
    own = above(own, nothing)
    return tuple(ratio(cross[i], own[a], own[-1 if b is None else b]) for i, (a, b) in enumerate(comparisons))


def _released_hsic(gram_a: Any, gram_b: Any) -> Any:
    """Return STIR's `unbiased_linear_HSIC` from Gram matrices of centred rows, (n, n), n >= 3.

    [tr(K~ L~) + (1' K~ 1)(1' L~ 1) / ((n - 1)(n - 2)) - 2 / (n - 2) 1' K~ L~ 1] / n * (n - 3), where K~ is K with zeros
    on its diagonal p. As K 1 = 0, K~ 1 = -p: the bracket is tr(K L) - n / (n - 2) p'q + sum p sum q / ((n - 1)(n - 2)).
    """
    xp = namespace(gram_a)
    n = gram_a.shape[0]
    p, q = xp.linalg.diagonal(gram_a), xp.linalg.diagonal(gram_b)
    totals = xp.sum(p) * xp.sum(q) / ((n - 1) * (n - 2))
    return (_biased_hsic(gram_a, gram_b) - n / (n - 2) * xp.sum(p * q) + totals) / n * (n - 3)


def _biased_hsic(gram_a: Any, gram_b: Any) -> Any:
    """Return tr(K L) of Gram matrices of centred rows."""
    return namespace(gram_a).sum(gram_a * gram_b)
