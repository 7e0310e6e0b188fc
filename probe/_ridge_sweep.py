"""Class scores of every leading block of one Cholesky factor, streamed over test rows.

With S the centred scatter of r coordinates (r x r), X the cross product of features and one-hot labels (r x C) and
L L' = S + lambda I, the leading k x k block of L factors the leading block of S + lambda I, so the scores of a row x by
the ridge probe on the first k coordinates are

    y_mean + (x - mean)_k' (S_kk + lambda I)^-1 X_k = y_mean + sum over j < k of u_j z_j,
    z = L^-1 X (r x C),  u = L^-1 (x - mean) (r,),

because (L^-1)_kk = (L_kk)^-1 for a lower triangle. One running sum over j passes through the scores at every k.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe._arrays import cholesky, namespace, solve_triangular, to_numpy
from probe.errors import InvalidProbe
from probe.statistics import Statistics

Rows = tuple[NDArray[Any], NDArray[np.int64]]
"""Features, shape (n, r), any float dtype, and labels, shape (n,), int64."""

Place = Callable[[Any], Any]
"""Takes an array to where the products run; dtype and shape stay."""

_CPU_SCORES = 2**15
"""Scores of a tile on the CPU, float64: 256 KiB stay in a core's own cache while all sizes pass over them."""
_GPU_SCORES = 2**23
"""Scores of a tile elsewhere, float64: 64 MiB, so that launches cost little beside the work."""
_FEWEST, _MOST = 64, 2048
"""Rows of a tile on the CPU: enough to keep the triangular solve a fast product, few enough to bound its memory."""
_SPAN = 64
"""Sizes whose predictions are counted together."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One ridge regression, factored for every prefix; arrays are on the device."""

    lower: Any
    """L with L L' = S + lambda I, shape (r, r), float64."""
    z: Any
    """L^-1 X, shape (r, C), float64."""
    mean: Any
    """Mean of the coordinates over the training rows, shape (r,), float64."""
    prior: Any
    """Fraction of training rows of each class, shape (C,), float64: the scores at k = 0."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Predictions at some sizes, counted."""

    actual: NDArray[np.int64]
    """Rows per true class, shape (C,)."""
    correct: NDArray[np.int64]
    """Rows predicted right, per size, shape (s,)."""
    detailed: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]
    """Per size that was asked for: rows predicted right per true class and rows per predicted class, each (C,)."""


def factorise(train: Statistics, reach: int, penalty: float, place: Place) -> Factor:
    """Factor the first ``reach`` coordinates of the training rows.

    Raises
    ------
    InvalidProbe
        If the penalty is too small to make the scatter positive definite in float64. A factor that only rounding made
        possible is refused too: its last pivots would be noise.
    """
    scatter = place(train.scatter[:reach, :reach])
    xp = namespace(scatter)
    mean = place(train.mean[:reach])
    flat = xp.reshape(xp.asarray(scatter, copy=True), (-1,))
    flat[:: reach + 1] += penalty
    diagonal = flat[:: reach + 1]
    # What rounding leaves of a pivot that should be 0: r eps times the largest diagonal value in the factorisation
    # (Higham, Accuracy and Stability of Numerical Algorithms, theorem 10.3), and of the scatter of a constant neuron
    # n (eps mean)^2 from the subtraction of the mean.
    eps = float(np.finfo(np.float64).eps)
    floor = reach * eps * float(xp.max(diagonal)) + train.n * (8 * eps * float(xp.max(xp.abs(mean)))) ** 2
    too_small = (
        f"ridge with lambda = {penalty:g} on {reach} coordinates of {train.n} rows: the scatter is singular to float64 "
        "rounding (constant, duplicated or dependent neurons, or fewer rows than neurons). Take a larger lambda; 0.01 "
        f"of the mean eigenvalue is {0.01 * (float(xp.mean(diagonal)) - penalty):.3g} here."
    )
    try:
        lower = cholesky(xp.reshape(flat, (reach, reach)))
    except InvalidProbe as e:
        raise InvalidProbe(too_small) from e
    if not float(xp.min(xp.linalg.diagonal(lower))) ** 2 > floor:
        raise InvalidProbe(too_small)
    z = solve_triangular(lower, place(train.cross[:reach]))
    return Factor(lower=lower, z=_by_rows(z), mean=mean, prior=place(train.class_counts / train.n))


def sweep(
    factor: Factor,
    blocks: Callable[[], Iterable[Rows]],
    sizes: tuple[int, ...],
    *,
    detailed: frozenset[int],
    n_rows: int,
    place: Place,
) -> Counts:
    """Count the predictions of the probes on the first k coordinates, for every k of ``sizes`` (rising).

    Rows are cut into tiles of ``n_rows`` whatever the blocks, so blocks change no bit. The memory in use is that of
    `sweep_bytes`, whatever the number of rows.
    """
    reach, n_classes = factor.z.shape
    actual = np.zeros(n_classes, dtype=np.int64)
    correct = np.zeros(len(sizes), dtype=np.int64)
    found = {k: (np.zeros(n_classes, dtype=np.int64), np.zeros(n_classes, dtype=np.int64)) for k in sorted(detailed)}
    for features, labels in tiles(blocks(), n_rows, reach, n_classes):
        actual += np.bincount(labels, minlength=n_classes)
        correct += _count_tile(factor, features, labels, sizes, found, place)
    if not actual.sum():
        raise InvalidProbe("there are no rows to score.")
    return Counts(actual=actual, correct=correct, detailed=found)


def _count_tile(
    factor: Factor,
    features: Any,
    labels: NDArray[np.int64],
    sizes: tuple[int, ...],
    found: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]],
    place: Place,
) -> NDArray[np.int64]:
    """Return the rows of a tile that are predicted right, per size, and add to the counts per class in ``found``."""
    xp = namespace(factor.lower)
    whitened = _whitened(xp, factor, place(features))
    scores = xp.zeros((len(labels), factor.prior.shape[0]), dtype=xp.float64) + factor.prior
    truth = place(labels)
    steps = tuple(zip((0, *sizes), sizes, strict=False))
    right = []
    for first in range(0, len(sizes), _SPAN):
        guesses = []
        for start, stop in steps[first : first + _SPAN]:
            scores = _add_product(xp, scores, whitened[start:stop, :], factor.z[start:stop, :])
            guesses.append(xp.argmax(scores, axis=1))  # the first of equals: the lowest class
        stacked = xp.stack(guesses)
        right.append(xp.count_nonzero(stacked == truth, axis=1))
        for i, k in enumerate(sizes[first : first + _SPAN]):
            if k in found:
                guess = to_numpy(stacked[i, :])
                for total, part in zip(found[k], (labels[guess == labels], guess), strict=True):
                    total += np.bincount(part, minlength=len(total))
    return to_numpy(xp.concat(right))  # one transfer per tile


def _whitened(xp: Any, factor: Factor, features: Any) -> Any:
    """Return L^-1 (x - mean) of a tile (m, r), as columns: shape (r, m)."""
    if not bool(xp.all(xp.isfinite(features))):
        raise InvalidProbe("rows to score have features that are not finite (NaN or infinite).")
    solved = solve_triangular(factor.lower, xp.matrix_transpose(xp.astype(features, xp.float64) - factor.mean))
    # LAPACK answers column by column; the running sum reads one coordinate of all rows at a time.
    return _by_rows(solved)


def tile_rows(n_classes: int, device: str) -> int:
    """Return the rows of a tile."""
    if device != "cpu":
        return max(1, _GPU_SCORES // n_classes)
    return min(max(_CPU_SCORES // n_classes, _FEWEST), _MOST)


def sweep_bytes(reach: int, n_classes: int, device: str) -> int:
    """Return the most bytes that `factorise` and `sweep` hold, beside training statistics and the caller's blocks.

    Three matrices (r, r) while it is factored; then L, z, and of a tile the features twice in the caller's dtype (taken
    as float64) and twice while they are solved for, the scores and the predictions of a span.
    """
    rows = tile_rows(n_classes, device)
    tile = rows * (4 * reach + 2 * n_classes + 2 * _SPAN)
    return 8 * (max(3 * reach**2, reach**2 + tile) + 2 * reach * n_classes)


def tiles(blocks: Iterable[Rows], n_rows: int, width: int, n_classes: int) -> Iterator[Rows]:
    """Cut a stream of blocks into tiles of ``n_rows``, the last smaller, and of the first ``width`` coordinates.

    Raises
    ------
    InvalidProbe
        If rows are narrower than ``width`` or a label is no class.
    """
    held: list[Rows] = []
    n_held = 0
    for features, labels in blocks:
        y = np.asarray(to_numpy(labels), dtype=np.int64)
        if features.ndim != 2 or features.shape[1] < width or len(features) != len(y):
            raise InvalidProbe(
                f"rows to score: expected features of shape (n, at least {width}) and as many labels, got "
                f"{tuple(features.shape)} and {len(y)} labels."
            )
        if len(y) and not (y.min() >= 0 and y.max() < n_classes):
            raise InvalidProbe(f"rows to score: labels run from {y.min()} to {y.max()}, expected 0 to {n_classes - 1}.")
        start = 0
        while start < len(y):
            stop = min(start + n_rows - n_held, len(y))
            held.append((features[start:stop, :width], y[start:stop]))
            n_held += stop - start
            start = stop
            if n_held == n_rows:
                yield _joined(held)
                held, n_held = [], 0
    if n_held:
        yield _joined(held)


def _joined(held: list[Rows]) -> Rows:
    if len(held) == 1:
        return held[0]
    xp = namespace(held[0][0])
    return xp.concat([x for x, _ in held]), np.concatenate([y for _, y in held])


def _by_rows(array: Any) -> Any:
    """Return the same values with rows contiguous, where the library lets one see the difference."""
    return np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array


def _add_product(xp: Any, scores: Any, u: Any, z: Any) -> Any:
    """Return scores (m, C) plus u' z, with u of shape (g, m) and z of shape (g, C); NumPy's are changed in place."""
    if isinstance(scores, np.ndarray):
        from scipy.linalg.blas import dgemm

        # BLAS adds as it multiplies: one pass over the tile. All views below are in Fortran order, so none is copied.
        return dgemm(1.0, z.T, u.T, beta=1.0, c=scores.T, trans_b=1, overwrite_c=1).T
    return scores + xp.matmul(xp.matrix_transpose(u), z)
