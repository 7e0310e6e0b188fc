"""Solver ``sgd``: many nested linear probes trained together, each as if alone.

Each probe is ``torch.nn.Linear(k, C)`` with its default initialisation, softmax cross-entropy and ``torch.optim.SGD``;
stacking changes the speed, not the result (see `probe._stack`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probe._stack import PANEL, Stack, filled_up, plan_stack
from probe.errors import InvalidProbe
from probe.protocols import SgdProtocol
from probe.scores import Score
from probe.subsets import check_sizes

if TYPE_CHECKING:
    import torch

SCORE_ROWS = 1024
"""Rows that are scored in one product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedProbes:
    """Trained probes of one stack, in the order of ``sizes``."""

    sizes: tuple[int, ...]
    """Subset sizes, rising."""
    weights: tuple[NDArray[np.float32], ...]
    """Per probe, shape (C, k): columns in the order of the stack's neurons."""
    biases: tuple[NDArray[np.float32], ...]
    """Per probe, shape (C,)."""
    scores: tuple[Score, ...]
    """Per probe, on the test rows."""
    val_accuracies: tuple[float, ...] | None
    """Per probe, of the epoch that was kept; None without validation rows."""
    best_epochs: tuple[int, ...] | None
    """Per probe, the epoch that was kept, from 0; None without validation rows."""


Rows = tuple["torch.Tensor", "torch.Tensor"]
"""Features, shape (n, d), and labels, shape (n,), int64."""


class _Block:
    """Buffers for one number of rows: features filled up with zeros, class scores, and each panel's part of both."""

    def __init__(self, stack: Stack, n_rows: int, device: "torch.device") -> None:
        import torch

        self.n = 0
        self.x = torch.zeros(n_rows, stack.reach, device=device)
        self.scores = torch.empty(stack.n_slots, stack.n_classes, n_rows, device=device)
        self.flat = self.scores.view(-1, n_rows)
        self.columns = [self.x[:, p.start : p.stop] for p in stack.panels]
        self.columns_t = [c.t() for c in self.columns]
        self.rows = [self.flat[: p.n_rows] for p in stack.panels]

    def fill(self, x: "torch.Tensor", rows: "torch.Tensor | None") -> None:
        """Copy rows of features (n, d), all of them by default; what is beyond them is zero."""
        import torch

        self.n = len(x) if rows is None else len(rows)
        if (
            rows is not None
            and x.dtype == torch.float32
            and x.shape[1] == self.x.shape[1]
            and x.device == self.x.device
        ):
            torch.index_select(x, 0, rows, out=self.x[: self.n])
        else:
            columns = min(x.shape[1], self.x.shape[1])
            self.x[: self.n, :columns] = (x if rows is None else x.index_select(0, rows))[:, :columns]
        self.x[self.n :] = 0


class _Probes:
    """Weights and momentum of a stack, and the three products that train it."""

    def __init__(self, stack: Stack, protocol: SgdProtocol, *, seed: int, device: "torch.device") -> None:
        import torch

        self.stack = stack
        rows = stack.n_slots * stack.n_classes
        # One buffer for weights and biases. Its length is a multiple of 64 bytes, the unit in which the fused optimiser
        # shares work among threads: no element is ever in a scalar tail, which would round differently.
        n_all = stack.n_weights + filled_up(rows)
        self._parameters, self._mask = torch.zeros(n_all, device=device), torch.zeros(n_all, device=device)
        self._parameters.grad = torch.zeros(n_all, device=device)
        self.w, self.bias = self._views(self._parameters)
        self._gradients, self._bias_gradient = self._views(self._parameters.grad)
        masks, bias_mask = self._views(self._mask)
        for i, k in enumerate(stack.sizes):
            weight, bias = initial_probe(seed, k, stack.n_classes)
            self.bias[self._rows(i)] = bias.to(device)
            bias_mask[self._rows(i)] = 1
            for w, mask, panel in zip(self.w, masks, stack.panels, strict=True):
                if panel.start < k:
                    stop = min(k, panel.stop)
                    w[self._rows(i), : stop - panel.start] = weight[:, panel.start : stop].to(device)
                    mask[self._rows(i), : stop - panel.start] = 1
        self._optimiser = torch.optim.SGD(
            [self._parameters], lr=0.0, momentum=protocol.momentum, weight_decay=protocol.weight_decay, fused=True
        )
        self._device = device
        self._row_numbers = torch.arange(protocol.batch_size, device=device)
        self._blocks: dict[int, _Block] = {}

    def _rows(self, probe: int) -> slice:
        return slice(probe * self.stack.n_classes, (probe + 1) * self.stack.n_classes)

    def _views(self, flat: "torch.Tensor") -> tuple[list["torch.Tensor"], "torch.Tensor"]:
        """Return the part of each panel, shape (rows, `PANEL`), and that of the biases, shape (slots x classes,)."""
        first = self.stack.n_weights
        panels = [flat[p.offset : p.end].view(p.n_rows, PANEL) for p in self.stack.panels]
        return panels, flat[first : first + self.stack.n_slots * self.stack.n_classes]

    def block(self, x: "torch.Tensor", rows: "torch.Tensor | None" = None) -> _Block:
        """Return rows of features (n, d) as a float32 block, filled up with zeros; the next call may overwrite it."""
        size = filled_up(len(x) if rows is None else len(rows))
        if size not in self._blocks:
            self._blocks[size] = _Block(self.stack, size, self._device)
        self._blocks[size].fill(x, rows)
        return self._blocks[size]

    def logits(self, block: _Block) -> "torch.Tensor":
        """Return class scores, shape (slot, class, row); they are the block's own."""
        block.flat.copy_(self.bias[:, None].expand_as(block.flat))
        for out, w, x in zip(block.rows, self.w, block.columns_t, strict=True):
            out.addmm_(w, x)
        return block.scores

    def step(self, block: _Block, labels: "torch.Tensor", rate: float) -> None:
        """Take one step of SGD on a block and the labels of its real rows, shape (n,)."""
        import torch

        g, n = self.logits(block), block.n
        # Softmax written out: torch.softmax rounds differently where its threads meet, so with what else is stacked.
        g.sub_(g.amax(1, keepdim=True)).exp_()
        g.div_(g.sum(1, keepdim=True).mul_(n))
        g[:, labels, self._row_numbers[:n]] -= 1.0 / n
        if n < len(block.x):
            g[..., n:] = 0
        for gradient, rows, x in zip(self._gradients, block.rows, block.columns, strict=True):
            torch.mm(rows, x, out=gradient)
        torch.sum(block.flat, 1, out=self._bias_gradient)
        assert self._parameters.grad is not None
        self._parameters.grad.mul_(self._mask)
        self._optimiser.param_groups[0]["lr"] = rate
        self._optimiser.step()

    def keep(self, best: "_Probes | None", improved: "torch.Tensor") -> None:
        """Copy the probes marked in ``improved``, shape (slot,), into ``best``."""
        assert best is not None
        rows = improved.repeat_interleave(self.stack.n_classes)
        best.bias[rows] = self.bias[rows]
        for kept, w, panel in zip(best.w, self.w, self.stack.panels, strict=True):
            kept[rows[: panel.n_rows]] = w[rows[: panel.n_rows]]

    def extract(self, probe: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weights (C, k) and bias (C,) of one probe."""
        import torch

        k, rows = self.stack.sizes[probe], self._rows(probe)
        parts = [w[rows] for w, panel in zip(self.w, self.stack.panels, strict=True) if panel.start < k]
        return torch.cat(parts, dim=1)[:, :k].cpu().numpy().copy(), self.bias[rows].cpu().numpy().copy()


def initial_probe(seed: int, n_neurons: int, n_classes: int) -> Rows:
    """Return initial weights (C, k) and bias (C,): U(-1/sqrt k, 1/sqrt k), the default of `torch.nn.Linear`.

    The draw depends on the seed, k and C only, so it is the same whatever else is trained beside it.
    """
    import torch

    state = np.random.SeedSequence([seed, n_neurons, n_classes]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state) >> 1)
    bound = n_neurons**-0.5
    weight = torch.empty(n_classes, n_neurons).uniform_(-bound, bound, generator=generator)
    return weight, torch.empty(n_classes).uniform_(-bound, bound, generator=generator)


def batches(n_rows: int, epoch: int, protocol: SgdProtocol) -> Iterator["torch.Tensor"]:
    """Yield the row numbers of each mini-batch of an epoch; every probe of every stack sees the same."""
    import torch

    state = np.random.SeedSequence([protocol.order_seed, epoch]).generate_state(1, np.uint64)[0]
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(int(state) >> 1))
    yield from order.split(protocol.batch_size)


def fit_nested(
    train: Rows,
    test: Callable[[], Iterable[Rows]],
    *,
    sizes: Iterable[int],
    n_classes: int,
    protocol: SgdProtocol,
    seed: int,
    train_rows: "torch.Tensor | None" = None,
    validation: Callable[[], Iterable[Rows]] | None = None,
    device: str = "cpu",
) -> FittedProbes:
    """Train one probe for each size on the first k neurons of the given features, and score them.

    Parameters
    ----------
    train
        Features in the order of the subsets' neurons, shape (n, d), float32 or float16, and labels, shape (n,), int64.
    test
        Called once at the end; yields blocks of test rows in the same neuron order.
    sizes
        Distinct subset sizes, each 1 to d.
    n_classes
        Classes, C; labels run from 0 to C - 1.
    protocol
        Budget and step sizes.
    seed
        Seeds the initial weights (with k and C).
    train_rows
        Row numbers to train on, shape (m,), int64; all by default.
    validation
        Like ``test``, called after every epoch: the epoch of best accuracy is kept, the first of equals. Without it the
        last epoch is kept.
    device
        Where the products run. On the CPU a probe's result is the same bits whatever else is in the stack and however
        many threads there are; on a GPU it is the same to rounding.

    Returns
    -------
    FittedProbes
        Weights, biases and scores by rising size.
    """
    import torch

    x, y = train
    rising = check_sizes(tuple(sizes), x.shape[1])
    if len(x) != len(y):
        raise InvalidProbe(f"features have {len(x)} rows, labels {len(y)}.")
    rows = torch.arange(len(x)) if train_rows is None else train_rows
    if not len(rows):
        raise InvalidProbe("there are no training rows.")
    where = torch.device(device)
    stack = plan_stack(rising, width=x.shape[1], n_classes=n_classes)
    probes = _Probes(stack, protocol, seed=seed, device=where)
    best = _Probes(stack, protocol, seed=seed, device=where) if validation else None
    best_val = torch.full((stack.n_slots,), -1.0, dtype=torch.float64)
    best_epoch = torch.zeros(stack.n_slots, dtype=torch.int64)
    with torch.inference_mode():
        for epoch in range(protocol.epochs):
            rate = protocol.rate(epoch)
            for batch in batches(len(rows), epoch, protocol):
                chosen = rows[batch]
                probes.step(probes.block(x, chosen), y[chosen].to(where), rate)
            if validation is not None:
                accuracy = torch.tensor([s.accuracy for s in _scores(probes, validation())], dtype=torch.float64)
                accuracy = torch.nn.functional.pad(accuracy, (0, stack.n_slots - stack.n_probes), value=-1.0)
                improved = accuracy > best_val
                probes.keep(best, improved.to(where))
                best_val = torch.where(improved, accuracy, best_val)
                best_epoch[improved] = epoch
        kept = probes if best is None else best
        scores = _scores(kept, test())
        fitted = [kept.extract(i) for i in range(stack.n_probes)]
    return FittedProbes(
        sizes=rising,
        weights=tuple(w for w, _ in reversed(fitted)),
        biases=tuple(b for _, b in reversed(fitted)),
        scores=tuple(reversed(scores)),
        val_accuracies=tuple(best_val[: stack.n_probes].flip(0).tolist()) if validation else None,
        best_epochs=tuple(best_epoch[: stack.n_probes].flip(0).tolist()) if validation else None,
    )


def _scores(probes: _Probes, blocks: Iterable[Rows]) -> list[Score]:
    """Count the predictions of every probe over blocks of rows, in the stack's order."""
    import torch

    n_classes, n_probes = probes.stack.n_classes, probes.stack.n_probes
    correct = torch.zeros(n_probes, n_classes, dtype=torch.int64)
    predicted = torch.zeros_like(correct)
    actual = torch.zeros(n_classes, dtype=torch.int64)
    first = torch.arange(n_probes)[:, None] * n_classes

    def counted(codes: "torch.Tensor") -> "torch.Tensor":
        return torch.bincount(codes.reshape(-1), minlength=n_probes * n_classes).view(n_probes, n_classes)

    for features, labels in blocks:
        for x, y in zip(features.split(SCORE_ROWS), labels.split(SCORE_ROWS), strict=True):
            guess = probes.logits(probes.block(x))[:n_probes, :, : len(y)].argmax(1).cpu()
            predicted += counted(first + guess)
            correct += counted((first + y)[guess == y])
            actual += torch.bincount(y, minlength=n_classes)
    if not int(actual.sum()):
        raise InvalidProbe("there are no rows to score.")
    return [
        Score(
            n_test=int(actual.sum()),
            correct=_array(correct[i]),
            actual=_array(actual),
            predicted=_array(predicted[i]),
        )
        for i in range(n_probes)
    ]


def _array(counts: "torch.Tensor") -> NDArray[np.int64]:
    values: Any = counts.numpy()
    return np.array(values, dtype=np.int64)
