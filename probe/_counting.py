"""Counting the predictions of all probes of a stack, block by block."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probe._stacked_probes import StackedProbes
from probe.errors import InvalidProbe
from probe.scores import Score

if TYPE_CHECKING:
    import torch

SCORE_ROWS = 1024
"""Rows that are scored in one product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Predictions of every probe of a stack."""

    scores: tuple[Score, ...]
    """Per slot with a probe."""
    finite: "torch.Tensor"
    """Whether all weights and all class scores of a probe were finite, shape (slot with a probe,)."""


def count(
    probes: StackedProbes, blocks: Iterable[tuple["torch.Tensor", "torch.Tensor"]], *, what: str = "test"
) -> Counted:
    """Count the predictions of every probe over blocks of features (n, d) and labels (n,).

    Raises
    ------
    InvalidProbe
        If there is no row, a feature is not finite or a label is not a class.
    """
    import torch

    n_classes, n_probes = probes.stack.n_classes, probes.stack.n_probes
    correct = torch.zeros(n_probes, n_classes, dtype=torch.int64)
    predicted = torch.zeros_like(correct)
    actual = torch.zeros(n_classes, dtype=torch.int64)
    first = torch.arange(n_probes)[:, None] * n_classes
    finite = probes.finite()[:n_probes]

    def counted(codes: "torch.Tensor") -> "torch.Tensor":
        return torch.bincount(codes.reshape(-1), minlength=n_probes * n_classes).view(n_probes, n_classes)

    for features, labels in blocks:
        check_features(features, f"{what} rows")
        check_labels(labels, n_classes, f"{what} rows")
        if not len(labels):
            continue
        for x, y in zip(features.split(SCORE_ROWS), labels.split(SCORE_ROWS), strict=True):
            top, guess = (t.cpu() for t in probes.logits(probes.block(x))[:n_probes, :, : len(y)].max(1))
            finite &= top.isfinite().all(1)
            predicted += counted(first + guess)
            correct += counted((first + y)[guess == y])
            actual += torch.bincount(y, minlength=n_classes)
    if not int(actual.sum()):
        raise InvalidProbe(f"there are no rows to score: the {what} rows are empty.")
    scores = tuple(
        Score(
            n_test=int(actual.sum()),
            correct=_array(correct[i]),
            actual=_array(actual),
            predicted=_array(predicted[i]),
        )
        for i in range(n_probes)
    )
    return Counted(scores=scores, finite=finite)


def check_features(x: "torch.Tensor", what: str, rows: "torch.Tensor | None" = None) -> None:
    """Refuse features (n, d) that are not finite, of the given rows or of all.

    Raises
    ------
    InvalidProbe
        With the first such row and neuron.
    """
    import torch

    all_rows = rows is None
    for part in (torch.arange(len(x)) if rows is None else rows).split(SCORE_ROWS):
        first = int(part[0]) if len(part) else 0
        block = x[first : first + len(part)] if all_rows else x.index_select(0, part.to(x.device))
        # A sum is finite if its parts are, short of overflow: one quick pass, and a second one only in doubt.
        if bool(block.sum(dtype=torch.float32).isfinite()):
            continue
        bad = block.isfinite().logical_not().nonzero()
        if len(bad):
            row, neuron = int(part[bad[0, 0]]), int(bad[0, 1])
            raise InvalidProbe(
                f"{what}: features must be finite, got {float(x[row, neuron])} in row {row}, column {neuron}. "
                "Leave such rows out, or extract them again."
            )


def check_labels(y: "torch.Tensor", n_classes: int, what: str) -> None:
    """Refuse labels (n,) that are not 0 to C - 1.

    Raises
    ------
    InvalidProbe
        With the range that was found.
    """
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < n_classes:
        raise InvalidProbe(f"{what}: labels must be 0 to {n_classes - 1}, got {int(y.min())} to {int(y.max())}.")


def _array(counts: "torch.Tensor") -> NDArray[np.int64]:
    values: Any = counts.numpy()
    return np.array(values, dtype=np.int64)
