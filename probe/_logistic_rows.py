"""Rows of logistic probes: what is taken from the training rows once for all sizes, and the counting of test rows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probe._counting import check_features, check_labels
from probe._logistic_metric import scatter as scatter_of
from probe._softmax import CentredFeatures, blocks
from probe.errors import InvalidProbe
from probe.logistic_protocol import Scaling
from probe.scores import Score

if TYPE_CHECKING:
    import torch

    from probe.statistics import Statistics

_SCORE_ROWS = 1024
"""Rows that are scored in one product."""


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
            scatter = scatter_of(features, reach)
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
