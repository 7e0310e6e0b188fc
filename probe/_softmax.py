"""Softmax regression on centred and scaled features, which are never copied as a whole. Pure (no I/O).

A point is (C, k + 1): weights V of k coordinates and, last, the bias c. Scores are V (x - m) / s + c, shape (C, n).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from probe._lbfgs import Reached

if TYPE_CHECKING:
    import torch

_BLOCK_VALUES = 1 << 18
"""Features that are converted to float64 at a time on the CPU: 2 MiB, what a core's cache holds."""
_BLOCK_VALUES_CUDA = 1 << 26
"""The same on a GPU: 512 MiB."""


def blocks(x: "torch.Tensor", k: int, dtype: "torch.dtype") -> Iterator[tuple[int, "torch.Tensor"]]:
    """Yield the first row and the first k columns of blocks of features; the next may overwrite a block."""
    import torch

    values = _BLOCK_VALUES if x.device.type == "cpu" else _BLOCK_VALUES_CUDA
    n_rows = min(len(x), max(64, values // k))
    buffer = torch.empty(n_rows, k, dtype=dtype, device=x.device)
    for start in range(0, len(x), n_rows):
        part = x[start : start + n_rows, :k]
        yield start, buffer[: len(part)].copy_(part)


class CentredFeatures:
    """Features x (n, r), float32 or float64, as (x - m) / s.

    Centring and scaling are folded into weights and gradients, in float64. Products are in the type of the scores: of
    the features' own they take them as they lie, in float64 they convert float32 features block by block.

    Parameters
    ----------
    x
        Features, shape (n, r), n >= 1, float32 or float64.
    mean
        m, shape (r,), float64.
    scale
        s, shape (r,), float64, > 0.
    """

    def __init__(self, x: "torch.Tensor", mean: "torch.Tensor", scale: "torch.Tensor") -> None:
        self.x, self.mean, self.scale = x, mean, scale

    def __len__(self) -> int:
        return len(self.x)

    def raw(self, point: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return the weights W (C, k) and bias (C,) that give on raw features what a point gives on these."""
        k = point.shape[1] - 1
        weight = point[:, :k] / self.scale[:k]
        return weight, point[:, k] - weight @ self.mean[:k]

    def point(self, weight: "torch.Tensor", bias: "torch.Tensor") -> "torch.Tensor":
        """Return the point of raw weights (C, k) and bias (C,)."""
        import torch

        k = weight.shape[1]
        return torch.cat([weight * self.scale[:k], (bias + weight @ self.mean[:k])[:, None]], 1)

    def scores(self, weight: "torch.Tensor", bias: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
        """Return the class scores of raw weights (C, k) and bias (C,), shape (C, n)."""
        import torch

        k = weight.shape[1]
        weight, bias = weight.to(dtype), bias.to(dtype)[:, None]
        if self.x.dtype == dtype:
            return torch.addmm(bias, weight, self.x[:, :k].t())
        out = torch.empty(len(weight), len(self.x), dtype=dtype, device=self.x.device)
        for start, block in blocks(self.x, k, dtype):
            out[:, start : start + len(block)] = torch.addmm(bias, weight, block.t())
        return out

    def moments(self, residuals: "torch.Tensor", k: int) -> "torch.Tensor":
        """Return the products of residuals (C, n) with the first k features and with 1, shape (C, k + 1), float64."""
        import torch

        out = torch.zeros(len(residuals), k + 1, dtype=torch.float64, device=self.x.device)
        sums = residuals.sum(1, dtype=torch.float64)
        raw = out[:, :k]
        if self.x.dtype == residuals.dtype:
            raw.copy_(residuals @ self.x[:, :k])
        else:
            for start, block in blocks(self.x, k, residuals.dtype):
                raw.add_(residuals[:, start : start + len(block)] @ block)
        raw.sub_(sums[:, None] * self.mean[:k]).div_(self.scale[:k])
        out[:, k] = sums
        return out


class SoftmaxProblem:
    """Mean cross-entropy plus (l2 / 2) ||V||^2, as `probe._lbfgs` asks of it.

    Parameters
    ----------
    features
        Training rows.
    labels
        Shape (n,), int64, on the features' device; every class from 0 to C - 1 is there.
    l2
        Penalty, > 0.
    dtype
        Type of scores and of products with features: float64, or float32 for a quick way near the minimum. Points and
        gradients are float64 either way.
    """

    def __init__(self, features: CentredFeatures, labels: "torch.Tensor", *, l2: float, dtype: "torch.dtype") -> None:
        import torch

        self._features, self._l2, self._dtype = features, l2, dtype
        self._labels = labels[None]
        # A sum of n C products of float32 numbers is good to about 1e-6 of its size, one of float64 to 1e-14.
        self.rounding = 1e-12 if dtype == torch.float64 else 1e-5

    def scores(self, point: "torch.Tensor") -> "torch.Tensor":
        """Return the class scores at a point, shape (C, n)."""
        return self._features.scores(*self._features.raw(point), self._dtype)

    def gradient(self, point: "torch.Tensor", residuals: "torch.Tensor") -> "torch.Tensor":
        """Return the gradient at a point whose residuals, (p - y) / n, are given."""
        out = self._features.moments(residuals, point.shape[1] - 1)
        out[:, :-1].add_(point[:, :-1], alpha=self._l2)
        return out

    def at(
        self,
        scores: "torch.Tensor",
        point: "torch.Tensor",
        step_scores: "torch.Tensor",
        step: "torch.Tensor",
        length: float,
    ) -> Reached:
        """Return the objective at ``point + length * step``."""
        import torch

        n = len(self._features)
        p = scores.add(step_scores, alpha=length)
        p.sub_(p.amax(0))
        loss = -float(p.gather(0, self._labels).sum(dtype=torch.float64))
        p.exp_()
        sums = p.sum(0)
        loss += float(sums.log().sum(dtype=torch.float64))
        p.div_(sums)
        p.scatter_add_(0, self._labels, torch.full_like(p[:1], -1.0))
        v, d = point[:, :-1], step[:, :-1]
        vv, vd, dd = float((v * v).sum()), float((v * d).sum()), float((d * d).sum())

        def curvature() -> float:
            # Per row sum_c p s^2 - (sum_c p s)^2, with p = residual + y.
            product = residuals * step_scores
            own = step_scores.gather(0, self._labels)[0]
            mean = product.sum(0).mul_(n).add_(own)
            square = product.mul_(step_scores).sum(0).mul_(n).add_(own * own)
            return float((square - mean * mean).sum(dtype=torch.float64)) / n + self._l2 * dd

        residuals = p.div_(n)
        return Reached(
            value=loss / n + 0.5 * self._l2 * (vv + 2 * length * vd + length * length * dd),
            slope=float((residuals * step_scores).sum(dtype=torch.float64)) + self._l2 * (vd + length * dd),
            curvature=curvature,
            residuals=residuals,
        )

    def probabilities(self, point: "torch.Tensor") -> "torch.Tensor":
        """Return the probability of each class for each row at a point, shape (C, n), float64."""
        return self.scores(point).double().softmax(0)
