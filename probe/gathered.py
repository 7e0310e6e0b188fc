"""Layers of which only some neurons are stored: which columns a subset has, and what can't be measured on them.

A huge layer (a flattened one has up to 800,000 neurons) is stored with the neurons of a study's subsets only. A subset
is drawn from the whole layer as ever, and read from the columns that hold its neurons. Pure (no I/O).
"""

import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe
from probe.subsets import METHODS, Method, parse_method
from store import Features

MOST_NEURONS = 8192
"""Neurons of a gathered layer up to which their covariance (k x k) is formed: 512 MiB."""


def is_gathered(features: Features) -> bool:
    """Say whether only some of the layer's neurons are stored."""
    return features.neurons is not None


def refuse_gathered(features: Features, what: str) -> None:
    """Refuse what needs the whole layer where only some of its neurons are stored.

    Raises
    ------
    InvalidProbe
        If so; it says what would do.
    """
    if is_gathered(features):
        allowed = [m for m in METHODS if not parse_method(m).needs_whole]
        raise InvalidProbe(
            f"{features!r} does not hold the whole layer, and {what} needs it. Extract the layer with `keep: whole`, "
            f"or measure what the stored neurons allow: methods {', '.join(allowed)}; accuracy and cka_pair."
        )


def refuse_method(features: Features, method: Method) -> None:
    """Refuse a method that looks at neurons beside those it chooses, where not all are stored.

    Raises
    ------
    InvalidProbe
        If so.
    """
    if method.needs_whole:
        refuse_gathered(features, f"method {method.label!r}")


def refuse_many(features: Features, n_neurons: int, what: str) -> None:
    """Refuse a covariance of more neurons of a gathered layer than fits in memory.

    Raises
    ------
    InvalidProbe
        If so.
    """
    if is_gathered(features) and n_neurons > MOST_NEURONS:
        raise InvalidProbe(
            f"{what} forms the covariance of k neurons of a gathered layer for k up to {MOST_NEURONS}, and k = "
            f"{n_neurons} was asked of {features!r}. Ask for smaller sizes; solver sgd, which the paper took, has no "
            "such bound."
        )


def stored_columns(features: Features, order: NDArray[np.int64], *, of: str, nested: bool = True) -> NDArray[np.int64]:
    """Return the columns of a representation that hold neurons of the layer.

    Parameters
    ----------
    features
        The representation.
    order
        Neurons of the layer, shape (k,), int64.
    of
        Whose they are, for the error: ``random, seed 3``.
    nested
        Whether smaller subsets are the first of them.

    Returns
    -------
    ndarray
        Shape (k,), int64; ``order`` itself where all neurons are stored.

    Raises
    ------
    InvalidProbe
        If one is not stored; it says up to which size they are.
    """
    neurons = features.neurons
    if neurons is None:
        return order
    columns = np.minimum(np.searchsorted(neurons, order), len(neurons) - 1)
    there = neurons[columns] == order
    if there.all():
        return columns.astype(np.int64, copy=False)
    most = int(np.argmin(there))
    stored = (
        f"those up to k = {most} (fraction {most / features.layer_width:.4g}) are stored"
        if nested and most
        else "it is not stored"
    )
    raise InvalidProbe(
        f"{features!r} does not hold the subset of k = {len(order)} of {of}: {stored}. Extract the layer again with "
        "this size and seed among the study's subsets, or with `keep: whole`."
    )
