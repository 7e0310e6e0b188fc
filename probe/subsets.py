"""Which neurons a subset holds. A subset is the first k of an order that a method and a seed decide, so sizes nest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe
from store import UnknownName

METHODS = ("random", "first")
"""Ways to choose k neurons that this version measures."""

PAPER_FRACTIONS = (
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05,
    0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.8, 0.9, 1.0,
)  # fmt: skip
"""The 22 fractions of the paper's ResNet-50 curves (the union over the authors' scripts)."""


def neuron_order(method: str, seed: int, width: int) -> NDArray[np.int64]:
    """Return the order in which a method takes up neurons.

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
    """
    if width < 1:
        raise InvalidProbe(f"a layer has at least one neuron, got width {width}.")
    if method == "random":
        import torch

        generator = torch.Generator().manual_seed(seed)
        return np.asarray(torch.randperm(width, generator=generator).numpy(), dtype=np.int64)
    if method == "first":
        return np.arange(width, dtype=np.int64)
    raise UnknownName.among("method", method, METHODS)


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
