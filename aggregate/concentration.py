"""How unevenly the classes share the accuracy: Gini index and coefficient of variation. Pure (no I/O).

Both take the vector that the authors took: the *mean over seeds* of the class accuracies plus 1e-7, so that a probe
that is wrong on everything has a value (0) instead of 0/0. The Gini index of the mean is not the mean of Gini indices,
which is larger: a class that one subset fails on and the next does not is uneven in each, and less so on average.
`gini_of_seeds` and `coefficient_of_variation_of_seeds` give the second.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aggregate.errors import InvalidTable

# The constant of the authors' notebook (class_wise_error_profiles, cell 3).
EPSILON = 1e-7


def gini(class_accuracy: ArrayLike) -> float:
    """Return the Gini index of the class accuracies: 0 where all are equal, (n - 1) / n where one class has it all.

    With a_1 <= ... <= a_n the mean over seeds plus 1e-7: G = sum_i (2 i - n - 1) a_i / (n sum_i a_i).

    Parameters
    ----------
    class_accuracy
        Shape (n_classes,) or (n_seeds, n_classes), in [0, 1]. NaN: the class was not in the test split of that seed;
        a class without any finite value is left out.

    Raises
    ------
    InvalidTable
        If no class has a value, or one is negative or infinite.
    """
    values = np.sort(_seed_mean(class_accuracy))
    n = values.size
    weights = 2.0 * np.arange(1, n + 1) - n - 1.0
    return float(np.sum(weights * values) / (n * np.sum(values)))


def coefficient_of_variation(class_accuracy: ArrayLike) -> float:
    """Return standard deviation (ddof 0) over mean of the class accuracies, of the same vector as `gini`.

    Parameters
    ----------
    class_accuracy
        As in `gini`.

    Raises
    ------
    InvalidTable
        As `gini`.
    """
    values = _seed_mean(class_accuracy)
    return float(np.sqrt(np.var(values)) / np.mean(values))


def gini_of_seeds(class_accuracy: ArrayLike) -> list[float]:
    """Return the Gini index of each seed's own class accuracies.

    Parameters
    ----------
    class_accuracy
        Shape (n_seeds, n_classes); otherwise as in `gini`.

    Raises
    ------
    InvalidTable
        As `gini`, for a seed without any finite value as well.
    """
    return [gini(row) for row in _rows(class_accuracy)]


def coefficient_of_variation_of_seeds(class_accuracy: ArrayLike) -> list[float]:
    """Return the coefficient of variation of each seed's own class accuracies.

    Parameters
    ----------
    class_accuracy
        As in `gini_of_seeds`.

    Raises
    ------
    InvalidTable
        As `gini_of_seeds`.
    """
    return [coefficient_of_variation(row) for row in _rows(class_accuracy)]


def _rows(class_accuracy: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(class_accuracy, dtype=np.float64)
    if values.ndim != 2:
        raise InvalidTable(
            f"class_accuracy of seeds must have shape (n_seeds, n_classes), got {values.shape}: stack the seeds"
        )
    return values


def _seed_mean(class_accuracy: ArrayLike | Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(class_accuracy, dtype=np.float64)
    if values.ndim not in (1, 2):
        raise InvalidTable(
            f"class_accuracy must have shape (n_classes,) or (n_seeds, n_classes), got {values.shape}: "
            "pass the values of one subset size"
        )
    values = np.atleast_2d(values)
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    if not counts.any():
        raise InvalidTable(f"class_accuracy must hold at least one finite value, got none in shape {values.shape}")
    if np.any(np.isinf(values)) or np.any(values[known] < 0):
        raise InvalidTable(
            f"class_accuracy must lie in [0, 1], got {np.nanmin(values):g} .. {np.nanmax(values):g}: "
            "pass fractions of the class's samples"
        )
    sums = np.where(known, values, 0.0).sum(axis=0)
    seen = counts > 0
    return sums[seen] / counts[seen] + EPSILON
