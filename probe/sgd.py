"""Solver ``sgd``: many nested linear probes trained together, each as if alone.

Each probe is ``torch.nn.Linear(k, C)`` with its default initialisation, softmax cross-entropy and ``torch.optim.SGD``;
stacking changes the speed, not the result (see `probe._stack`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probe._counting import Counted, count
from probe._draws import batches, initial_probe
from probe._products import matmul_precision
from probe._rows import Rows, Training, ValidationRows, Views
from probe._stack import plan_stack
from probe._stacked_probes import StackedProbes
from probe._standard import Standard
from probe._steps import steps_for
from probe.protocols import SgdProtocol
from probe.scores import Score
from probe.subsets import check_sizes

if TYPE_CHECKING:
    import torch

__all__ = ["FittedProbes", "batches", "fit_nested", "initial_probe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProbes:
    """Trained probes of one stack, in the order of ``sizes``."""

    sizes: tuple[int, ...]
    """Subset sizes, rising."""
    weights: tuple[NDArray[np.float32], ...]
    """Per probe, shape (C, k): columns in the order of the stack's neurons, for features as they were given."""
    biases: tuple[NDArray[np.float32], ...]
    """Per probe, shape (C,)."""
    scores: tuple[Score, ...]
    """Per probe, on the test rows; of a probe that diverged they say nothing."""
    diverged: tuple[bool, ...]
    """Per probe, whether weights or class scores were not finite in the end (with validation: in every epoch)."""
    learning_rates: tuple[float, ...]
    """Per probe, the step size of the first epoch; where several were tried, the chosen one."""
    val_accuracies: tuple[float | None, ...] | None
    """Per probe, of the epoch that was kept, None for one that diverged; None without validation rows."""
    best_epochs: tuple[int | None, ...] | None
    """Per probe, the epoch that was kept, from 0, None for one that diverged; None without validation rows."""


def fit_nested(
    train: "tuple[torch.Tensor | Views, torch.Tensor]",
    test: Callable[[], Iterable[Rows]],
    *,
    sizes: Iterable[int],
    n_classes: int,
    protocol: SgdProtocol,
    seed: int,
    n_views: int = 1,
    train_rows: "torch.Tensor | None" = None,
    validation: Callable[[], Iterable[Rows]] | None = None,
    validation_rows: "torch.Tensor | None" = None,
    device: str = "cpu",
) -> FittedProbes:
    """Train one probe for each size on the first k neurons of the given features, and score them.

    Parameters
    ----------
    train
        Features in the order of the subsets' neurons, shape (n, d), float32 or float16, or a function that gives those
        of a view; and labels, shape (n,), int64, which all views share.
    test
        Called once at the end; yields blocks of test rows in the same neuron order.
    sizes
        Distinct subset sizes, each 1 to d.
    n_classes
        Classes, C >= 2; labels run from 0 to C - 1. A class may be missing from the training rows.
    protocol
        Budget, step sizes and options.
    seed
        Seeds the initial weights (with k and C), unless the protocol fixes them.
    n_views
        Stored views of the training rows, V: epoch e trains on view e mod V. One is held at a time.
    train_rows
        Row numbers to train on, shape (m,), int64; all by default. Others are not looked at.
    validation
        Like ``test``, called after the epochs that the protocol names: for each probe the epoch of best accuracy is
        kept, the first of equals. Without validation the last epoch is kept.
    validation_rows
        Instead: row numbers of the training features, shape (v,), int64, to validate on, in the view that the protocol
        names.
    device
        Where the products run. On the CPU a probe's result is the same bits whatever else is in the stack and however
        many threads there are; on a GPU it is the same to rounding.

    Returns
    -------
    FittedProbes
        Weights, biases and scores by rising size.

    Raises
    ------
    InvalidProbe
        If sizes, labels, rows or options do not fit, or a feature that is used is not finite.
    """
    import torch

    features = Training(*train, n_views=n_views, rows=train_rows, n_classes=n_classes)
    validating = ValidationRows.of(validation, validation_rows, protocol)
    x = features.view(0)
    rising = check_sizes(tuple(sizes), x.shape[1])
    where = torch.device(device)
    rates = protocol.rates
    stack = plan_stack(rising, width=x.shape[1], n_classes=n_classes, n_copies=len(rates))
    standard = None
    if protocol.normalisation == "standardised":
        del x  # the views pass by one at a time, the first last: it is trained on next
        standard = Standard(features.views_backwards(), features.rows, reach=stack.reach, device=where)
        x = features.view(0)
    probes = StackedProbes(stack, protocol, seed=seed, device=where, standard=standard)
    best = StackedProbes(stack, protocol, seed=seed, device=where, standard=standard) if validating else None
    best_val = torch.full((stack.n_slots,), -1.0, dtype=torch.float64)
    best_epoch = torch.zeros(stack.n_slots, dtype=torch.int64)
    steps = steps_for(probes, protocol.batch_size)
    steps.load(x, features.y)
    if validating is not None and n_views > 1:
        validating.keep(x, features.y)
    del x  # views come and go: only `steps` holds the one at work
    with torch.inference_mode(), matmul_precision(protocol.precision):
        for epoch in range(protocol.epochs):
            if epoch and n_views > 1:
                steps.load(None, features.y)
                steps.load(features.view(epoch % n_views), features.y)
            probes.set_rate(protocol.rate(epoch))
            for batch in batches(len(features.rows), epoch, protocol):
                steps.take(features.rows[batch])
            if validating is not None and best is not None and protocol.validates(epoch):
                blocks = validating.blocks(steps.x, features.y)
                accuracy = _val_accuracy(count(probes, blocks, what="validation"), stack.n_slots)
                improved = accuracy > best_val
                probes.keep_in(best, improved)
                best_val = torch.where(improved, accuracy, best_val)
                best_epoch[improved] = epoch
        if best is not None:
            probes.keep_in(best, best_val < 0)  # those that diverged from the start: kept as they ended
        kept = probes if best is None else best
        counted = count(kept, test())
        # Of the slots of one size (falling), the one of best validation accuracy: the first of equals.
        by_rate = best_val[: stack.n_probes].view(-1, len(rates)).numpy()
        slots = [i * len(rates) + int(by_rate[i].argmax()) for i in reversed(range(len(rising)))]
        fitted = [kept.extract(slot) for slot in slots]
    undefined = [best is not None and float(best_val[slot]) < 0 for slot in slots]
    return FittedProbes(
        sizes=rising,
        weights=tuple(w for w, _ in fitted),
        biases=tuple(b for _, b in fitted),
        scores=tuple(counted.scores[slot] for slot in slots),
        diverged=tuple(u or not bool(counted.finite[s]) for u, s in zip(undefined, slots, strict=True)),
        learning_rates=tuple(rates[slot % len(rates)] for slot in slots),
        val_accuracies=_where(undefined, slots, best_val) if best is not None else None,
        best_epochs=_where(undefined, slots, best_epoch) if best is not None else None,
    )


def _val_accuracy(counted: Counted, n_slots: int) -> "torch.Tensor":
    """Return accuracies, shape (slot,), with -1 for a slot that has none: it diverged, or holds no probe."""
    import torch

    accuracy = torch.full((n_slots,), -1.0, dtype=torch.float64)
    found = torch.tensor([s.accuracy for s in counted.scores], dtype=torch.float64)
    accuracy[: len(found)] = torch.where(counted.finite, found, -1.0)
    return accuracy


def _where(undefined: list[bool], slots: list[int], values: "torch.Tensor") -> tuple[Any, ...]:
    return tuple(None if u else values[slot].item() for u, slot in zip(undefined, slots, strict=True))
