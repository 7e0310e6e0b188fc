"""Directions that a layer can be projected on: its principal components, and random ones. Pure (no I/O)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe._arrays import eigh, on_device, to_numpy
from probe.errors import InvalidProbe
from probe.ranking import variances
from probe.statistics import Statistics
from probe.subsets import check_sizes, check_width

_NULL = 1e-12
"""An eigenvalue below this share of the largest is rounding: its component spreads below 1e-6 of the first one, which
float32 features (relative step 1.2e-7) hardly resolve, and float64 sums over a million rows are good to about 1e-13."""

_SAME = 1e-6
"""Entries of a direction whose sizes agree to this share count as equally large when its sign is decided."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrincipalComponents:
    """Principal components of the training rows, those that exist, with variance falling."""

    variances: NDArray[np.float64]
    """Variance of the rows along each component (divided by n - 1), shape (r,), falling."""
    directions: NDArray[np.float64]
    """Components as orthonormal columns, shape (d, r)."""

    @property
    def n(self) -> int:
        """How many exist, r <= min(n - 1, d)."""
        return len(self.variances)


def principal_components(statistics: Statistics, *, device: str = "cpu") -> PrincipalComponents:
    """Return the principal components of a layer from its stored statistics.

    Eigenvectors of the scatter Xc' Xc = V diag(v) V', in float64 and exactly (the released code's
    ``torch.pca_lowrank`` is a randomised sketch). A component has the sign that makes its largest entry
    (in magnitude) positive, the first where several are equally large (to 1e-6): no library or block size decides it.
    Components of equal variance are any orthonormal basis of their space.

    n centred rows span at most min(n - 1, d) components. Constant or duplicated neurons, and whatever else is a linear
    combination of other neurons, give directions along which the rows do not vary; no probe can use those, and their
    basis would be rounding, so a component exists only if its variance is above 1e-12 of the largest.

    Parameters
    ----------
    statistics
        Of the training rows, d neurons.
    device
        Where the decomposition, O(d^3), runs.

    Raises
    ------
    InvalidProbe
        If every neuron is constant, so that no component exists.
    """
    rising, vectors = (to_numpy(a) for a in eigh(on_device(statistics.scatter, device)))
    n = _existing(rising, statistics)
    values, directions = rising[::-1][:n], vectors[:, ::-1][:, :n]
    return PrincipalComponents(
        variances=np.ascontiguousarray(values / (statistics.n - 1)),
        directions=np.ascontiguousarray(directions * _signs(directions)),
    )


def n_components(statistics: Statistics) -> int:
    """Return how many principal components exist, without computing them.

    Raises
    ------
    InvalidProbe
        If every neuron is constant.
    """
    from scipy.linalg import eigvalsh

    return _existing(eigvalsh(statistics.scatter), statistics)


def _existing(rising: NDArray[np.float64], statistics: Statistics) -> int:
    most = min(statistics.n - 1, statistics.width)
    # A layer of constant neurons has a scatter of rounding only, whose eigenvalues say nothing of each other.
    if not variances(statistics).any():
        raise InvalidProbe(
            f"all {statistics.width} neurons are constant over the {statistics.n} training rows: no principal "
            "component exists. Choose another layer."
        )
    return min(most, int((rising > _NULL * rising[-1]).sum()))


def _signs(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(directions)
    # Duplicated neurons have equal entries but for rounding: of those, the first decides.
    first = (size >= (1 - _SAME) * size.max(0)).argmax(0)
    return np.where(directions[first, np.arange(directions.shape[1])] < 0, -1.0, 1.0)


def gaussian_directions(seed: int, width: int, *, n_directions: int) -> NDArray[np.float64]:
    """Return the first random directions of a layer, uniformly distributed and of length 1.

    Direction j is the j-th vector ``torch.randn(width, dtype=float64)`` of one ``torch.Generator().manual_seed(seed)``,
    divided by its length. Directions therefore nest, and the first r take time and memory for r only. (Where 16 divides
    the width, they are the normalised rows of ``torch.randn(width, width)``; elsewhere torch draws the last numbers of
    a tensor otherwise.)

    Why float64: torch draws on one thread from uniform numbers that are the same everywhere, but its float32 normal
    numbers come from approximations that differ with the processor's vector unit. The float64 ones are the same with
    and without AVX2; they use the C library's logarithm and cosine, so another platform may differ in the last bit.

    Returns
    -------
    ndarray
        Directions as columns, shape (width, n_directions), float64.
    """
    import torch

    check_width(width)
    check_sizes([n_directions], width)
    generator = torch.Generator().manual_seed(seed)
    directions = np.empty((n_directions, width))
    for direction in directions:
        drawn = torch.randn(width, generator=generator, dtype=torch.float64).numpy()
        direction[:] = drawn / np.sqrt(np.square(drawn).sum())
    return directions.T


_ROWS = 256
"""Rows of the uniform matrix that are drawn at a time."""


def uniform_directions(seed: int, width: int, *, n_directions: int) -> NDArray[np.float32]:
    """Return the first directions of the released code's "random projection", which was uniform.

    ``torch.nn.functional.normalize(torch.rand(width, width, generator=manual_seed(seed)), dim=0)``
    (https://github.com/nvedant07/deep-learning-base, ``training/finetuning.py``): every entry is positive, so that all
    directions lie near the mean direction, with a mean cosine of 3/4 between two of them.

    The numbers are drawn row by row, so all of them must be drawn whatever ``n_directions``, but only the columns that
    are asked for are kept: memory is 4 x width x n_directions bytes. Entries are the released ones but for the last
    digits (within 2e-6 of each): torch sums a column's squares in float32, in an order of its own; here they are summed
    in float64 in the order of the rows, so that every platform gets the same matrix.

    Returns
    -------
    ndarray
        Directions as columns, shape (width, n_directions), float32 as released.
    """
    import torch

    check_width(width)
    check_sizes([n_directions], width)
    generator = torch.Generator().manual_seed(seed)
    matrix = np.empty((width, n_directions), dtype=np.float32)
    for start in range(0, width, _ROWS):
        stop = min(start + _ROWS, width)
        drawn = torch.rand(stop - start, width, generator=generator)
        matrix[start:stop] = drawn[:, :n_directions].numpy()
    squares = np.zeros(n_directions)
    for row in matrix:
        squares += np.square(row, dtype=np.float64)
    length = np.sqrt(squares)
    for row in matrix:
        row[:] = row / length
    return matrix
