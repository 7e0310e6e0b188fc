"""Small classification problems with an answer to be found."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from probe import SGD_PROTOCOLS

sys.path.insert(0, str(Path(__file__).parent))  # `plain.py`, the oracles


@pytest.fixture(scope="session")
def short_protocol():
    """The paper's protocol with a budget for tests: decay happens, the last batch of an epoch is smaller."""
    return dataclasses.replace(SGD_PROTOCOLS["paper"], name="short", epochs=5, decay_every_epochs=2, batch_size=64)


def make_problem(n, d, n_classes, seed=0):
    """ReLU features with many zeros, and labels that a linear map explains but for noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(d, n_classes))
    x = np.maximum(rng.normal(size=(n, d)), 0).astype(np.float32)
    y = (x @ truth + 0.5 * d**0.5 * rng.normal(size=(n, n_classes))).argmax(1)
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.fixture(scope="session")
def problem():
    """Return (train, test) of 300 and 200 rows, 150 neurons, 7 classes."""
    x, y = make_problem(500, 150, 7)
    return (x[:300], y[:300]), (x[300:], y[300:])
