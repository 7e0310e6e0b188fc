"""Fitting the probes of one task: for each method and seed the coordinates, then all sizes by the task's solver."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe._inputs import Inputs
from probe._kept import Kept
from probe._learned import Learned, learned
from probe.coordinates import Coordinates, coordinates
from probe.gathered import is_gathered, refuse_method, stored_columns
from probe.logistic import fit_logistic
from probe.logistic_protocol import LogisticProtocol
from probe.projections import PrincipalComponents, principal_components
from probe.protocols import SgdProtocol
from probe.ridge import fit_ridge
from probe.ridge_protocol import RidgeProtocol
from probe.scores import Score
from probe.sgd import fit_nested
from probe.spec import ProbeTask, SubsetGroup
from probe.subsets import parse_method
from store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What is kept of one probe."""

    n_neurons: int
    score: Score | None
    """Counts per class, where they are kept."""
    accuracy: float | None
    """Plain top-1; None for a probe that diverged."""
    n_test: int
    val_accuracy: float | None = None
    converged: bool | None = None
    hyperparameter: float | None = None
    gradient_norm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """What a solver is given: one set of coordinates, and the sizes to measure."""

    inputs: Inputs
    task: ProbeTask
    coordinates: Coordinates
    learned: Learned | None
    """Statistics of the fitted rows, for a solver that takes them."""
    sizes: Sequence[int]
    seed: int
    device: str


def probe_rows(store: Store, task: ProbeTask, device: str, kept: Kept | None = None) -> list[dict[str, Any]]:
    """Return one row of results for each probe of a task; what it reads is taken from ``kept``, and left there."""
    inputs = Inputs(store, task.setting, kept)
    solve, protocol = _SOLVERS[type(task.setting.protocol)], task.setting.protocol
    learns = not isinstance(protocol, SgdProtocol)
    for features in inputs.representations:
        for group in task.groups:
            refuse_method(features, parse_method(group.method))
    whole = fitted = None
    if not is_gathered(inputs.train) and (learns or any(parse_method(g.method).needs_statistics for g in task.groups)):
        whole = inputs.statistics()
        fitted = inputs.relabelled(whole) if isinstance(protocol, RidgeProtocol) else whole  # who looks at classes
    told = learned(inputs, fitted) if learns else None
    components: PrincipalComponents | None = None
    rows = []
    for group in sorted(task.groups, key=lambda g: (g.method, g.seed)):
        for sizes in _nests(group):
            began = time.perf_counter()
            if components is None and parse_method(group.method).limited_by_rows:
                assert whole is not None
                components = principal_components(whole)
            chosen = coordinates(
                group.method,
                group.seed,
                inputs.width,
                n_neurons=max(sizes),
                statistics=whole,
                components=components,
            )
            _refuse_unstored(inputs, group, chosen)
            outcomes = solve(
                _Fit(
                    inputs=inputs,
                    task=task,
                    coordinates=chosen,
                    learned=told,
                    sizes=sizes,
                    seed=group.seed,
                    device=device,
                )
            )
            share_s = (time.perf_counter() - began) / len(outcomes)
            rows += [_row(task, group, o, width=inputs.width, elapsed_s=share_s) for o in outcomes]
    inputs.leave()
    return rows


def _refuse_unstored(inputs: Inputs, group: SubsetGroup, chosen: Coordinates) -> None:
    """Refuse neurons that are not stored, in words that name the subset."""
    if chosen.order is not None:
        of = f"{group.method}, seed {group.seed}"
        for features in inputs.representations:
            stored_columns(features, chosen.order, of=of, nested=parse_method(group.method).nested)


def _nests(group: SubsetGroup) -> Iterator[Sequence[int]]:
    """Yield the sizes that one set of coordinates serves."""
    if parse_method(group.method).nested:
        yield group.sizes
    else:
        for k in group.sizes:
            yield (k,)


def _sgd(fit: _Fit) -> list[_Outcome]:
    import torch

    protocol, inputs = fit.task.setting.protocol, fit.inputs
    assert isinstance(protocol, SgdProtocol)
    chosen_on = inputs.selection_rows
    fitted = fit_nested(
        (inputs.views(fit.coordinates), torch.from_numpy(inputs.labels)),
        inputs.test_blocks(fit.coordinates),
        sizes=fit.sizes,
        n_classes=inputs.n_classes,
        protocol=protocol,
        seed=fit.seed,
        n_views=inputs.n_views,
        train_rows=torch.from_numpy(inputs.train_rows),
        validation=None if chosen_on is not None else inputs.validation_blocks(fit.coordinates),
        validation_rows=None if chosen_on is None else torch.from_numpy(chosen_on),
        device=fit.device,
    )
    return [
        _Outcome(
            n_neurons=k,
            score=None if fitted.diverged[i] else score,
            accuracy=None if fitted.diverged[i] else score.accuracy,
            n_test=score.n_test,
            val_accuracy=None if fitted.val_accuracies is None else fitted.val_accuracies[i],
            converged=False if fitted.diverged[i] else None,
            hyperparameter=fitted.learning_rates[i],
        )
        for i, (k, score) in enumerate(zip(fitted.sizes, fitted.scores, strict=True))
    ]


def _ridge(fit: _Fit) -> list[_Outcome]:
    protocol, inputs, task = fit.task.setting.protocol, fit.inputs, fit.task
    assert isinstance(protocol, RidgeProtocol)
    assert fit.learned is not None
    curve = fit_ridge(
        fit.learned.of(fit.coordinates, "ridge"),
        inputs.test_arrays(fit.coordinates),
        lambdas=protocol.lambdas_at(fit.learned.mean_square),
        sizes=fit.sizes,
        detailed=[k for k in fit.sizes if _is_detailed(task, k) or task.setting.average == "class"],
        validation=inputs.validation_arrays(fit.coordinates),
        device=fit.device,
    )
    return [
        _Outcome(
            n_neurons=int(k),
            score=curve.scores.get(int(k)),
            accuracy=float(curve.accuracies[i]),
            n_test=curve.n_test,
            val_accuracy=None if curve.val_accuracies is None else float(curve.val_accuracies[i]),
            converged=True,
            hyperparameter=float(curve.lambdas[i]),
        )
        for i, k in enumerate(curve.sizes)
    ]


def _logistic(fit: _Fit) -> list[_Outcome]:
    protocol, inputs = fit.task.setting.protocol, fit.inputs
    assert isinstance(protocol, LogisticProtocol)
    assert fit.learned is not None
    seen = fit.learned.of(fit.coordinates, "logistic")
    fitted = fit_logistic(
        inputs.fitted_rows(fit.coordinates),
        inputs.test_arrays(fit.coordinates),
        sizes=fit.sizes,
        n_classes=inputs.n_classes,
        protocol=protocol,
        validation=inputs.validation_arrays(fit.coordinates),
        mean_variance=fit.learned.mean_variance,
        statistics=seen,
        device=fit.device,
    )
    return [
        _Outcome(
            n_neurons=k,
            score=score,
            accuracy=score.accuracy,
            n_test=score.n_test,
            val_accuracy=None if fitted.val_accuracies is None else fitted.val_accuracies[i],
            converged=bool(fitted.converged[i]),
            hyperparameter=fitted.l2[i],
            gradient_norm=float(fitted.gradient_norms[i]),
        )
        for i, (k, score) in enumerate(zip(fitted.sizes, fitted.scores, strict=True))
    ]


_SOLVERS: dict[type, Callable[[_Fit], list[_Outcome]]] = {
    SgdProtocol: _sgd,
    RidgeProtocol: _ridge,
    LogisticProtocol: _logistic,
}


def _is_detailed(task: ProbeTask, n_neurons: int) -> bool:
    return task.detailed is None or n_neurons in task.detailed


def _row(task: ProbeTask, group: SubsetGroup, outcome: _Outcome, *, width: int, elapsed_s: float) -> dict[str, Any]:
    n, setting, score, k = task.names, task.setting, outcome.score, outcome.n_neurons
    accuracy = outcome.accuracy
    if setting.average == "class" and accuracy is not None:
        assert score is not None
        accuracy = float(np.mean([a for a in score.class_accuracy if a is not None]))
    if not _is_detailed(task, k):
        score = None
    return {
        "study": n.study,
        "model": n.model,
        "layer": n.layer,
        "dataset": n.dataset,
        "solver": setting.solver,
        "protocol": setting.label,
        "method": group.method,
        "seed": group.seed,
        "n_neurons": k,
        "width": width,
        "fraction": k / width,
        "accuracy": accuracy,
        "n_test": outcome.n_test,
        "class_accuracy": None if score is None else score.class_accuracy,
        "predicted_count": None if score is None else score.predicted.tolist(),
        "val_accuracy": outcome.val_accuracy,
        "converged": outcome.converged,
        "elapsed_s": elapsed_s,
        "batch_id": task.batch_id,
        "train_id": setting.train_id,
        "test_id": setting.test_id,
        "job_id": setting.job_id(group.method, group.seed, k),
        "hyperparameter": outcome.hyperparameter,
        "gradient_norm": outcome.gradient_norm,
    }
