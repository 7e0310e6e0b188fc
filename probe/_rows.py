"""Rows that are trained on and rows that are validated on: views one at a time, checked when they come."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from probe._counting import SCORE_ROWS, check_features, check_labels
from probe.errors import InvalidProbe
from probe.protocols import SgdProtocol

if TYPE_CHECKING:
    import torch

Rows = tuple["torch.Tensor", "torch.Tensor"]
"""Features, shape (n, d), and labels, shape (n,), int64."""

Views = Callable[[int], "torch.Tensor"]
"""Features (n, d) of a view of the training rows, by its number; each call may overwrite what the last one returned."""


class Training:
    """The training rows: features one view at a time, checked when they come."""

    def __init__(
        self,
        features: "torch.Tensor | Views",
        labels: "torch.Tensor",
        *,
        n_views: int,
        rows: "torch.Tensor | None",
        n_classes: int,
    ) -> None:
        import torch

        if n_classes < 2:
            raise InvalidProbe(f"a probe tells two classes apart or more, got {n_classes}.")
        if n_views < 1 or (n_views > 1 and not callable(features)):
            raise InvalidProbe(f"{n_views} views need a function that gives them, got features of one view.")
        self.y = labels
        self.rows = torch.arange(len(labels)) if rows is None else rows
        if not len(self.rows):
            raise InvalidProbe("there are no training rows.")
        check_labels(labels[self.rows], n_classes, "training rows")
        self._all = rows is None
        self._features = features
        self._n_views = n_views

    def view(self, number: int) -> "torch.Tensor":
        """Return features (n, d) of a view."""
        x = self._features(number) if callable(self._features) else self._features
        if len(x) != len(self.y):
            raise InvalidProbe(f"features have {len(x)} rows, labels {len(self.y)}.")
        check_features(x, f"training rows, view {number}", None if self._all else self.rows)
        return x

    def views_backwards(self) -> "Iterator[torch.Tensor]":
        """Yield features (n, d) of every view, the first last; each call may overwrite what the last one gave."""
        for number in reversed(range(self._n_views)):
            yield self.view(number)


class ValidationRows:
    """Validation rows: a split of its own, or rows held out of the training features in one view or the other."""

    def __init__(
        self, split: Callable[[], Iterable[Rows]] | None, held: "torch.Tensor | None", *, follows_epoch: bool
    ) -> None:
        self._split = split
        self._held = held
        self._follows_epoch = follows_epoch
        self._kept: Rows | None = None

    @classmethod
    def of(
        cls, split: Callable[[], Iterable[Rows]] | None, held: "torch.Tensor | None", protocol: SgdProtocol
    ) -> "ValidationRows | None":
        """Return what was asked for, if anything."""
        if split is not None and held is not None:
            raise InvalidProbe("validation is either a split of its own or rows of the training features, not both.")
        if split is None and held is None:
            if len(protocol.rates) > 1:
                raise InvalidProbe(
                    f"protocol {protocol.name} tries {len(protocol.rates)} learning rates: choosing one needs "
                    "validation rows (never the test rows). Give a validation split or a fraction of the training rows."
                )
            return None
        return cls(split, held, follows_epoch=protocol.validation_view == "epoch")

    def keep(self, x: "torch.Tensor", y: "torch.Tensor") -> None:
        """Set the held-out rows of the first view aside where the protocol validates on that."""
        if self._held is not None and not self._follows_epoch:
            self._kept = x[self._held], y[self._held]

    def blocks(self, x: "torch.Tensor | None", y: "torch.Tensor") -> Iterable[Rows]:
        """Return blocks of features and labels; ``x`` are those of the epoch's view, shape (n, d)."""
        if self._split is not None:
            yield from self._split()
        elif self._kept is not None:
            yield self._kept
        elif self._held is not None and x is not None:
            for part in self._held.split(SCORE_ROWS):
                yield x.index_select(0, part.to(x.device)), y[part]
