"""Rows of logistic probes: what is taken from the training rows once for all sizes, and the counting of test rows."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probe._counting import check_features, check_labels
from probe._softmax import CentredFeatures, blocks
from probe.errors import InvalidProbe
from probe.logistic_protocol import Scaling
from probe.scores import Score

if TYPE_CHECKING:
    import torch

    from probe.statistics import Statistics

_SCORE_ROWS = 1024
"""Rows that are scored in one product."""
_METRIC_ROWS = 8192
"""The scatter of the metric is taken over so many rows at least, if there are, and over 4 per coordinate."""

Metric = Callable[["torch.Tensor"], "torch.Tensor"]
"""An approximation of the inverse Hessian, on points, shape (C, k + 1)."""

_QUICK_CONDITION = 1e5
"""The metric is solved in float32 up to this condition number: a hundredth of what float32 can tell apart."""

_CLASS_METRIC = 256
"""Up to so many coordinates, classes have metrics of their own: they cost less than the steps they save."""
_CLASS_METRIC_VALUES = 1 << 24
"""Numbers that those hold at most: 128 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Training rows with what every size of a fit needs of them."""

    features: CentredFeatures
    """Rows, the first coordinates of which are trained on."""
    labels: "torch.Tensor"
    """Shape (n,), int64: positions in ``classes``."""
    classes: "torch.Tensor"
    """Classes that have a training row, rising, int64."""
    scatter: "torch.Tensor"
    """Mean product of scaled features, shape (r, r), float64; an approximation, it only sets the metric."""
    shift: float
    """Largest distance of a mean from 0, in deviations."""

    def metric(self, k: int, curvature: float, l2: float) -> Metric:
        """Return the metric in which all rows and classes are equally curved: ``curvature * scatter + l2 I``."""
        import torch

        matrix = torch.zeros(1, k + 1, k + 1, dtype=torch.float64, device=self.scatter.device)
        matrix[0, :k, :k] = self.scatter[:k, :k]
        matrix[0, k, k] = 1.0
        return _inverse(matrix.mul_(curvature), l2)

    def metric_of_rows(self, k: int, curvatures: "torch.Tensor", l2: float) -> Metric:
        """Return the metric of the curvatures of each row, shape (C, n): those near a boundary decide, so they count.

        Of few coordinates it is the block of the Hessian that belongs to each class, of many their mean.
        """
        own = k <= _CLASS_METRIC and len(curvatures) * k * k <= _CLASS_METRIC_VALUES
        return _inverse(_scatter(self.features, k, curvatures if own else curvatures.mean(0, keepdim=True)), l2)


def _inverse(matrices: "torch.Tensor", l2: float) -> Metric:
    """Return the inverse of curvatures of weights and bias plus l2 for the weights.

    Shape (C, k + 1, k + 1), or (1, k + 1, k + 1) for all classes alike; they are overwritten.
    """
    import torch

    diagonals = matrices.diagonal(dim1=1, dim2=2)
    shift = max(1e-10 * float(diagonals.max()), 1e-3 * l2)
    diagonals[:, :-1].add_(l2)
    diagonals[:, -1].add_(shift)
    factors, failed = torch.linalg.cholesky_ex(matrices)
    while bool(failed.any()):  # The matrices are rounded: an eigenvalue below their last digits may be negative.
        diagonals.add_(shift)
        shift *= 10
        factors, failed = torch.linalg.cholesky_ex(matrices)
    # The largest eigenvalue is at most the trace, the smallest about l2: float32 will often do for a direction.
    if float(diagonals.sum(1).max()) < _QUICK_CONDITION * min(l2, float(diagonals[:, -1].min())):
        factors = factors.float()

    def solve(gradient: "torch.Tensor") -> "torch.Tensor":
        right = gradient.to(factors.dtype)
        if len(factors) == 1:
            solved = torch.cholesky_solve(right.t(), factors[0]).t()
        else:
            solved = torch.cholesky_solve(right[:, :, None], factors)[:, :, 0]
        return solved.to(torch.float64).contiguous()

    return solve


def prepare(
    train: tuple[Any, Any],
    *,
    n_classes: int,
    reach: int,
    train_rows: Any,
    scaling: Scaling,
    mean_variance: float | None,
    statistics: "Statistics | None",
    device: str,
) -> Training:
    """Check training rows and take their moments (the arguments are those of `probe.logistic.fit_logistic`).

    Raises
    ------
    InvalidProbe
        If there are no rows, fewer than two classes, or a feature or label that can't be used.
    """
    import torch

    if mean_variance is not None and not 0 <= mean_variance < math.inf:
        raise InvalidProbe(f"mean_variance must be >= 0 and finite, got {mean_variance}.")
    x, y = tensor(train[0]), tensor(train[1]).cpu()
    if len(x) != len(y):
        raise InvalidProbe(f"features have {len(x)} rows, labels {len(y)}.")
    if train_rows is not None:
        chosen = tensor(train_rows)
        x, y = x.index_select(0, chosen.to(x.device)), y[chosen.cpu()]
    if not len(x):
        raise InvalidProbe("there are no training rows.")
    check_labels(y, n_classes, "training rows")
    # The scale of a layer is that of all its columns, whatever is trained on.
    width = x.shape[1] if scaling == "layer" and mean_variance is None else reach
    check_features(x[:, :width], "training rows")
    classes, labels = torch.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InvalidProbe(
            f"a logistic probe needs training rows of two classes at least, got {len(y)} of class {int(classes[0])}."
        )
    where = _device(device)
    x = x.to(where, torch.float64 if x.dtype == torch.float64 else torch.float32)
    with torch.inference_mode():
        mean, variance = _moments(x, width)
        whole = float(variance.mean()) if mean_variance is None else mean_variance
        scale = _scale(scaling, variance[:reach], whole)
        features = CentredFeatures(x, mean[:reach], scale)
        if statistics is None:
            scatter = _scatter(features, reach)[0, :reach, :reach]
        else:
            given = torch.from_numpy(np.array(statistics.scatter[:reach, :reach], dtype=np.float64)).to(where)
            scatter = given.div_(statistics.n).div_(scale).div_(scale[:, None])
        deviation = variance[:reach].sqrt()
        varies = deviation > 0
        shift = float((mean[:reach].abs() / deviation)[varies].max()) if bool(varies.any()) else 0.0
    return Training(features=features, labels=labels.to(where), classes=classes.to(where), scatter=scatter, shift=shift)


def count(
    probes: list[tuple["torch.Tensor", "torch.Tensor"]],
    classes: "torch.Tensor",
    blocks: Iterable[tuple[Any, Any]],
    *,
    n_classes: int,
    what: str,
) -> list[Score]:
    """Count the predictions of probes, raw weights (c, k) and bias (c,) over c classes, over blocks of rows.

    A row is given the class of the largest score, in float64, the lowest of equals.

    Raises
    ------
    InvalidProbe
        If there is no row, or a feature or label that can't be used.
    """
    import torch

    correct = torch.zeros(len(probes), n_classes, dtype=torch.int64)
    predicted, actual = torch.zeros_like(correct), torch.zeros(n_classes, dtype=torch.int64)
    reach = max(weight.shape[1] for weight, _ in probes)
    for features, labels in blocks:
        all_x, all_y = tensor(features), tensor(labels).cpu()
        if all_x.shape[1] < reach:
            raise InvalidProbe(f"{what} rows have {all_x.shape[1]} columns, the largest probe takes {reach}.")
        check_features(all_x[:, :reach], f"{what} rows")
        check_labels(all_y, n_classes, f"{what} rows")
        for part, y in zip(all_x.split(_SCORE_ROWS), all_y.split(_SCORE_ROWS), strict=True):
            x = part[:, :reach].to(classes.device, torch.float64)
            actual += torch.bincount(y, minlength=n_classes)
            for i, (weight, bias) in enumerate(probes):
                best = torch.addmm(bias, x[:, : weight.shape[1]], weight.t()).argmax(1)
                guess = classes[best].cpu()
                predicted[i] += torch.bincount(guess, minlength=n_classes)
                correct[i] += torch.bincount(y[guess == y], minlength=n_classes)
    n_test = int(actual.sum())
    if not n_test:
        raise InvalidProbe(f"there are no rows to score: the {what} rows are empty.")
    return [
        Score(n_test=n_test, correct=c.numpy().copy(), actual=actual.numpy().copy(), predicted=p.numpy().copy())
        for c, p in zip(correct, predicted, strict=True)
    ]


def tensor(values: Any) -> "torch.Tensor":
    """Return an array as a tensor, without a copy where its memory can be shared; it is only read."""
    import torch

    if isinstance(values, torch.Tensor):
        return values
    array = np.asarray(values)
    # torch warns of an array that can't be written; a copy of its own is the plain way out.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _device(device: str) -> "torch.device":
    import torch

    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise InvalidProbe(f"device is cpu or cuda, got {device!r}.")
    if device != "cpu" and not torch.cuda.is_available():
        raise InvalidProbe(f"device {device} was asked for, but there is no CUDA device on this machine; use cpu.")
    return torch.device(device)


def _moments(x: "torch.Tensor", width: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return mean and variance (over n) of the first columns, float64; of one constant but for rounding it is 0."""
    import torch

    n = len(x)
    mean = torch.zeros(width, dtype=torch.float64, device=x.device)
    variance = torch.zeros_like(mean)
    for _, block in blocks(x, width, torch.float64):
        mean += block.sum(0)
    mean /= n
    for _, block in blocks(x, width, torch.float64):
        variance += block.sub_(mean).square_().sum(0)
    variance /= n
    eps = float(torch.finfo(torch.float64).eps)
    # The bound of scikit-learn's StandardScaler.
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return mean, variance.masked_fill_(constant, 0.0)


def _scale(scaling: Scaling, variance: "torch.Tensor", mean_variance: float) -> "torch.Tensor":
    import torch

    if scaling == "standardised":
        return torch.where(variance > 0, variance, 1.0).sqrt()
    ones = torch.ones_like(variance)
    return ones * mean_variance**0.5 if scaling == "layer" and mean_variance > 0 else ones


def _scatter(features: CentredFeatures, k: int, weights: "torch.Tensor | None" = None) -> "torch.Tensor":
    """Return the mean products of the first k columns and a column of ones, for each weighting of rows, (m, n).

    Shape (m, k + 1, k + 1); one of equal weights by default. Over enough rows, evenly spaced; products are float32.
    """
    import torch

    x = features.x
    n = min(len(x), max(_METRIC_ROWS, 4 * k))
    chosen = torch.linspace(0, len(x) - 1, n, dtype=torch.float64, device=x.device).round_().long()
    out = torch.zeros(1 if weights is None else len(weights), k + 1, k + 1, dtype=torch.float64, device=x.device)
    for rows in chosen.split(_SCORE_ROWS):
        block = x.new_ones(len(rows), k + 1, dtype=torch.float64)
        block[:, :k] = x.index_select(0, rows)[:, :k]
        block[:, :k].sub_(features.mean[:k]).div_(features.scale[:k])
        plain = block.float()
        for i, total in enumerate(out):
            single = plain if weights is None else plain * weights[i, rows].sqrt().float()[:, None]
            total += single.t() @ single
    return out.div_(n)
