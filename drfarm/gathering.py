"""Layers too large to be stored whole: which neurons a study needs of one, and what can't be measured then."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from drfarm.errors import InvalidStudy
from drfarm.study import Study
from drfarm.study_measures import AccuracyMeasure
from drfarm.targets import Target
from extract import KeptNeurons
from probe import Method, Sizes, neuron_order, parse_method, sizes_of
from probe.gathered import MOST_NEURONS
from probe.subsets import independent_subset
from store import Store
from store.neuron_sets import digest_of


def part_sizes(study: Study, width: int) -> tuple[int, ...]:
    """Return the sizes that a study measures of a layer of which only subsets are stored: all but the whole.

    Raises
    ------
    InvalidStudy
        If none is left.
    """
    sizes = tuple(k for k in study.subsets.sizes(width) if k < width)
    if not sizes:
        raise InvalidStudy(
            f"a layer of {width:,} neurons is to be stored by its subsets, and the study has none below the whole "
            "layer: add smaller sizes, or set `keep: whole` for it."
        )
    return sizes


def kept_neurons(study: Study, width: int) -> NDArray[np.int64]:
    """Return the union of a study's subsets of a layer: neurons in rising order, shape (k,), int64."""
    sizes = part_sizes(study, width)
    kept = np.zeros(width, dtype=np.bool_)
    for method in map(parse_method, study.subsets.methods):
        if method.needs_whole:
            continue
        for seed in study.subsets.seeds if method.seeded else study.subsets.seeds[:1]:
            if method.nested:
                kept[neuron_order(method.label, seed, width)[: sizes[-1]]] = True
            else:
                for k in sizes:
                    kept[independent_subset(seed, k, width)] = True
    if not kept.any():
        raise InvalidStudy(
            f"a layer of {width:,} neurons is to be stored by its subsets, and the methods "
            f"{', '.join(study.subsets.methods)} need all of it: add `random`, or set `keep: whole` for it."
        )
    return np.flatnonzero(kept).astype(np.int64)


def keeper(study: Study, store: Store | None, *, remember: bool) -> Callable[[int], KeptNeurons]:
    """Return what says which neurons of a layer to keep; ``remember`` puts the sets into the store."""
    known: dict[int, KeptNeurons] = {}

    def kept(width: int) -> KeptNeurons:
        if width not in known:
            neurons = kept_neurons(study, width)
            if store is not None and remember:
                digest = store.neuron_sets.put(neurons, width)
            else:
                digest = digest_of(neurons, width)
            known[width] = KeptNeurons(digest=digest, n=len(neurons))
        return known[width]

    return kept


def measurable(
    target: Target, measure: AccuracyMeasure, method: Method, sizes: Sequence[int], notes: list[str]
) -> Sizes | None:
    """Return the sizes that can be measured on a target; None where the method needs the whole layer.

    Adds to ``notes`` what is left out.
    """
    if not target.gathered:
        return sizes_of(sizes)
    layer = f"{target.names.model}/{target.names.layer}"
    if method.needs_whole:
        notes.append(f"{layer} is stored by its subsets, so method {method.label} is left out: it needs all neurons.")
        return None
    if measure.k == "every":
        notes.append(f"{layer} is stored by its subsets, so `k: every` of {measure.solver} is left out for it.")
        return None
    most = target.width - 1 if measure.solver == "sgd" else min(target.width - 1, MOST_NEURONS)
    found = sizes_of(k for k in sizes if k <= most)
    if any(most < k < target.width for k in sizes):
        notes.append(f"{layer} is stored by its subsets: {measure.solver} measures sizes up to {most:,} of it.")
    return found if len(found) else None
