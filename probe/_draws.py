"""What is random in a probe: initial weights and the order of rows. Pure (no I/O); draws come from explicit seeds."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from probe.protocols import SgdProtocol

if TYPE_CHECKING:
    import torch


def initial_probe(seed: int, n_neurons: int, n_classes: int) -> tuple["torch.Tensor", "torch.Tensor"]:
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
