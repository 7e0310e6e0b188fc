"""Which measurement stands for T(whole), the accuracy of the whole layer. Pure (no I/O).

Eq. 1 compares a part with the *layer*. A method that orders the neurons holds the layer at k = d, whatever the order.
Principal components and projections are something else there (a rotation, or a random mapping, of the layer), and with
fewer rows than neurons PCA never gets there: these take T(whole) from an order of the same representations, under the
same solver and protocol, and their own k = d only where there is no such order.
"""

from typing import Any, Final

import numpy as np

from aggregate._runs import Flags, Integers, Runs

ORDERS: Final = ("random", "first", "ranked", "random_independent")
"""Methods that hold the whole layer at k = d, the first choice first."""
_PROJECTIONS: Final = ("random_projection", "random_projection_uniform")
MIXTURES: Final = ("pca", "pca_least", *_PROJECTIONS)
"""Methods whose dimensions are mixtures of neurons."""
_SHARED: Final = ("model", "layer", "dataset", "solver", "protocol", "train_id", "test_id", "width")


def method_name(label: str | None) -> str:
    """Return the method without its variant: `ranked` of `ranked:variance`."""
    return (label or "").partition(":")[0]


def method_rank(label: str) -> tuple[int, str]:
    """Return a key that sorts methods: orders of neurons, then mixtures, then others; variants by name."""
    known = (*ORDERS, *MIXTURES)
    name = method_name(label)
    return (known.index(name) if name in known else len(known), label)


def whole_source(runs: Runs, *, has_row: Flags, is_defined: Flags) -> Integers:
    """Return the cell whose k = d gives each cell its T(whole), shape (n_cells,); -1 where there is none.

    Parameters
    ----------
    has_row, is_defined
        Whether a cell has rows at k = d, and whether all of them hold a value; shape (n_cells,) each. An order whose
        own whole layer is undefined keeps it: another's would be a mean over the probes that did not diverge.
    """
    own: Integers = np.where(has_row, np.arange(has_row.size), -1).astype(np.int64)
    names = [method_name(label) for label in runs.keys["method"].to_pylist()]
    needs = [cell for cell, name in enumerate(names) if name in MIXTURES or own[cell] < 0]
    if not needs:
        return own
    shared = list(zip(*(runs.keys[name].to_pylist() for name in _SHARED), strict=True))
    donors: dict[tuple[Any, ...], int] = {}
    # Cells are in order of their names, so that the choice among variants of one method is fixed as well.
    for rank in ORDERS:
        for cell in np.flatnonzero(is_defined):
            if names[cell] == rank:
                donors.setdefault(shared[cell], int(cell))
    source = own.copy()
    source[needs] = [donors.get(shared[cell], int(own[cell])) for cell in needs]
    return source


def is_certain_whole(runs: Runs) -> Flags:
    """Whether CKA at k = d is 1 by definition, shape (n_cells,): not for a random mapping of the layer."""
    names = [method_name(label) for label in runs.keys["method"].to_pylist()]
    return np.array([name not in _PROJECTIONS for name in names], dtype=np.bool_)
