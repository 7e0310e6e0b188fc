"""Which part of a layer a subset holds: the names of the methods, and the orders that a seed alone decides.

A method takes up neurons (or directions) one by one, and a subset is the first k of them, so that sizes nest; only
`random_independent` draws each size anew. `probe.coordinates` makes any method's subset. Pure (no I/O).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe
from store import UnknownName

NEURON_METHODS = ("random", "random_independent", "first", "ranked")
"""Methods that choose k of the layer's neurons."""

DIRECTION_METHODS = ("pca", "pca_least", "random_projection", "random_projection_uniform")
"""Methods that project the whole layer on k directions."""

METHODS = (
    "random",
    "random_independent",
    "first",
    "pca",
    "pca_least",
    "random_projection",
    "random_projection_uniform",
    "ranked",
)
"""Ways to choose k dimensions of a layer; some take variants (see `parse_method`)."""

VARIANTS = {
    "pca": ("centred", "uncentred", "unit-variance", "as-released"),
    "pca_least": ("centred", "uncentred", "unit-variance", "as-released"),
    "random_projection": ("centred", "uncentred", "as-released"),
    "random_projection_uniform": ("centred", "uncentred", "as-released"),
    "ranked": ("by-variance", "by-weight"),
}
"""Variants that a method takes; the others take none."""

PAPER_FRACTIONS = (
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05,
    0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.8, 0.9, 1.0,
)  # fmt: skip
"""The 22 fractions of the paper's ResNet-50 curves (the union over the authors' scripts)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to choose k dimensions, with its variants decided. Made by `parse_method`."""

    name: str
    """One of `METHODS`."""
    centred: bool
    """The mean of the training rows is subtracted before a projection; False for methods that choose neurons."""
    unit_variance: bool
    """Principal components are scaled to variance 1 on the training rows."""
    by: Literal["variance", "weight"]
    """What `ranked` ranks by; "variance" for the others, which look at neither."""

    @property
    def label(self) -> str:
        """The canonical name: NAME or NAME:VARIANT+VARIANT, only the variants that differ from the default."""
        variants = []
        if self.name in DIRECTION_METHODS and self.centred != _centred_by_default(self.name):
            variants.append("centred" if self.centred else "uncentred")
        if self.unit_variance:
            variants.append("unit-variance")
        if self.by == "weight":
            variants.append("by-weight")
        return f"{self.name}:{'+'.join(variants)}" if variants else self.name

    @property
    def nested(self) -> bool:
        """Whether a subset holds all smaller ones of its seed."""
        return self.name != "random_independent"

    @property
    def seeded(self) -> bool:
        """Whether the choice depends on the seed; otherwise the seed only seeds the probe, and one choice serves."""
        return self.name.startswith("random")

    @property
    def projects(self) -> bool:
        """Whether the method takes directions, and not neurons."""
        return self.name in DIRECTION_METHODS

    @property
    def needs_statistics(self) -> bool:
        """Whether the choice looks at the training rows (their statistics)."""
        return self.name in ("pca", "pca_least", "ranked") or self.centred

    @property
    def needs_whole(self) -> bool:
        """Whether the choice looks at neurons beside those it takes: it needs a layer of which all are stored."""
        return self.projects or self.name == "ranked"

    @property
    def limited_by_rows(self) -> bool:
        """Whether n rows give at most n - 1 dimensions, however wide the layer."""
        return self.name in ("pca", "pca_least")


def parse_method(label: str) -> Method:
    """Read the label of a method, NAME or NAME:VARIANT, several variants joined by "+".

    ``pca``, ``pca_least``
        The scores of the leading (least) principal components of the training rows: ``centred`` and not scaled, what
        the paper's text says ("the projection of the entire layer on the first k principal components").
        ``uncentred`` takes ``x @ V[:, :k]`` with V from the centred rows, and so does ``as-released``: that is what the
        released code does. ``unit-variance`` scales each score to variance 1 (whitening).
    ``random_projection``
        A normal matrix with columns of length 1, and ``uncentred`` features ("we multiply it by a (normalized) randomly
        sampled matrix from a normal distribution"). ``centred`` subtracts the mean of the training rows.
        ``as-released`` is ``random_projection_uniform``, as the released code drew from a uniform distribution.
    ``random_projection_uniform``
        That matrix, ``uncentred`` as released, or ``centred``.
    ``ranked``
        Neurons ``by-variance`` (default) or ``by-weight`` (`probe.ranking`).

    Returns
    -------
    Method
        Labels that mean the same give equal methods, hence the same ``.label``.

    Raises
    ------
    UnknownName
        If the method or a variant is not known; says the nearest.
    InvalidProbe
        If variants contradict each other, or the method takes none.
    """
    name, colon, rest = label.partition(":")
    if name not in METHODS:
        raise UnknownName.among("method", name, METHODS)
    given = set(rest.split("+")) if colon else set()
    if given and name not in VARIANTS:
        raise InvalidProbe(f"method {name!r} takes no variant, got {label!r}: write {name!r}.")
    for variant in sorted(given):
        if variant not in VARIANTS[name]:
            raise UnknownName.among(f"variant of {name}", variant, VARIANTS[name])
    for clash in ({"centred", "uncentred"}, {"centred", "as-released"}, {"by-variance", "by-weight"}):
        if clash <= given:
            raise InvalidProbe(f"method {label!r} asks for {' and '.join(sorted(clash))} at once: choose one.")
    if {"as-released", "unit-variance"} <= given:
        raise InvalidProbe(f"method {label!r}: the released code scales no component, so choose one of the two.")
    if name == "random_projection" and "as-released" in given:
        name = "random_projection_uniform"
    centred = _centred_by_default(name) if not given & {"uncentred", "as-released"} else False
    return Method(
        name=name,
        centred=centred or "centred" in given,
        unit_variance="unit-variance" in given,
        by="weight" if "by-weight" in given else "variance",
    )


def _centred_by_default(name: str) -> bool:
    return name in ("pca", "pca_least")


def neuron_order(method: str, seed: int, width: int) -> NDArray[np.int64]:
    """Return the order in which a method takes up neurons, where a seed alone decides it.

    Parameters
    ----------
    method
        ``random``: ``torch.randperm(width)`` under ``torch.manual_seed(seed)``, the very subsets of the paper's authors
        (https://github.com/nvedant07/diffused-redundancy, ``training/finetuning.py``), one permutation per seed, hence
        nested over sizes and shared by all layers of equal width. ``first``: neurons as they stand in the layer
        (Matryoshka); the seed only seeds the probe.
    seed
        Seed of the permutation.
    width
        Neurons in the layer, d.

    Returns
    -------
    ndarray
        Shape (width,), int64, a permutation; a subset of size k is its first k entries.

    Raises
    ------
    InvalidProbe
        If the method needs more than a seed: a size, or the statistics of the training rows.
    """
    check_width(width)
    name = parse_method(method).name
    if name == "random":
        return _permutation(seed, width)
    if name == "first":
        return np.arange(width, dtype=np.int64)
    raise InvalidProbe(
        f"method {method!r} has no order of neurons that a seed and a width decide: take probe.coordinates, which also "
        "gets the size and the statistics of the training rows."
    )


def independent_subset(seed: int, n_neurons: int, width: int) -> NDArray[np.int64]:
    """Return the neurons of one subset of ``random_independent``, drawn for this seed and size alone.

    The draw, exactly: s = ``np.random.SeedSequence([seed, n_neurons, width]).generate_state(1)[0]``, an unsigned
    32-bit number, then the first k of ``torch.randperm(width)`` under ``torch.manual_seed(s)``. Subsets of two sizes
    share neurons by chance only, so points of a curve err independently of each other.

    Returns
    -------
    ndarray
        Shape (n_neurons,), int64, distinct.
    """
    check_width(width)
    check_sizes([n_neurons], width)
    if seed < 0:
        raise InvalidProbe(f"the seed of an independent draw is >= 0, got {seed}.")
    state = np.random.SeedSequence([seed, n_neurons, width]).generate_state(1)
    return _permutation(int(state[0]), width)[:n_neurons]


def _permutation(seed: int, width: int) -> NDArray[np.int64]:
    import torch

    # A generator of its own: the global one is the caller's.
    generator = torch.Generator().manual_seed(seed)
    return np.asarray(torch.randperm(width, generator=generator).numpy(), dtype=np.int64)


def check_width(width: int) -> None:
    """Refuse a layer without neurons."""
    if width < 1:
        raise InvalidProbe(f"a layer has at least one neuron, got width {width}.")


def size_of_fraction(fraction: float, width: int) -> int:
    """Return k = int(f d), truncated as in the authors' code; 0 where the fraction is below one neuron."""
    if not 0 < fraction <= 1:
        raise InvalidProbe(f"a fraction lies in (0, 1], got {fraction}.")
    return int(fraction * width)


def check_sizes(sizes: Sequence[int], width: int) -> tuple[int, ...]:
    """Return distinct sizes in rising order.

    Raises
    ------
    InvalidProbe
        If there is none, or one is below 1 or above the width.
    """
    distinct = tuple(sorted(set(sizes)))
    if not distinct:
        raise InvalidProbe("at least one subset size is needed, got none.")
    if distinct[0] < 1 or distinct[-1] > width:
        worst = distinct[-1] if distinct[-1] > width else distinct[0]
        raise InvalidProbe(f"a subset of {worst} neurons was asked of a layer of {width}: sizes run from 1 to {width}.")
    return distinct
