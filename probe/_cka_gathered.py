"""Reading a layer of which only some neurons are stored, for CKA: the neurons of a few pairs of parts at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from probe._cka_curves import Curve, Parts
from probe.gathered import MOST_NEURONS, refuse_gathered, refuse_many, refuse_method, stored_columns
from probe.subsets import parse_method
from store import Features

MOST_AT_ONCE = 2 * MOST_NEURONS
"""Neurons whose covariance is formed at once: those of one pair of the largest parts."""


def refuse_curves(features: Features, curves: Sequence[Curve], method: str) -> None:
    """Refuse curves that need neurons which are not stored, or too many of them.

    Raises
    ------
    InvalidProbe
        If so.
    """
    refuse_method(features, parse_method(method))
    for curve in curves:
        if curve.kind == "part_whole":
            refuse_gathered(features, "CKA of a part against the whole")
        refuse_many(features, max(curve.sizes), "CKA of two parts")


def shared_reads(
    features: Features, curves: Sequence[Curve], source: Parts
) -> Iterator[tuple[NDArray[np.int64], list[Curve], Parts]]:
    """Yield curves that are measured together on few enough neurons.

    A subset that does not nest is a curve of one size.

    Yields
    ------
    tuple
        Columns of the representation to read, rising, shape (r,); the curves; and their parts among those columns.

    Raises
    ------
    InvalidProbe
        If a neuron of a part is not stored.
    """
    nested = parse_method(source.method).nested
    held: list[Curve] = []
    union = np.empty(0, np.int64)
    for curve in _pieces(curves, source):
        mine = [_neurons(features, source, seed, max(curve.sizes), nested=nested) for seed in curve.seeds]
        more = np.unique(np.concatenate([union, *mine]))
        if held and len(more) > MOST_AT_ONCE:
            yield _read(features, held, source, union)
            held, more = [], np.unique(np.concatenate(mine))
        held.append(curve)
        union = more
    if held:
        yield _read(features, held, source, union)


def _pieces(curves: Sequence[Curve], source: Parts) -> Iterator[Curve]:
    for curve in curves:
        for _, sizes in source.groups(curve.sizes):
            yield replace(curve, sizes=tuple(sizes)) if len(sizes) < len(curve.sizes) else curve


def _neurons(features: Features, source: Parts, seed: int, n_neurons: int, *, nested: bool) -> NDArray[np.int64]:
    order = source.of(seed, n_neurons).order
    assert order is not None
    stored_columns(features, order, of=f"{source.method}, seed {seed}", nested=nested)
    return order


def _read(
    features: Features, curves: list[Curve], source: Parts, union: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[Curve], Parts]:
    columns = stored_columns(features, union, of=source.method, nested=False)
    return columns, curves, replace(source, neurons=union)
