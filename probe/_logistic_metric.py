"""Metrics of logistic probes: approximations of the inverse Hessian that L-BFGS starts from. Pure (no I/O).

They decide how many steps a fit takes and nothing else, so they may be rounded and may leave out rows. With x~ the
centred and scaled features and a 1 behind them, and p the probabilities at a point, the Hessian of classes a, b is
sum_i p_ia ([a = b] - p_ib) x~_i x~_i' / n, plus l2 I for the weights. The metrics are stages of it, from cheap to
exact: one curvature for all rows and classes; that of each row (and class, where it is affordable); all of it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from probe._softmax import CentredFeatures

if TYPE_CHECKING:
    import torch

Metric = Callable[["torch.Tensor"], "torch.Tensor"]
"""An approximation of the inverse Hessian, on points, shape (C, k + 1)."""

_ROWS = 8192
"""Products of features are taken over so many rows at least, if there are, and over 4 per coordinate."""
_BLOCK_ROWS = 1024
"""Rows of a product."""
_WHOLE_HESSIAN = 512
"""Weights and biases up to which the Hessian is taken as a whole: Newton's method."""
_CLASS_BLOCKS = 256
"""Coordinates up to which classes have blocks of their own: these cost less than the steps they save."""
_CLASS_VALUES = 1 << 24
"""Numbers that those hold at most: 128 MiB."""
_QUICK_CONDITION = 1e5
"""A metric is solved in float32 up to this condition number: a hundredth of what float32 can tell apart."""


def scatter(features: CentredFeatures, k: int) -> "torch.Tensor":
    """Return the mean product of the first k scaled columns, shape (k, k), float64; products are float32."""
    import torch

    out = torch.zeros(k, k, dtype=torch.float64, device=features.x.device)
    chosen = _rows(features, k)
    for rows in chosen.split(_BLOCK_ROWS):
        block = _block(features, rows, k)[:, :k].float()
        out += block.t() @ block
    return out.div_(len(chosen))


def even_metric(scatter: "torch.Tensor", curvature: float, l2: float) -> Metric:
    """Return the metric in which all rows and classes are equally curved, of a scatter (k, k)."""
    import torch

    k = len(scatter)
    matrix = torch.zeros(1, k + 1, k + 1, dtype=torch.float64, device=scatter.device)
    matrix[0, :k, :k] = scatter
    matrix[0, k, k] = 1.0
    return _inverse(matrix.mul_(curvature), l2, k=k)


def metric_at(features: CentredFeatures, k: int, p: "torch.Tensor", l2: float) -> Metric:
    """Return the metric at probabilities p, shape (C, n): rows near a boundary decide, so they count."""
    import torch

    n_classes, chosen = len(p), _rows(features, k)
    whole = n_classes * (k + 1) <= _WHOLE_HESSIAN
    by_class = k <= _CLASS_BLOCKS and n_classes * k * k <= _CLASS_VALUES
    own = p if whole else p * (1 - p)
    weights = own if whole or by_class else own.mean(0, keepdim=True)
    blocks = torch.zeros(len(weights), k + 1, k + 1, dtype=torch.float64, device=p.device)
    joint = (
        torch.zeros(n_classes * (k + 1), n_classes * (k + 1), dtype=torch.float64, device=p.device) if whole else None
    )
    for rows in chosen.split(_BLOCK_ROWS):
        x = _block(features, rows, k)
        if joint is not None:
            for i, block in enumerate(blocks):
                block += (x * weights[i, rows, None]).t() @ x
            z = (p[:, rows].t()[:, :, None] * x[:, None]).reshape(len(rows), -1)
            joint -= z.t() @ z
        else:
            single = x.float()
            for i, block in enumerate(blocks):
                part = single * weights[i, rows, None].sqrt().float()
                block += part.t() @ part
    if joint is None:
        return _inverse(blocks.div_(len(chosen)), l2, k=k)
    for i, block in enumerate(blocks):
        own_rows = slice(i * (k + 1), (i + 1) * (k + 1))
        joint[own_rows, own_rows] += block
    return _inverse(joint.div_(len(chosen))[None], l2, k=k)


def _rows(features: CentredFeatures, k: int) -> "torch.Tensor":
    """Return enough row numbers, evenly spaced."""
    import torch

    n = len(features)
    spaced = torch.linspace(0, n - 1, min(n, max(_ROWS, 4 * k)), dtype=torch.float64, device=features.x.device)
    return spaced.round_().long()


def _block(features: CentredFeatures, rows: "torch.Tensor", k: int) -> "torch.Tensor":
    """Return rows of the first k columns, centred and scaled, and a column of ones, shape (m, k + 1), float64."""
    import torch

    block = features.x.new_ones(len(rows), k + 1, dtype=torch.float64)
    block[:, :k] = features.x.index_select(0, rows)[:, :k].to(torch.float64)
    block[:, :k].sub_(features.mean[:k]).div_(features.scale[:k])
    return block


def _inverse(matrices: "torch.Tensor", l2: float, *, k: int) -> Metric:
    """Return the inverse of curvatures plus l2 for the weights.

    Shape (C, k + 1, k + 1), a block for each class; (1, k + 1, k + 1), the same for all; or (1, C (k + 1), C (k + 1)),
    all classes at once. They are overwritten.
    """
    import torch

    diagonals = matrices.diagonal(dim1=1, dim2=2)
    shift = max(1e-10 * float(diagonals.max()), 1e-3 * l2)
    bias = torch.arange(diagonals.shape[1], device=matrices.device) % (k + 1) == k
    diagonals.add_(torch.where(bias, shift, l2))
    factors, failed = torch.linalg.cholesky_ex(matrices)
    while bool(failed.any()):  # The matrices are rounded: an eigenvalue below their last digits may be negative.
        diagonals.add_(shift)
        shift *= 10
        factors, failed = torch.linalg.cholesky_ex(matrices)
    # The largest eigenvalue is at most the trace, the smallest about l2: float32 will often do for a direction.
    if float(diagonals.sum(1).max()) < _QUICK_CONDITION * min(l2, float(diagonals[:, bias].min())):
        factors = factors.float()

    def solve(gradient: "torch.Tensor") -> "torch.Tensor":
        right = gradient.to(factors.dtype)
        if len(factors) > 1:
            solved = torch.cholesky_solve(right[:, :, None], factors)[:, :, 0]
        elif factors.shape[1] == k + 1:
            solved = torch.cholesky_solve(right.t(), factors[0]).t()
        else:
            solved = torch.cholesky_solve(right.reshape(-1, 1), factors[0]).view_as(right)
        return solved.to(torch.float64).contiguous()

    return solve
