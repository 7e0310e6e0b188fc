"""The statistics of a representation, computed once and kept beside its features."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe
from probe.gathered import refuse_gathered
from probe.statistics import Statistics, statistics
from store import Features, NotFound, Store
from store.codecs import checksum

ALL_ROWS = "all"
"""Label of statistics that count every valid row."""


def statistics_of(
    store: Store,
    features: Features,
    *,
    rows: str = ALL_ROWS,
    chosen: NDArray[np.int64] | None = None,
    device: str = "cpu",
) -> Statistics:
    """Return the statistics of all views, from the store where they are there, else computed and put there.

    A sample of V views counts V times, once as each view shows it. Rows that are masked are left out. What is stored
    says which rows it counted: where these are not the ones that are asked for now (a representation that was made
    anew, another split under the same label), it is computed again.

    Parameters
    ----------
    rows
        Label of the rows: ``all``, or a name such as ``train-0.9-seed-0`` for those of ``chosen``.
    chosen
        Row numbers to count, shape (n,), int64, without doubles; every row where it is None and ``rows`` is ``all``.
        With another label, None takes what the store has under it.
    device
        ``cpu`` or ``cuda``: where they are computed.

    Raises
    ------
    InvalidProbe
        If fewer than two rows are left, a value is not finite, a chosen row does not exist, rows under a label are
        neither chosen nor stored, or only some of the layer's neurons are stored (`probe.gathered`).
    Corrupt
        If what is stored is not what was written; `drfarm store verify --discard` removes it.
    """
    refuse_gathered(features, "statistics of the whole layer")
    mask = counted_rows(features, rows, chosen)
    try:
        arrays = store.statistics.get(features.id, rows)
    except NotFound:
        arrays = None
    if arrays is not None and (mask is None or np.array_equal(arrays["rows"], rows_digest(features, mask))):
        return _unpacked(arrays)
    if mask is None:
        raise InvalidProbe(
            f"{features!r}: the store has no statistics of rows {rows!r}, and the rows were not given. Give `chosen`."
        )
    found = statistics(row_blocks(features, mask), len(features.classes), device=device)
    store.statistics.put(features.id, rows, _packed(found) | {"rows": rows_digest(features, mask)})
    return found


def counted_rows(features: Features, rows: str, chosen: NDArray[np.int64] | None) -> NDArray[np.bool_] | None:
    """Return which rows of a view count, shape (n_samples,); None where the caller does not say."""
    if chosen is None:
        return features.valid if rows == ALL_ROWS else None
    if rows == ALL_ROWS:
        raise InvalidProbe(f"{features!r}: rows {ALL_ROWS!r} means every row; give chosen rows a label of their own.")
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise InvalidProbe(f"{features!r}: expected row numbers, got {chosen.dtype} of shape {chosen.shape}.")
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < features.n_samples:
        raise InvalidProbe(
            f"{features!r}: rows are 0 to {features.n_samples - 1}, got {chosen.min()} to {chosen.max()}."
        )
    mask = np.zeros(features.n_samples, dtype=bool)
    mask[chosen] = True
    if np.count_nonzero(mask) != len(chosen):
        raise InvalidProbe(f"{features!r}: {len(chosen) - np.count_nonzero(mask)} of the chosen rows are doubles.")
    return mask & features.valid


def row_blocks(features: Features, mask: NDArray[np.bool_]) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Yield rows that count and their labels, chunk by chunk, one view after the other."""
    for view in range(features.n_views):
        for start, stop, block in features.blocks(view):
            keep = mask[start:stop]
            yield (block if keep.all() else block[keep]), features.labels[start:stop][keep]


def rows_digest(features: Features, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return a digest of which rows count, of every view, shape (2,), int64."""
    # Of several views it is another than of the same rows of one: that is what earlier versions counted.
    every = np.tile(mask, features.n_views)
    return np.frombuffer(bytes.fromhex(checksum(np.packbits(every))), "<i8").astype(np.int64)


def _packed(found: Statistics) -> dict[str, NDArray[Any]]:
    """Return the arrays to store: of the symmetric scatter only the rows from the diagonal on, one after the other."""
    width = found.width
    upper = np.empty(width * (width + 1) // 2)
    start = 0
    for i in range(width):
        upper[start : start + width - i] = found.scatter[i, i:]
        start += width - i
    return {
        "mean": found.mean,
        "scatter_upper": upper,
        "class_counts": found.class_counts,
        "class_sums": found.class_sums,
    }


def _unpacked(arrays: dict[str, NDArray[Any]]) -> Statistics:
    """Return what `_packed` took apart, bit for bit."""
    upper, width = arrays["scatter_upper"], len(arrays["mean"])
    scatter = np.empty((width, width))
    start = 0
    for i in range(width):
        scatter[i, i:] = upper[start : start + width - i]
        start += width - i
    for first in range(0, width, _TILE):  # in tiles: a whole column at a time would miss the cache at every value
        for second in range(0, first + 1, _TILE):
            below = scatter[first : first + _TILE, second : second + _TILE]
            above = scatter[second : second + _TILE, first : first + _TILE]
            if first == second:
                lower = np.tril_indices(len(above), -1)
                below[lower] = above.T[lower]
            else:
                below[:] = above.T
    # Copies, not views of the object that was read: they are small, and would keep all of it in memory.
    return Statistics(
        n=int(arrays["class_counts"].sum()),
        mean=arrays["mean"].copy(),
        scatter=scatter,
        class_counts=arrays["class_counts"].copy(),
        class_sums=arrays["class_sums"].copy(),
    )


_TILE = 128
"""Rows and columns that are mirrored at a time."""
