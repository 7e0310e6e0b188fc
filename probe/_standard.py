"""Standardised features: mean 0 and standard deviation 1 over the training rows, per neuron. Pure (no I/O)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ROWS = 1024


class Standard:
    """Mean and inverse standard deviation of each neuron, filled up with zeros.

    Parameters
    ----------
    views
        Features of each view, shape (n, d), any float type; each is let go of before the next is asked for.
    rows
        Rows to take them from, of every view, shape (m,), int64, m >= 1.
    reach
        Neurons of the blocks to be standardised.
    device
        Where those are.
    """

    def __init__(
        self, views: "Iterable[torch.Tensor]", rows: "torch.Tensor", *, reach: int, device: "torch.device"
    ) -> None:
        import torch

        n = 0
        for x in views:
            self._width = min(x.shape[1], reach)
            own, spread = self._moments(x, rows)
            del x
            if not n:
                n, mean, squares = len(rows), own, spread
                continue
            # The merging of Chan, Golub and LeVeque (see `probe.statistics.merge`).
            delta, m = own - mean, len(rows)
            squares += spread + delta.square() * (n * m / (n + m))
            mean += delta * (m / (n + m))
            n += m
        variance = squares / n
        # A neuron that is constant but for rounding has scale 1, as in scikit-learn's StandardScaler (its bound).
        eps = float(torch.finfo(torch.float64).eps)
        constant = variance <= n * eps * variance + (n * mean * eps) ** 2
        scale = torch.where(constant, 1.0, variance).rsqrt()
        self._mean, self._scale = mean, scale
        pad = (0, reach - self._width)
        self._centre = torch.nn.functional.pad(mean, pad).float().to(device)
        self._factor = torch.nn.functional.pad(scale, pad).float().to(device)

    def _moments(self, x: "torch.Tensor", rows: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return the mean of each neuron over the rows of one view, and the sum of squares about it."""
        import torch

        mean = torch.zeros(self._width, dtype=torch.float64)
        squares = torch.zeros(self._width, dtype=torch.float64)
        # Two passes in float64, a few rows at a time: no second copy of the features, nothing cancels.
        for part in rows.split(_ROWS):
            mean += self._read(x, part).sum(0)
        mean /= len(rows)
        for part in rows.split(_ROWS):
            squares += (self._read(x, part) - mean).square().sum(0)
        return mean, squares

    def _read(self, x: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
        return x.index_select(0, rows)[:, : self._width].double()

    def apply_(self, block: "torch.Tensor") -> None:
        """Standardise rows of a block in place, shape (n, reach)."""
        block.sub_(self._centre).mul_(self._factor)

    def folded(self, weight: "torch.Tensor", bias: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return the weights (C, k) and bias (C,) that give on raw features what these give on standardised ones."""
        k = weight.shape[1]
        raw = weight.double() * self._scale[:k]
        return raw.float(), (bias.double() - raw @ self._mean[:k]).float()
