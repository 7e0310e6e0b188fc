"""Nested logistic probes, every one certified, against scikit-learn's LogisticRegression per subset."""

import dataclasses
import time
import warnings

import numpy as np
import torch
from rows import Row, seconds
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from probe import neuron_order
from probe.logistic import fit_logistic
from probe.logistic_protocol import logistic_protocol

SIZES = (10, 20, 40, 80, 160, 320, 640, 1280)


def bench(*, problems=((5000, 10), (1020, 102)), width=1280, sizes=SIZES, n_seeds=5, n_oracle_seeds=1):
    """Return a row for each number of training rows and classes; both sides run on one core.

    scikit-learn has its features scaled and in float64 before the clock starts, stops at the same bound on the gradient
    (``tol``), and is measured for ``n_oracle_seeds`` of the seeds.
    """
    protocol = dataclasses.replace(logistic_protocol("default"), max_iterations=5000)
    rows = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for n, n_classes in problems:
            x, y = make_features(n, width, n_classes)
            ours = theirs = 0.0
            steps, norms = [], []
            for seed in range(1, n_seeds + 1):
                permuted = np.ascontiguousarray(x[:, neuron_order("random", seed, width)])
                fitted, taken = _ours(permuted, y, sizes, n_classes, protocol)
                ours += taken
                steps += fitted.n_iterations
                norms += fitted.gradient_norms
                if seed <= n_oracle_seeds:
                    theirs += _theirs(permuted, y, sizes, protocol)
            theirs *= n_seeds / n_oracle_seeds
            rows.append(
                Row(
                    what=(
                        f"{len(sizes) * n_seeds} logistic probes, {n_classes} classes, {n:,} rows, all with a gradient "
                        f"<= {max(norms):.1e}, {np.mean(steps):.0f} steps"
                    ),
                    ours=seconds(ours),
                    baseline=f"scikit-learn per subset {seconds(theirs)}",
                    ratio=theirs / ours,
                )
            )
    finally:
        torch.set_num_threads(threads)
    return rows


def make_features(n, width, n_classes, seed=0):
    """Return float32 features like a pooled layer's, sparse, correlated and of many scales, and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    rank = max(2, width // 8)
    hidden = rng.normal(size=(n_classes, rank))[y] + 2 * rng.normal(size=(n, rank))
    hidden *= (1 + np.arange(rank)) ** -0.5  # a spectrum that falls, as those of networks do
    x = hidden @ rng.normal(size=(rank, width)) + rng.normal(size=(n, width))
    return (np.maximum(x, 0) * np.exp(0.5 * rng.normal(size=width))).astype(np.float32), y


def _ours(x, y, sizes, n_classes, protocol):
    began = time.perf_counter()
    fitted = fit_logistic((x, y), lambda: [(x[:64], y[:64])], sizes=sizes, n_classes=n_classes, protocol=protocol)
    return fitted, time.perf_counter() - began


def _theirs(x, y, sizes, protocol):
    from threadpoolctl import threadpool_limits

    x = x.astype(np.float64)
    scaled = (x - x.mean(0)) / np.sqrt(x.var(0).mean())
    taken = 0.0
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        for k in sizes:
            part = np.ascontiguousarray(scaled[:, :k])
            model = LogisticRegression(C=1 / (len(y) * protocol.l2[0]), tol=protocol.tolerance, max_iter=5000)
            began = time.perf_counter()
            model.fit(part, y)
            taken += time.perf_counter() - began
    return taken
