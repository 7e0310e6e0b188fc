"""The subset of any method, as coordinates of a layer: some of its neurons, or projections of all. Pure (no I/O).

Everything that measures subsets works on coordinates in the order in which a method takes them up, and a subset of size
k is the first k: of the columns of `Coordinates.apply`, or of the rows and columns of `Coordinates.of`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe
from probe.projections import PrincipalComponents, gaussian_directions, principal_components, uniform_directions
from probe.ranking import by_variance, by_weight
from probe.statistics import Statistics
from probe.subsets import Method, check_sizes, check_width, independent_subset, neuron_order, parse_method


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coordinates:
    """Coordinates of a layer in the order in which a method takes them up: a subset of size k is the first k of them.

    Either some of the neurons (``order``) or projections of all of them (``matrix``).
    """

    order: NDArray[np.int64] | None = None
    """Neurons, shape (r,), distinct; None for projections."""
    matrix: NDArray[Any] | None = None
    """Directions as columns, shape (d, r), float64, or float32 where the released code drew float32; None for
    neurons."""
    offset: NDArray[np.float64] | None = None
    """Point that is subtracted before the product, shape (d,); None where nothing is. Only with a matrix."""

    def __post_init__(self) -> None:
        if (self.order is None) == (self.matrix is None):
            raise InvalidProbe("coordinates are either neurons (order) or projections (matrix): give one of the two.")
        if self.offset is not None and (self.matrix is None or self.offset.shape != self.matrix.shape[:1]):
            raise InvalidProbe(
                f"an offset goes with a matrix of as many rows, got {self.offset.shape} with "
                f"{'no matrix' if self.matrix is None else self.matrix.shape}."
            )

    @property
    def n(self) -> int:
        """How many there are, r."""
        if self.order is not None:
            return len(self.order)
        assert self.matrix is not None
        return int(self.matrix.shape[1])

    def first(self, k: int) -> "Coordinates":
        """Return the subset of size k: the first k coordinates, sharing memory with these."""
        check_sizes([k], self.n)
        if self.order is not None:
            return Coordinates(order=self.order[:k])
        assert self.matrix is not None
        return Coordinates(matrix=self.matrix[:, :k], offset=self.offset)

    def apply(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the coordinates of rows.

        Parameters
        ----------
        x
            Features, shape (n, d), any float dtype.

        Returns
        -------
        ndarray
            Shape (n, r). Neurons keep the dtype of ``x``. Projections are computed and returned in float32, or in
            float64 where ``x`` is float64.

        Raises
        ------
        InvalidProbe
            If the width does not fit, or a projection is not finite: one such feature would reach every coordinate.
        """
        if self.order is not None:
            if len(self.order) and int(self.order.max()) >= x.shape[1]:
                raise InvalidProbe(f"neuron {self.order.max()} was asked of features of width {x.shape[1]}.")
            return np.take(x, self.order, axis=1)
        assert self.matrix is not None
        if x.shape[1] != len(self.matrix):
            raise InvalidProbe(f"directions of {len(self.matrix)} neurons were given features of width {x.shape[1]}.")
        dtype = np.float64 if x.dtype == np.float64 else np.float32
        rows = x.astype(dtype, copy=False)
        # What is not finite is refused below, with words.
        with np.errstate(invalid="ignore", over="ignore"):
            if self.offset is not None:
                rows = rows - self.offset.astype(dtype)
            out: NDArray[Any] = rows @ self.matrix.astype(dtype, copy=False)
        if not np.isfinite(out).all():
            bad = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
            raise InvalidProbe(f"row {bad} of a block has features that are not finite or overflow {dtype.__name__}.")
        return out

    def of(self, statistics: Statistics) -> Statistics:
        """Return the statistics of the coordinates of rows, from the statistics of the rows: no second pass.

        With y = (x - o) M: mean_y = (mean - o) M, Yc' Yc = M' Xc' Xc M, sums_c = (sums_c - n_c o) M.
        """
        if self.order is not None:
            return statistics.permuted(self.order)
        assert self.matrix is not None
        if self.offset is not None:
            statistics = replace(
                statistics,
                mean=statistics.mean - self.offset,
                class_sums=statistics.class_sums - np.outer(statistics.class_counts, self.offset),
            )
        return statistics.projected(self.matrix.astype(np.float64, copy=False))


def coordinates(
    method: str | Method,
    seed: int,
    width: int,
    *,
    n_neurons: int | None = None,
    statistics: Statistics | None = None,
    components: PrincipalComponents | None = None,
) -> Coordinates:
    """Return the coordinates that a method takes up, in its order.

    Parameters
    ----------
    method
        Label of a method, such as ``random`` or ``pca:uncentred`` (`probe.subsets.parse_method` tells them all).
    seed
        Seed of the choice. `Method.seeded` tells whether it makes a difference.
    width
        Neurons in the layer, d.
    n_neurons
        How many are wanted, k: the first k, exactly. None for all: d, or the principal components that exist.
        ``random_independent`` needs it.
    statistics
        Of the training rows; `Method.needs_statistics` tells whether a method looks at them.
    components
        Principal components of those statistics, for callers that ask more than once; else they are computed here.

    Raises
    ------
    UnknownName
        If there is no such method.
    InvalidProbe
        If more coordinates are asked than exist, or something that the method needs is missing.
    """
    chosen = parse_method(method) if isinstance(method, str) else method
    check_width(width)
    if n_neurons is not None:
        check_sizes([n_neurons], width)
    if statistics is not None and statistics.width != width:
        raise InvalidProbe(f"statistics of {statistics.width} neurons were given for a layer of {width}.")
    if chosen.name == "random_independent":
        if n_neurons is None:
            raise InvalidProbe("random_independent draws every size anew: name the size (n_neurons).")
        return Coordinates(order=independent_subset(seed, n_neurons, width))
    if chosen.limited_by_rows:
        return _principal(chosen, n_neurons, _given(chosen, statistics), components)
    if chosen.projects:
        draw = gaussian_directions if chosen.name == "random_projection" else uniform_directions
        matrix = draw(seed, width, n_directions=n_neurons or width)
        return Coordinates(matrix=matrix, offset=_given(chosen, statistics).mean if chosen.centred else None)
    if chosen.name == "ranked":
        rank = by_weight if chosen.by == "weight" else by_variance
        return Coordinates(order=rank(_given(chosen, statistics))[:n_neurons])
    return Coordinates(order=neuron_order(chosen.name, seed, width)[:n_neurons])


def _given(method: Method, statistics: Statistics | None) -> Statistics:
    if statistics is None:
        raise InvalidProbe(
            f"method {method.label!r} looks at the training rows: give their statistics (probe.statistics)."
        )
    return statistics


def _principal(
    method: Method, n_neurons: int | None, statistics: Statistics, components: PrincipalComponents | None
) -> Coordinates:
    found = principal_components(statistics) if components is None else components
    if found.directions.shape[0] != statistics.width:
        raise InvalidProbe(
            f"components of {found.directions.shape[0]} neurons were given for a layer of {statistics.width}."
        )
    most = min(statistics.n - 1, statistics.width)
    n = most if n_neurons is None else n_neurons
    if n > most:
        raise InvalidProbe(
            f"{method.label!r} was asked for {n} components, and {statistics.n} training rows of {statistics.width} "
            f"neurons have at most {most}. Ask for at most {most}, take more training rows, or let the curve end there "
            "(on_missing_components: censor)."
        )
    # The least ones in rising order of variance: the first k of them are the k least that exist.
    chosen = slice(None, n) if method.name == "pca" else slice(None, -n - 1, -1)
    existing = found.directions[:, chosen]
    if method.unit_variance:
        existing = existing / np.sqrt(found.variances[chosen])
    # Rows that vary along fewer directions (constant or duplicated neurons) have no more to give: coordinates beyond
    # are zero, so that k = d is the whole layer for every method.
    matrix = np.zeros((statistics.width, n))
    matrix[:, : existing.shape[1]] = existing
    return Coordinates(matrix=matrix, offset=statistics.mean if method.centred else None)
