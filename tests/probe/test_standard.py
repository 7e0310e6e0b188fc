"""Standardised features against scikit-learn's StandardScaler."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from probe._standard import Standard


def problem(n=2100, d=9):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) * 10.0 ** np.arange(-4, d - 4) + 3
    x[:, 2] = 7.0  # constant
    x[:, 3] = 0.1 + 0.2  # constant, and not a binary fraction
    x[:, 4] = 0.0
    return x.astype(np.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("d_used", [9, 5])
def test_statistics_are_scikit_learns(dtype, d_used):
    x = torch.from_numpy(problem()).to(dtype)
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))[:1500]
    ours = Standard(x, rows, reach=64 if d_used == 9 else d_used, device=torch.device("cpu"))
    block = torch.zeros(300, 64 if d_used == 9 else d_used)
    block[:, :d_used] = x[:300, :d_used].float()
    ours.apply_(block)
    scaler = StandardScaler().fit(x[rows, :d_used].double().numpy())
    expected = scaler.transform(x[:300, :d_used].double().numpy())
    np.testing.assert_allclose(block[:, :d_used].numpy(), expected, rtol=2e-3, atol=2e-3)
    assert not bool(block[:, d_used:].any())  # filling stays filling


def test_folded_weights_give_the_same_scores_on_raw_features():
    x = torch.from_numpy(problem(d=6))
    ours = Standard(x, torch.arange(len(x)), reach=32, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(4, 5, generator=generator), torch.randn(4, generator=generator)
    block = torch.zeros(len(x), 32)
    block[:, :6] = x
    ours.apply_(block)
    raw, raw_bias = ours.folded(weight, bias)
    expected = block[:, :5].double() @ weight.double().T + bias
    torch.testing.assert_close(x[:, :5].double() @ raw.double().T + raw_bias, expected, rtol=1e-3, atol=5e-2)


def test_one_row_has_no_spread():
    ours = Standard(torch.tensor([[3.0, -1.0]]), torch.arange(1), reach=2, device=torch.device("cpu"))
    block = torch.tensor([[3.0, -1.0], [4.0, 0.0]])
    ours.apply_(block)
    assert block.tolist() == [[0.0, 0.0], [1.0, 1.0]]
