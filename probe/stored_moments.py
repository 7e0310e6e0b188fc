"""How much the stored neurons of a gathered layer vary: what stands for the scale of the layer, which is not there.

The mean over neurons of their squares about the mean is what penalties are relative to. Of a whole layer it comes with
its statistics; of a gathered one it is that of the stored neurons, counted once and kept beside the features.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe
from probe.stored_statistics import ALL_ROWS, counted_rows, row_blocks, rows_digest
from store import Features, NotFound, Store


def squares_of(
    store: Store, features: Features, *, rows: str = ALL_ROWS, chosen: NDArray[np.int64] | None = None
) -> tuple[int, NDArray[np.float64]]:
    """Return the rows that count, of all views, and of each stored neuron the sum of squares about its mean.

    Parameters
    ----------
    rows, chosen
        As for `probe.stored_statistics.statistics_of`.

    Returns
    -------
    tuple
        Rows n, and sums of shape (width,), float64.

    Raises
    ------
    InvalidProbe
        If there is no row, or a value is not finite.
    """
    mask = counted_rows(features, rows, chosen)
    assert mask is not None  # `chosen` goes with any label but all
    label, digest = f"squares-{rows}", rows_digest(features, mask)
    try:
        arrays = store.statistics.get(features.id, label)
        if np.array_equal(arrays["rows"], digest):
            return int(arrays["n"][0]), arrays["squares"].copy()
    except NotFound:
        pass
    n, squares = column_squares(x for x, _ in row_blocks(features, mask))
    store.statistics.put(features.id, label, {"n": np.array([n]), "squares": squares, "rows": digest})
    return n, squares


def column_squares(blocks: Iterable[NDArray[Any]]) -> tuple[int, NDArray[np.float64]]:
    """Return the rows of a stream of blocks (n, d), and the sum of squares of each column about its mean, (d,).

    Blocks are merged by the formula of Chan, Golub and LeVeque (`probe.statistics.merge`).
    """
    n, mean, squares = 0, np.zeros(0), np.zeros(0)
    for block in blocks:
        m = len(block)
        if not m:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # looked at below
            x = block.astype(np.float64)
            own = x.mean(0)
            x -= own
            spread = np.einsum("ij,ij->j", x, x)
        if not np.isfinite(spread).all():
            raise InvalidProbe(
                "activations are NaN or infinite. Store them as float32 if they overflow float16, or leave those rows "
                "out."
            )
        if not n:
            n, mean, squares = m, own, spread
            continue
        delta = own - mean
        squares += spread + delta * delta * (n * m / (n + m))
        mean += delta * (m / (n + m))
        n += m
    if not n:
        raise InvalidProbe("the scale of a layer needs at least one row, got 0.")
    return n, squares
