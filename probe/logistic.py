"""Solver ``logistic``: multinomial logistic regression on the first k coordinates, each probe with its certificate.

The objective is in `probe.logistic_protocol`. Its minimum is unique, so a probe is defined by its rows alone, and the
certificate says how near it is: the largest entry of the gradient, computed anew in float64 at the weights that are
given back. Where the gradient by c is 0, V is within ||gradient|| / l2 of the optimum (f less l2/2 ||V||^2 is convex).
What else was fitted beside it, the number of threads and the device only decide where below the tolerance a fit ends.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probe._lbfgs import History, minimise
from probe._logistic_metric import even_metric, metric_at
from probe._logistic_rows import Training, count, prepare
from probe._softmax import SoftmaxProblem
from probe.errors import InvalidProbe
from probe.logistic_protocol import LogisticProtocol
from probe.scores import Score
from probe.subsets import check_sizes

if TYPE_CHECKING:
    import torch

    from probe.statistics import Statistics

Rows = tuple[Any, Any]
"""Features, shape (n, r), float32 or float64, and labels, shape (n,), int64: NumPy arrays or torch tensors."""

_MEMORY = 10
"""Steps that L-BFGS remembers."""
_ROUND = 50
"""Steps in one metric. After those it is taken anew at the point, from the probabilities of its rows."""
_PATIENCE = 4
"""Rounds that bring neither a smaller gradient nor a smaller objective than before, until a fit is given up: rounding
hides the rest."""
_MARGIN = 0.9
"""The search goes this much below the tolerance, so that the certificate, which rounds otherwise, is below it too."""
_QUICK = 1e-6
"""Products are float32 until the gradient is so small, times 1 + the largest mean in deviations: below, their rounding
(6e-8 of residuals and features, averaged over rows) would tell the direction."""
_QUICK_SHIFT = 100.0
"""Features whose mean is so many deviations from 0 are never multiplied in float32: their centring would cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLogistic:
    """Logistic probes of nested subsets, in the order of ``sizes``."""

    sizes: tuple[int, ...]
    """Subset sizes, rising."""
    weights: tuple[NDArray[np.float64], ...]
    """Per probe, shape (C, k), for features as they are. 0 for a class without a training row."""
    biases: tuple[NDArray[np.float64], ...]
    """Per probe, shape (C,). Minus infinity for a class without a training row: it has probability 0."""
    scores: tuple[Score, ...]
    """Per probe, on the test rows."""
    gradient_norms: tuple[float, ...]
    """Per probe, the certificate: largest entry of the gradient by V and c at these weights."""
    converged: tuple[bool, ...]
    """Per probe, whether the certificate is at most the protocol's tolerance."""
    n_iterations: tuple[int, ...]
    """Per probe, steps of L-BFGS, from the probe of the next smaller size."""
    l2: tuple[float, ...]
    """Per probe, the penalty: the only one, or the best on the validation rows."""
    val_accuracies: tuple[float, ...] | None
    """Per probe, with that penalty; None without validation rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    weight: "torch.Tensor"
    bias: "torch.Tensor"
    gradient_norm: float
    n_iterations: int


def fit_logistic(
    train: Rows,
    test: Callable[[], Iterable[Rows]],
    *,
    sizes: Iterable[int],
    n_classes: int,
    protocol: LogisticProtocol,
    train_rows: Any = None,
    validation: Callable[[], Iterable[Rows]] | None = None,
    mean_variance: float | None = None,
    statistics: "Statistics | None" = None,
    device: str = "cpu",
) -> FittedLogistic:
    """Fit and score one probe for each size on the first k coordinates.

    A fit is L-BFGS from the probe of the next smaller size (the first from the frequencies of classes), in the metric
    of a S / n + l2 I, with S the scatter and a the mean of p (1 - p) at the start: the softmax Hessian is at most
    1/2 (I - 11'/C) kron S / n (Boehning, 1992), and a instead of 1/2 is what it is on average. A fit of many steps
    takes its metric anew from time to time, with the p of each row (`probe._logistic_metric`).

    Parameters
    ----------
    train
        Features in the order in which coordinates are taken up, (n, r), and labels. float32 features are never copied
        to float64 as a whole; other types but float64 are copied to float32.
    test
        Called once at the end; yields blocks of test rows in the same order. How rows are cut changes nothing.
    sizes
        Distinct subset sizes, each 1 to r.
    n_classes
        Classes, C; labels run from 0 to C - 1. Two of them at least have training rows; one that has none is left out
        of the fit and never predicted.
    protocol
        Penalty, tolerance and bound on the steps.
    train_rows
        Row numbers to train on, shape (m,), int64, which copies these rows; all by default.
    validation
        Like ``test``, called once for each penalty. Of several, a size keeps the one of best accuracy, the largest of
        equals.
    mean_variance
        Mean variance of the whole layer's neurons over the training rows, trace(S) / (n d), for scaling ``layer``. By
        default the mean over the r columns, which is the same where they are all coordinates of the layer.
    statistics
        Statistics of the training rows in the same order, if they are at hand: saves the scatter of the metric, of
        which speed depends and nothing else.
    device
        Where the products run: ``cpu`` or ``cuda``.

    Returns
    -------
    FittedLogistic
        By rising size. A probe that took ``max_iterations`` steps is there with ``converged`` false.

    Raises
    ------
    InvalidProbe
        If a size can't be had, there are no rows, fewer than two classes, several penalties without validation rows, or
        a feature or label that can't be used.
    """
    import torch

    if protocol.needs_validation and validation is None:
        raise InvalidProbe(
            f"protocol {protocol.name} of solver logistic chooses among {len(protocol.l2)} penalties: it needs "
            "validation rows. Give some, or a protocol with one penalty."
        )
    rising = check_sizes(tuple(sizes), train[0].shape[1])
    rows = prepare(
        train,
        n_classes=n_classes,
        reach=rising[-1],
        train_rows=train_rows,
        scaling=protocol.scaling,
        mean_variance=mean_variance,
        statistics=statistics,
        device=device,
    )
    with torch.inference_mode():
        best: list[_Fit] = []
        l2_of, val_of = [0.0] * len(rising), [-1.0] * len(rising)
        for l2 in sorted(protocol.l2, reverse=True):
            fits = _path(rows, rising, l2, protocol)
            if validation is None:
                best, l2_of = fits, [l2] * len(rising)
                break
            scored = _scores(rows, fits, validation, n_classes, "validation")
            best = best or fits
            for i, score in enumerate(scored):
                if score.accuracy > val_of[i]:
                    best[i], l2_of[i], val_of[i] = fits[i], l2, score.accuracy
        scores = _scores(rows, best, test, n_classes, "test")
        full = [_all_classes(f, rows.classes, n_classes) for f in best]
    return FittedLogistic(
        sizes=rising,
        weights=tuple(w for w, _ in full),
        biases=tuple(b for _, b in full),
        scores=tuple(scores),
        gradient_norms=tuple(f.gradient_norm for f in best),
        converged=tuple(f.gradient_norm <= protocol.tolerance for f in best),
        n_iterations=tuple(f.n_iterations for f in best),
        l2=tuple(l2_of),
        val_accuracies=None if validation is None else tuple(val_of),
    )


def _path(rows: Training, sizes: tuple[int, ...], l2: float, protocol: LogisticProtocol) -> list[_Fit]:
    """Fit every size with one penalty, each from the one below it."""
    import torch

    frequencies = torch.bincount(rows.labels, minlength=len(rows.classes)).double().log_()
    point = (frequencies - frequencies.mean())[:, None]
    fits = []
    for k in sizes:
        new = point.new_zeros(len(point), k + 1)
        new[:, : point.shape[1] - 1], new[:, k] = point[:, :-1], point[:, -1]
        point, fit = _fit(rows, new, l2, protocol)
        fits.append(fit)
    return fits


def _fit(rows: Training, point: "torch.Tensor", l2: float, protocol: LogisticProtocol) -> tuple["torch.Tensor", _Fit]:
    """Fit one probe from a start, first with float32 products where they will do, and certify it."""
    import torch

    k, target = point.shape[1] - 1, _MARGIN * protocol.tolerance
    exact = SoftmaxProblem(rows.features, rows.labels, l2=l2, dtype=torch.float64)
    p = exact.probabilities(point)
    metric = even_metric(rows.scatter[:k, :k], float((p * (1 - p)).mean()), l2)
    stages = [(exact, target, protocol.max_iterations, _PATIENCE)]
    if rows.features.x.dtype == torch.float32 and rows.shift < _QUICK_SHIFT:
        quick = SoftmaxProblem(rows.features, rows.labels, l2=l2, dtype=torch.float32)
        # Half of the steps at most: should rounding be worse than thought, the exact search still has the rest.
        stages.insert(0, (quick, max(target, _QUICK * (1 + rows.shift)), protocol.max_iterations // 2, 1))
    n, history = 0, History(_MEMORY)
    for problem, enough, limit, patience in stages:
        least, lowest, fruitless = np.inf, np.inf, 0
        while n < limit and fruitless < patience:
            steps = min(_ROUND, limit - n)
            found = minimise(
                problem, point, precondition=metric, tolerance=enough, max_iterations=steps, history=history
            )
            if not np.isfinite(found.norm):
                break
            n, point = n + found.n_iterations, found.point
            if found.norm <= enough:
                break
            lower = found.value < lowest - problem.rounding * (1 + abs(found.value))
            fruitless = 0 if lower or found.norm < least else fruitless + 1
            least, lowest = min(least, found.norm), min(lowest, found.value)
            metric, history = metric_at(rows.features, k, exact.probabilities(point), l2), History(_MEMORY)
    weight, bias = rows.features.raw(point)
    norm = certificate(rows, weight, bias, l2)
    if not np.isfinite(norm):
        raise InvalidProbe(f"products of {k} features with their weights overflow: divide features by their scale.")
    return point, _Fit(weight=weight, bias=bias, gradient_norm=norm, n_iterations=n)


def certificate(rows: Training, weight: "torch.Tensor", bias: "torch.Tensor", l2: float) -> float:
    """Return the largest entry of the gradient at raw weights (C, k) and bias (C,), in float64 from nothing else."""
    import torch

    scores = rows.features.scores(weight, bias, torch.float64)
    residuals = scores.softmax(0)
    residuals[rows.labels, torch.arange(len(rows.labels), device=scores.device)] -= 1.0
    exact = SoftmaxProblem(rows.features, rows.labels, l2=l2, dtype=torch.float64)
    gradient = exact.gradient(rows.features.point(weight, bias), residuals.div_(len(rows.labels)))
    return float(gradient.abs().max())


def _scores(
    rows: Training, fits: list[_Fit], blocks: Callable[[], Iterable[Rows]], n_classes: int, what: str
) -> list[Score]:
    return count([(f.weight, f.bias) for f in fits], rows.classes, blocks(), n_classes=n_classes, what=what)


def _all_classes(fit: _Fit, classes: "torch.Tensor", n_classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (C, k) and bias (C,) over all classes, of a fit of those that have training rows."""
    weight = np.zeros((n_classes, fit.weight.shape[1]))
    bias = np.full(n_classes, -np.inf)
    weight[classes.cpu().numpy()] = fit.weight.cpu().numpy()
    bias[classes.cpu().numpy()] = fit.bias.cpu().numpy()
    return weight, bias
