"""Oracles: one plain PyTorch loop per probe, and CKA from n x n Gram matrices."""

import numpy as np
import torch
from torch.nn import functional

from probe.sgd import batches, initial_probe


def plain_probe(x, y, k, *, n_classes, protocol, seed, rows=None, each_epoch=None, rate=None):
    """Train ``torch.nn.Linear(k, C)`` alone with ``torch.optim.SGD``; call ``each_epoch(linear, epoch)`` after each.

    ``x`` may be a list of views, taken in turn; ``rate`` replaces the protocol's learning rate.
    """
    views = x if isinstance(x, list) else [x]
    weight, bias = initial_probe(seed, k, n_classes)
    linear = torch.nn.Linear(k, n_classes)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    optimiser = torch.optim.SGD(
        linear.parameters(),
        lr=protocol.learning_rate if rate is None else rate,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, protocol.decay_every_epochs, gamma=protocol.decay_factor)
    rows = torch.arange(len(y)) if rows is None else rows
    for epoch in range(protocol.epochs):
        for batch in batches(len(rows), epoch, protocol):
            chosen = rows[batch]
            optimiser.zero_grad()
            functional.cross_entropy(linear(views[epoch % len(views)][chosen, :k].float()), y[chosen]).backward()
            optimiser.step()
        schedule.step()
        if each_epoch is not None:
            each_epoch(linear, epoch)
    return linear


def gram_cka(x, y):
    """Appendix A of the paper: tr(K H L H) / sqrt(tr(K H K H) tr(L H L H)) with K = X X', L = Y Y', H = I - 11'/n."""
    n = len(x)
    h = np.eye(n) - 1.0 / n
    k, l = x @ x.T, y @ y.T  # noqa: E741 - the paper's symbol
    khlh = np.trace(k @ h @ l @ h)
    return khlh / np.sqrt(np.trace(k @ h @ k @ h) * np.trace(l @ h @ l @ h))
