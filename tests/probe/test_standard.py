"""Standardised features against scikit-learn's StandardScaler."""

import gc
import weakref

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
    ours = Standard([x], rows, reach=64 if d_used == 9 else d_used, device=torch.device("cpu"))
    block = torch.zeros(300, 64 if d_used == 9 else d_used)
    block[:, :d_used] = x[:300, :d_used].float()
    ours.apply_(block)
    scaler = StandardScaler().fit(x[rows, :d_used].double().numpy())
    expected = scaler.transform(x[:300, :d_used].double().numpy())
    np.testing.assert_allclose(block[:, :d_used].numpy(), expected, rtol=2e-3, atol=2e-3)
    assert not bool(block[:, d_used:].any())  # filling stays filling


def test_folded_weights_give_the_same_scores_on_raw_features():
    x = torch.from_numpy(problem(d=6))
    ours = Standard([x], torch.arange(len(x)), reach=32, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(4, 5, generator=generator), torch.randn(4, generator=generator)
    block = torch.zeros(len(x), 32)
    block[:, :6] = x
    ours.apply_(block)
    raw, raw_bias = ours.folded(weight, bias)
    expected = block[:, :5].double() @ weight.double().T + bias
    torch.testing.assert_close(x[:, :5].double() @ raw.double().T + raw_bias, expected, rtol=1e-3, atol=5e-2)


def test_one_row_has_no_spread():
    ours = Standard([torch.tensor([[3.0, -1.0]])], torch.arange(1), reach=2, device=torch.device("cpu"))
    block = torch.tensor([[3.0, -1.0], [4.0, 0.0]])
    ours.apply_(block)
    assert block.tolist() == [[0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_statistics_of_several_views_are_those_of_all_their_rows(dtype):
    rng = np.random.default_rng(1)
    x = np.stack([problem(300), problem(300) + rng.normal(size=(300, 9)) * (np.arange(9) < 2), problem(300)])
    x[1:, :, 6] += 5  # the mean differs from view to view
    views = torch.from_numpy(x).to(dtype)
    rows = torch.randperm(300, generator=torch.Generator().manual_seed(3))[:250]
    ours = Standard((v.clone() for v in views), rows, reach=9, device=torch.device("cpu"))
    block = views[1].float().clone()
    ours.apply_(block)
    scaler = StandardScaler().fit(views[:, rows].reshape(-1, 9).double().numpy())
    expected = scaler.transform(views[1].double().numpy())
    np.testing.assert_allclose(block.numpy(), expected, rtol=1e-5, atol=2e-4)
    assert not block[:, 3].any()  # constant in all views


def test_views_come_and_go():
    """One view is held at a time."""
    seen = []

    def views():
        for _ in range(3):
            gc.collect()
            assert all(s() is None for s in seen)
            view = torch.rand(10, 4)
            seen.append(weakref.ref(view))
            yield view
            del view

    Standard(views(), torch.arange(10), reach=4, device=torch.device("cpu"))
    assert len(seen) == 3
