"""The rows that probes of one setting see, in the coordinates of a method: read from the store, once in memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probe._joined_blocks import joined
from probe._kept import Kept
from probe._pairing import check_clean, check_pair, held_out
from probe._resident import Resident, all_columns
from probe.coordinates import Coordinates
from probe.errors import Mismatch, ProbeError
from probe.gathered import is_gathered, stored_columns
from probe.spec import ProbeSetting
from probe.statistics import Statistics, statistics
from probe.stored_moments import squares_of
from probe.stored_statistics import statistics_of
from store import Features, Store

if TYPE_CHECKING:
    import torch

Rows = tuple["torch.Tensor", "torch.Tensor"]
Blocks = Callable[[], Iterator[Rows]]
ArrayBlocks = Callable[[], Iterator[tuple[NDArray[Any], NDArray[np.int64]]]]

CONTROL_SEED = 0
"""Seed of the permutation of labels in a control: the same for all subsets and methods, so that they compare."""


class Inputs:
    """The representations of one setting. Opening them refuses those that do not belong together.

    Of several views every one is read: a sample counts once as each view shows it. Training features that are in
    ``kept`` are taken from there.

    Raises
    ------
    Mismatch
        If widths or classes differ, the test split has rows of one class only, a control has other rows to score, or
        the clean representation of the held-out rows is not of the training rows.
    ProbeError
        If there are no rows to train or validate on.
    """

    def __init__(self, store: Store, setting: ProbeSetting, kept: Kept | None = None) -> None:
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
        clean_id = None if validation is None else validation.clean_id
        self._val = None if split_id is None else store.features.open(split_id)
        self._clean = None if clean_id is None else store.features.open(clean_id)
        for other in (self._test, self._val):
            if other is not None:
                check_pair(self.train, other)
        valid = np.flatnonzero(self.train.valid)
        self.train_rows, self.val_rows = held_out(valid, validation)
        if self._clean is not None and self.val_rows is not None:
            check_clean(self.train, self._clean)
            self.val_rows = self.val_rows[self._clean.valid[self.val_rows]]
            if not len(self.val_rows):
                raise ProbeError(f"all held-out rows are masked in {self._clean!r}: there are none to validate on.")
        self.labels = self.train.labels
        if setting.control == "random-labels":
            self.labels = self.labels.copy()
            self.labels[valid] = self.labels[valid][np.random.default_rng(CONTROL_SEED).permutation(len(valid))]
        self._kept = kept
        self._resident: Resident | None = None

    @property
    def width(self) -> int:
        """Neurons of the layer."""
        return self.train.layer_width

    @property
    def n_classes(self) -> int:
        """Classes."""
        return len(self.train.classes)

    @property
    def representations(self) -> list[Features]:
        """All that are read, the training one first."""
        return [f for f in (self.train, self._test, self._val, self._clean) if f is not None]

    def statistics(self) -> Statistics:
        """Return the statistics of the rows that are fitted on, with their true labels: coordinates follow from them.

        In a control too: it asks what the very same subset can learn by heart.
        """
        return statistics_of(self._store, self.train, rows=self._setting.training_rows, chosen=self._chosen)

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

    def counted(self, coordinates: Coordinates) -> Statistics:
        """Return the statistics of coordinates over the rows that are fitted on, with the labels that are fitted.

        For a layer of which only some neurons are stored: the whole of it has none.
        """
        return statistics(self._blocks(self.train, coordinates, self.train_rows, self.labels), self.n_classes)

    def stored_squares(self) -> tuple[int, NDArray[np.float64]]:
        """Return the rows that are fitted on and, of each stored neuron, the sum of squares about its mean."""
        return squares_of(self._store, self.train, rows=self._setting.training_rows, chosen=self._chosen)

    @property
    def _chosen(self) -> NDArray[np.int64] | None:
        return self.train_rows if self.val_rows is not None else None

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

        The next call may overwrite the features: they are in memory once. More columns may follow those of the
        coordinates; of a layer of which only some neurons are stored, just the coordinates are there.
        """
        import torch

        if self._resident is None and self._kept is not None:
            self._resident = self._kept.take(self.train, view)
        if coordinates.order is None:
            self._resident = None
            x = np.zeros((self.train.n_samples, coordinates.n), np.float32)
            for start, stop, block in self.train.blocks(view):
                valid = self.train.valid[start:stop]
                x[start:stop][valid] = coordinates.apply(block[valid])
            return torch.from_numpy(x), torch.from_numpy(self.labels)
        columns = stored_columns(self.train, coordinates.order, of="a method")
        if not is_gathered(self.train):
            columns = all_columns(columns, self.width)
        if self._resident is None or self._resident.view != view or not self._resident.holds(columns):
            self._resident = None  # before the next is read: never two in memory
            self._resident = Resident(self.train.numpy(view, neurons=columns), columns, view)
        else:
            self._resident.reorder(columns)
        return torch.from_numpy(self._resident.x), torch.from_numpy(self.labels)

    def leave(self) -> None:
        """Keep the training features that are in memory for the next task; call it when nothing uses them any more."""
        if self._kept is not None and self._resident is not None:
            self._kept.leave(self.train, self._resident)
        self._resident = None

    def fitted_rows(self, coordinates: Coordinates) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the rows that are fitted on and no others, float32, and labels.

        Of V views shape (V m, r), one view after the other: a solver that takes them needs all of them at once.
        """
        self._resident = None
        x = np.empty((self.n_views * len(self.train_rows), coordinates.n), np.float32)
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
        """Held-out rows of the training features to choose on; None where other rows are read for that.

        None for a control too: other rows tell nothing of permuted labels.
        """
        return None if self._setting.control is not None or self._clean is not None else self.val_rows

    def validation_blocks(self, coordinates: Coordinates) -> Blocks | None:
        """Return a reader of the validation rows as tensors, if there are any.

        Held-out rows of another representation are read once and kept: they may be asked for after every epoch.
        """
        arrays = self.validation_arrays(coordinates)
        if arrays is None or self._clean is None:
            return None if arrays is None else _as_tensors(arrays)
        kept = list(_as_tensors(arrays)())
        return lambda: iter(kept)

    def validation_arrays(self, coordinates: Coordinates) -> ArrayBlocks | None:
        """Return a reader of the validation rows, if there are any."""
        if self._setting.control is not None:
            return None
        if self._val is not None:
            val = self._val
            return lambda: self._blocks(val, coordinates, None, val.labels)
        if self.val_rows is None:
            return None
        source = self._clean or self.train
        return lambda: self._blocks(source, coordinates, self.val_rows, self.labels)

    def _blocks(
        self,
        features: Features,
        coordinates: Coordinates | None,
        rows: NDArray[np.int64] | None,
        labels: NDArray[np.int64],
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Yield the valid rows of a representation (or the given ones), of every view, chunk by chunk, and labels."""
        keep = features.valid
        if rows is not None:
            keep = np.zeros(features.n_samples, dtype=np.bool_)
            keep[rows] = True
        if coordinates is not None and coordinates.order is not None:
            coordinates = Coordinates(order=stored_columns(features, coordinates.order, of="a method"))
        blocks = _rows_of(features, coordinates, keep, labels)
        return joined(blocks) if is_gathered(features) else blocks


def _rows_of(
    features: Features, coordinates: Coordinates | None, keep: NDArray[np.bool_], labels: NDArray[np.int64]
) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    for view in range(features.n_views):
        for start, stop, block in features.blocks(view):
            chosen = keep[start:stop]
            if chosen.any():
                x = block[chosen]
                yield x if coordinates is None else coordinates.apply(x), labels[start:stop][chosen]


def _as_tensors(arrays: ArrayBlocks) -> Blocks:
    import torch

    return lambda: ((torch.from_numpy(x), torch.from_numpy(y)) for x, y in arrays())
