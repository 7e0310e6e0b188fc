"""Stacked SGD probes against one PyTorch loop per probe: the paper's 22 x 5 grid at d = 2048, batch 256."""

import dataclasses
import time

import torch
from rows import Row, best, seconds
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from probe import PAPER_FRACTIONS, SGD_PROTOCOLS, neuron_order
from probe.sgd import fit_nested

LOOPS = {
    "loader": "a DataLoader loop per probe",
    "batch": "a loop that cuts the subset out of each batch",
    "tuned": "a loop that cuts the subset out once",
}
# The loops are timed without what a probe costs once (its layer, its optimiser); ours is spread over a few epochs.
FEW_EPOCHS = dataclasses.replace(SGD_PROTOCOLS["paper"], epochs=4)


def bench(*, width=2048, n=8192, n_seeds=5, classes=(10, 100), loop_steps=8):
    """Return rows for each number of classes."""
    sizes = sorted({int(f * width) for f in PAPER_FRACTIONS} - {0})
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, width, generator=generator).relu()
    rows = []
    for n_classes in classes:
        y = torch.randint(0, n_classes, (n,), generator=generator)
        steps = FEW_EPOCHS.epochs * -(-n // FEW_EPOCHS.batch_size)
        orders = [torch.from_numpy(neuron_order("random", s, width)) for s in range(1, n_seeds + 1)]
        stacked = 0.0
        for seed, order in enumerate(orders, 1):
            permuted = x[:, order]
            stacked += best(lambda p=permuted, s=seed, c=n_classes, y=y: _stack(p, y, sizes, c, s), 2)
        stacked /= steps
        loops = {
            kind: sum(_loop(x, y, o[:k], n_classes, loop_steps, kind) for o in orders for k in sizes) for kind in LOOPS
        }
        useful = 4.0 * FEW_EPOCHS.batch_size * n_classes * sum(sizes) * n_seeds / stacked
        gemm = _gemm_flops(width)
        what = f"{len(sizes) * n_seeds} probes, {n_classes} classes, one step of all"
        bars = (10, 0.3) if n_classes <= 10 else (3, 0.6)
        rows += [
            Row(
                what=what,
                ours=seconds(stacked),
                baseline=f"{LOOPS[kind]} {seconds(loop)}",
                ratio=loop / stacked,
                bar=bars[0] if kind == "loader" else None,
            )
            for kind, loop in loops.items()
        ]
        rows += [
            Row(
                what=f"useful FLOP/s, {n_classes} classes",
                ours=f"{useful / 1e9:,.0f} GFLOP/s",
                baseline=f"a {width} x {width} product {gemm / 1e9:,.0f} GFLOP/s",
                ratio=useful / gemm,
                bar=bars[1],
            ),
        ]
    return rows


def _stack(x, y, sizes, n_classes, seed):
    fit_nested((x, y), lambda: [(x[:64], y[:64])], sizes=sizes, n_classes=n_classes, protocol=FEW_EPOCHS, seed=seed)


def _loop(x, y, neurons, n_classes, n_steps, kind):
    """Return the time of one step of one probe, in seconds, after two steps to warm up."""
    head = torch.nn.Linear(len(neurons), n_classes)
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    if kind == "loader":
        loader = DataLoader(TensorDataset(x, y), batch_size=256, shuffle=True)
        batches = ((a[:, neurons], b) for a, b in loader)
    elif kind == "batch":
        batches = ((x[i][:, neurons], y[i]) for i in torch.randperm(len(x)).split(256))
    else:
        part = x[:, neurons].contiguous()
        batches = ((part[i], y[i]) for i in torch.randperm(len(x)).split(256))
    began = 0.0
    for step in range(n_steps + 2):
        if step == 2:
            began = time.perf_counter()
        a, b = next(batches)
        optimiser.zero_grad()
        functional.cross_entropy(head(a), b).backward()
        optimiser.step()
    return (time.perf_counter() - began) / n_steps


def _gemm_flops(width):
    a = torch.randn(width, width)
    out = torch.empty_like(a)
    return 2.0 * width**3 / best(lambda: torch.mm(a, a, out=out), 4)
