"""The whole paper grid for one ResNet50-sized representation: minutes that were predicted, and minutes that it took.

110 probes (22 sizes, 5 seeds) at d = 2048, n = 45,000, 100 classes, 50 epochs of batch 256: 44,000 steps of 22 probes.
"""

import dataclasses
import time
from collections.abc import Callable

import torch
from rows import Row

from probe import PAPER_FRACTIONS, SGD_PROTOCOLS, neuron_order
from probe.sgd import fit_nested


def bench(*, width=2048, n=45_000, n_test=10_000, n_classes=100, n_seeds=5, epochs=50, steps=48):
    """Return one row for the CPU and one for a GPU where there is one; ``steps`` is how many the prediction is from."""
    generator = torch.Generator().manual_seed(0)
    sizes = sorted({int(f * width) for f in PAPER_FRACTIONS} - {0})
    x = torch.randn(n, width, generator=generator).relu()
    y = torch.randint(0, n_classes, (n,), generator=generator)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = []
    for device in devices:
        grid = _Grid(x, y, sizes=sizes, n_classes=n_classes, n_test=n_test, device=device)
        predicted = n_seeds * grid.predicted(epochs, steps)
        measured = sum(_timed(lambda s=seed, g=grid: g.stack(s, epochs)) for seed in range(1, n_seeds + 1))
        rows.append(
            Row(
                what=f"{len(sizes) * n_seeds} probes, n = {n:,}, d = {width}, {n_classes} classes, {epochs} epochs "
                f"on {f'{torch.get_num_threads()} cores' if device == 'cpu' else 'a GPU'}",
                ours=_minutes(measured),
                baseline=f"predicted {_minutes(predicted)}",
                ratio=measured / predicted,
            )
        )
    return rows


class _Grid:
    """One representation, whose neurons are put into the order of each seed in turn."""

    def __init__(self, x, y, *, sizes, n_classes, n_test, device):
        self._x, self._y = x, y
        self._test = slice(0, min(n_test, len(x)))
        self._options = {"sizes": sizes, "n_classes": n_classes, "device": device}

    def stack(self, seed, epochs, rows=None):
        """Train and score the probes of one seed."""
        order = torch.from_numpy(neuron_order("random", seed, self._x.shape[1]))
        for part in self._x.split(1024):  # no second copy of the representation
            part.copy_(part[:, order])
        fit_nested(
            (self._x, self._y),
            lambda: [(self._x[self._test], self._y[self._test])],
            protocol=dataclasses.replace(SGD_PROTOCOLS["paper"], epochs=epochs),
            seed=seed,
            train_rows=rows,
            **self._options,
        )

    def predicted(self, epochs, steps):
        """Return seconds of one stack from one epoch of a few steps and two of them."""
        batch = SGD_PROTOCOLS["paper"].batch_size
        n = len(self._x)
        few = torch.randperm(n, generator=torch.Generator().manual_seed(1))[: steps * batch]
        taken = -(-len(few) // batch)
        self.stack(1, 1, few)  # libraries set themselves up
        once, thrice = (min(_timed(lambda e=e: self.stack(1, e, few)) for _ in range(2)) for e in (1, 3))
        step = max(thrice - once, 1e-9) / (2 * taken)
        return max(once - taken * step, 0.0) + epochs * -(-n // batch) * step


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _minutes(value: float) -> str:
    return f"{value / 60:,.1f} min" if value >= 120 else f"{value:,.2f} s"
