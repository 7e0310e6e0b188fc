"""The rows that probes of one setting see, in the coordinates of a method: read from the store, once in memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probe.coordinates import Coordinates
from probe.errors import Mismatch, ProbeError
from probe.spec import ProbeSetting
from probe.statistics import Statistics
from probe.stored_statistics import statistics_of
from probe.validation import Validation
from store import Features, Store

if TYPE_CHECKING:
    import torch

Rows = tuple["torch.Tensor", "torch.Tensor"]
Blocks = Callable[[], Iterator[Rows]]
ArrayBlocks = Callable[[], Iterator[tuple[NDArray[Any], NDArray[np.int64]]]]

CONTROL_SEED = 0
"""Seed of the permutation of labels in a control: the same for all subsets and methods, so that they compare."""

_ROWS = 1024
"""Rows that are gathered at a time."""


class Inputs:
    """The representations of one setting. Opening them refuses those that do not belong together.

    Raises
    ------
    Mismatch
        If widths or classes differ, the test split has rows of one class only, or a control has other rows to score.
    """

    def __init__(self, store: Store, setting: ProbeSetting) -> None:
        if setting.control is not None and setting.test_id != setting.train_id:
            raise Mismatch(
                f"a control is scored on the rows that it is trained on, those of {setting.train_id[:12]}, and the "
                f"test representation is {setting.test_id[:12]}: give the training one for both."
            )
        self._store = store
        self._setting = setting
        self.train = store.features.open(setting.train_id)
        self._test = store.features.open(setting.test_id)
        validation = setting.validation
        split_id = None if validation is None else validation.split_id
        self._val = None if split_id is None else store.features.open(split_id)
        for other in (self._test, self._val):
            if other is not None:
                check_pair(self.train, other)
        valid = np.flatnonzero(self.train.valid)
        self.train_rows, self.val_rows = held_out(valid, validation)
        self.labels = self.train.labels
        if setting.control == "random-labels":
            self.labels = self.labels.copy()
            self.labels[valid] = self.labels[valid][np.random.default_rng(CONTROL_SEED).permutation(len(valid))]
        self._resident: _Resident | None = None

    @property
    def width(self) -> int:
        """Neurons."""
        return self.train.width

    @property
    def n_classes(self) -> int:
        """Classes."""
        return len(self.train.classes)

    def statistics(self) -> Statistics:
        """Return the statistics of the rows that are fitted on, with their true labels: coordinates follow from them.

        In a control too: it asks what the very same subset can learn by heart.
        """
        chosen = self.train_rows if self.val_rows is not None else None
        return statistics_of(self._store, self.train, rows=self._setting.training_rows, chosen=chosen)

    def relabelled(self, found: Statistics) -> Statistics:
        """Return these statistics with the class sums of the labels that are fitted: in a control, the permuted ones.

        Mean and scatter know no labels, so one pass over the rows for sums of O(n d) is enough.
        """
        if self._setting.control is None:
            return found
        counts, sums = np.zeros_like(found.class_counts), np.zeros_like(found.class_sums)
        for x, y in self._blocks(self.train, None, self.train_rows, self.labels):
            for c in np.unique(y):
                counts[c] += np.count_nonzero(y == c)
                sums[c] += x[y == c].sum(0, dtype=np.float64)
        return replace(found, class_counts=counts, class_sums=sums)

    @property
    def n_views(self) -> int:
        """Stored passes over the training rows."""
        return self.train.n_views

    def views(self, coordinates: Coordinates) -> "torch.Tensor | Callable[[int], torch.Tensor]":
        """Return the training features for a solver that takes views: those of the only one, or a reader by number."""
        if self.n_views == 1:
            return self.train_tensors(coordinates)[0]
        return lambda view: self.train_tensors(coordinates, view)[0]

    def train_tensors(self, coordinates: Coordinates, view: int = 0) -> Rows:
        """Return a view of all training rows, those held out included, shape (n, r), and their labels.

        The next call may overwrite the features: they are in memory once.
        """
        import torch

        full = _all_neurons(coordinates, self.width)
        if full is None:
            self._resident = None
            x = np.zeros((self.train.n_samples, coordinates.n), np.float32)
            for start, stop, block in self.train.blocks(view):
                valid = self.train.valid[start:stop]
                x[start:stop][valid] = coordinates.apply(block[valid])
        else:
            if self._resident is None or self._resident.view != view:
                self._resident = None  # before the next is read: never two in memory
                self._resident = _Resident(self.train.numpy(view, neurons=full), full, view)
            else:
                self._resident.reorder(full)
            x = self._resident.x
        return torch.from_numpy(x), torch.from_numpy(self.labels)

    def fitted_rows(self, coordinates: Coordinates) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the rows that are fitted on and no others, of the first view, shape (m, r), float32, and labels."""
        self._resident = None
        x = np.empty((len(self.train_rows), coordinates.n), np.float32)
        labels = np.empty(len(x), np.int64)
        start = 0
        for block, y in self._blocks(self.train, coordinates, self.train_rows, self.labels):
            x[start : start + len(y)], labels[start : start + len(y)] = block, y
            start += len(y)
        return x, labels

    def test_blocks(self, coordinates: Coordinates) -> Blocks:
        """Return a reader of the rows that are scored, as tensors."""
        return _as_tensors(self.test_arrays(coordinates))

    def test_arrays(self, coordinates: Coordinates) -> ArrayBlocks:
        """Return a reader of the rows that are scored."""
        if self._setting.control is not None:
            return lambda: self._blocks(self.train, coordinates, self.train_rows, self.labels)
        return lambda: self._blocks(self._test, coordinates, None, self._test.labels)

    @property
    def selection_rows(self) -> NDArray[np.int64] | None:
        """Held-out training rows to choose on; none for a control: other rows tell nothing of permuted labels."""
        return None if self._setting.control is not None else self.val_rows

    def validation_blocks(self, coordinates: Coordinates) -> Blocks | None:
        """Return a reader of the validation rows as tensors, if there are any."""
        arrays = self.validation_arrays(coordinates)
        return None if arrays is None else _as_tensors(arrays)

    def validation_arrays(self, coordinates: Coordinates) -> ArrayBlocks | None:
        """Return a reader of the validation rows, if there are any."""
        val, val_rows = self._val, self.selection_rows
        if val is not None and self._setting.control is None:
            return lambda: self._blocks(val, coordinates, None, val.labels)
        if val_rows is None:
            return None
        return lambda: self._blocks(self.train, coordinates, val_rows, self.labels)

    def _blocks(
        self,
        features: Features,
        coordinates: Coordinates | None,
        rows: NDArray[np.int64] | None,
        labels: NDArray[np.int64],
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Yield the valid rows of a representation (or the given ones), chunk by chunk, and their labels."""
        keep = features.valid
        if rows is not None:
            keep = np.zeros(features.n_samples, dtype=np.bool_)
            keep[rows] = True
        for start, stop, block in features.blocks():
            chosen = keep[start:stop]
            if chosen.any():
                x = block[chosen]
                yield x if coordinates is None else coordinates.apply(x), labels[start:stop][chosen]


def _as_tensors(arrays: ArrayBlocks) -> Blocks:
    import torch

    return lambda: ((torch.from_numpy(x), torch.from_numpy(y)) for x, y in arrays())


def check_pair(train: Features, test: Features) -> None:
    """Refuse two representations that do not belong together.

    Raises
    ------
    Mismatch
        If widths or classes differ, or the second has rows of one class only.
    """
    if train.width != test.width:
        raise Mismatch(f"{train!r} and {test!r} have different widths: they are not the same layer.")
    if train.classes != test.classes:
        raise Mismatch(
            f"{train!r} and {test!r} have different classes: {_differ(train.classes, test.classes)}. "
            "A probe is trained and scored on the same classes."
        )
    if len(np.unique(test.labels[test.valid])) < 2:
        raise Mismatch(f"{test!r} has rows of one class only: an accuracy on it says nothing.")


def _differ(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    only_a, only_b = sorted(set(a) - set(b)), sorted(set(b) - set(a))
    if only_a or only_b:
        return f"only in the first: {only_a[:5]}, only in the second: {only_b[:5]}"
    return "the same names in another order"


def held_out(
    valid: NDArray[np.int64], validation: Validation | None
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Split the valid training rows into those to fit on and those to validate on.

    Parameters
    ----------
    valid
        Row numbers, shape (n,), int64.
    validation
        A fraction is held out as the authors do: ``torch.utils.data.random_split`` under its seed, with
        ``int((1 - fraction) n)`` rows to train on.

    Raises
    ------
    ProbeError
        If either part would be empty.
    """
    if validation is None or validation.fraction is None:
        if not len(valid):
            raise ProbeError("there are no training rows.")
        return valid, None
    import torch

    n_train = int((1 - validation.fraction) * len(valid))
    order = torch.randperm(len(valid), generator=torch.Generator().manual_seed(validation.seed)).numpy()
    if not 0 < n_train < len(valid):
        raise ProbeError(
            f"holding out {validation.fraction:g} of {len(valid)} training rows leaves none to train or validate on."
        )
    return valid[order[:n_train]], valid[order[n_train:]]


def _all_neurons(coordinates: Coordinates, width: int) -> NDArray[np.int64] | None:
    """Return an order of all neurons that begins with the coordinates'; None where they are directions."""
    order = coordinates.order
    if order is None:
        return None
    if len(order) == width:
        return order
    rest = np.ones(width, dtype=np.bool_)
    rest[order] = False
    return np.concatenate([order, np.flatnonzero(rest)])


class _Resident:
    """The training features in memory, once, with their neurons in the order of the stack at work."""

    def __init__(self, x: NDArray[Any], order: NDArray[np.int64], view: int = 0) -> None:
        self.x = x
        self.view = view
        self._order = order

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Permute the neurons in place, a few rows at a time: no second copy of the representation."""
        where = np.empty_like(self._order)
        where[self._order] = np.arange(len(where))
        move = where[order]
        for start in range(0, len(self.x), _ROWS):
            part = self.x[start : start + _ROWS]
            part[:] = part[:, move]
        self._order = order
