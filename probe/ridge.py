"""Solver ``ridge``: a closed-form linear probe on the first k coordinates, at every k from one factorisation.

Ridge regression of one-hot labels with an unpenalised intercept; a row is given the class of the largest score, the
lowest of equals. What scikit-learn's ``Ridge(alpha=lambda).fit(x[:, :k], one_hot)`` fits, for all k at the price of
about one of them (the formulas are in `probe._ridge_sweep`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from probe._arrays import on_device
from probe._ridge_sweep import Place, Rows, factorise, sweep, sweep_bytes, tile_rows
from probe.errors import InvalidProbe
from probe.scores import Score
from probe.statistics import Statistics
from probe.subsets import check_sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeCurve:
    """Accuracy of the ridge probes on the first k coordinates, for s sizes k."""

    sizes: NDArray[np.int64]
    """Subset sizes k, rising, shape (s,)."""
    lambdas: NDArray[np.float64]
    """Penalty of each size, shape (s,): the one that was given, or the best on the validation rows."""
    n_test: int
    """Test rows."""
    correct: NDArray[np.int64]
    """Test rows predicted right, shape (s,)."""
    val_accuracies: NDArray[np.float64] | None
    """Validation accuracy with the penalty of each size, shape (s,); None without validation rows."""
    scores: dict[int, Score]
    """Counts per class, for the sizes of which they were asked."""

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """Plain top-1 on the test rows, shape (s,)."""
        return self.correct / self.n_test


def fit_ridge(
    train: Statistics,
    test: Callable[[], Iterable[Rows]],
    *,
    lambdas: Sequence[float],
    sizes: Iterable[int] | None = None,
    detailed: Iterable[int] = (),
    validation: Callable[[], Iterable[Rows]] | None = None,
    device: str = "cpu",
) -> RidgeCurve:
    """Score the ridge probes on the first k coordinates, for many or all k.

    For r coordinates, C classes and m test rows: one Cholesky factor (r^3 / 3 operations), one triangular solve (m r^2)
    and, for each k, an update of m x C scores with their argmax (m C). Memory is that of `ridge_bytes`, whatever m.

    Parameters
    ----------
    train
        Statistics of the training rows in the order in which coordinates are taken up: mean (r,), scatter (r, r).
    test
        Called once for each penalty that a size keeps; yields blocks of test rows, features of shape (m, r) in the same
        order, any float dtype, and labels, shape (m,), int64. How rows are cut into blocks changes nothing.
    lambdas
        Penalties, each >= 0. Of several, each size keeps the one of best validation accuracy, the largest of equals.
    sizes
        Sizes k, each 1 to r; every k by default.
    detailed
        Sizes of which the counts per class are kept, each one of ``sizes``.
    validation
        Like ``test``, called once for each penalty. Needed to choose among several.
    device
        Where the products run, in float64: ``cpu``, or ``cuda`` by way of CuPy.

    Returns
    -------
    RidgeCurve
        Counts by rising size.

    Raises
    ------
    InvalidProbe
        If sizes or penalties can't be measured, if the scatter is singular and the penalty too small to help, if there
        are no rows to score, or if they have features that are not finite.
    """
    rising = check_sizes(tuple(range(1, train.width + 1) if sizes is None else sizes), train.width)
    wanted = frozenset(detailed)
    if not wanted <= set(rising):
        raise InvalidProbe(f"counts per class are asked of size {min(wanted - set(rising))}, which is not measured.")
    penalties = sorted(set(lambdas), reverse=True)
    if not penalties or not all(math.isfinite(p) and p >= 0 for p in penalties):
        raise InvalidProbe(f"ridge needs penalties >= 0 and finite, got {list(lambdas)}.")
    if len(penalties) > 1 and validation is None:
        raise InvalidProbe(
            f"ridge has {len(penalties)} penalties to choose from and no validation rows: give a validation split or "
            "fraction, or one penalty."
        )
    place = partial(on_device, device=device)
    n_rows = tile_rows(len(train.class_counts), device)
    val_accuracies, chosen = _chosen(train, validation, rising, penalties, n_rows, place)
    correct = np.zeros(len(rising), dtype=np.int64)
    scores: dict[int, Score] = {}
    n_test = 0
    for i in np.unique(chosen):
        kept = np.flatnonzero(chosen == i)
        part = tuple(rising[j] for j in kept)
        factor = factorise(train, part[-1], penalties[i], place)
        counts = sweep(factor, test, part, detailed=wanted.intersection(part), n_rows=n_rows, place=place)
        correct[kept], n_test = counts.correct, int(counts.actual.sum())
        for k, (right, predicted) in counts.detailed.items():
            scores[k] = Score(n_test=n_test, correct=right, actual=counts.actual, predicted=predicted)
    return RidgeCurve(
        sizes=np.array(rising, dtype=np.int64),
        lambdas=np.array(penalties, dtype=np.float64)[chosen],
        n_test=n_test,
        correct=correct,
        val_accuracies=val_accuracies,
        scores=dict(sorted(scores.items())),
    )


def _chosen(
    train: Statistics,
    validation: Callable[[], Iterable[Rows]] | None,
    sizes: tuple[int, ...],
    penalties: list[float],
    n_rows: int,
    place: Place,
) -> tuple[NDArray[np.float64] | None, NDArray[np.int64]]:
    """Return, per size, the best validation accuracy and the index of its penalty; penalties fall."""
    if validation is None:
        return None, np.zeros(len(sizes), dtype=np.int64)
    accuracies = np.empty((len(penalties), len(sizes)))
    for i, penalty in enumerate(penalties):
        factor = factorise(train, sizes[-1], penalty, place)
        counts = sweep(factor, validation, sizes, detailed=frozenset(), n_rows=n_rows, place=place)
        accuracies[i] = counts.correct / counts.actual.sum()
    return accuracies.max(0), accuracies.argmax(0)  # the first of equals: the largest penalty


def ridge_weights(
    train: Statistics, n_coordinates: int, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (C, k) and bias (C,) of the ridge probe on the first k coordinates; scores are ``x @ w.T + b``.

    Raises
    ------
    InvalidProbe
        As `fit_ridge`.
    """
    from scipy.linalg import solve_triangular

    (k,) = check_sizes((n_coordinates,), train.width)
    factor = factorise(train, k, penalty, partial(on_device, device="cpu"))
    weights = solve_triangular(factor.lower, factor.z, lower=True, trans="T", check_finite=False).T
    return np.ascontiguousarray(weights), factor.prior - weights @ factor.mean


def ridge_bytes(n_coordinates: int, n_classes: int, *, device: str = "cpu") -> int:
    """Return the most bytes that `fit_ridge` holds at once, beside training statistics and the caller's blocks."""
    return sweep_bytes(n_coordinates, n_classes, device)
