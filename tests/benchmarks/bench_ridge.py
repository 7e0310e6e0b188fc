"""Ridge accuracy at every k from one factorisation per seed, against refitting scikit-learn's Ridge for each k."""

import time

import numpy as np
from rows import Row, best, seconds
from sklearn.linear_model import Ridge

from probe import neuron_order
from probe.ridge import fit_ridge
from probe.ridge_protocol import ridge_protocol
from probe.statistics import statistics

BLOCK = 2048


def bench(*, n=10_000, n_test=2_000, width=2048, n_classes=100, n_seeds=5, n_refits=8, flowers=(1020, 6149, 1280, 102)):
    """Return four rows: seconds per (seed, k) of a large layer, and the seconds of all sizes of Flowers' own shape."""
    train, test = _problem(n, n_test, width, n_classes)
    found = {}

    def shared():
        found["statistics"] = statistics(_blocks(*train), n_classes)

    def curves():
        for seed in range(1, n_seeds + 1):
            found[seed] = _curve(found["statistics"], test, seed, width)

    once, sweep = best(shared, 2), best(curves, 2)
    penalty = ridge_protocol("default").lambdas(found["statistics"])[0]
    order = neuron_order("random", 1, width)
    # Sizes from the middle of equal parts: their mean time is that of all sizes.
    sizes = [int((i + 0.5) * width / n_refits) for i in range(n_refits)]
    refit, refit_32 = (
        np.mean([_refit(train, test, order[:k], penalty, n_classes, dtype, found[1]) for k in sizes])
        for dtype in (np.float64, np.float32)
    )
    n_every = width * n_seeds
    shape = f"n = {n:,}, {n_test:,} test rows, d = {width}, {n_classes} classes"
    rows = [
        Row(
            what=what,
            ours=seconds(ours),
            baseline=f"sklearn Ridge, {kind}, mean over k, {seconds(baseline)}",
            ratio=baseline / ours,
            bar=bar,
        )
        for what, ours, kind, baseline, bar in (
            (f"ridge, {shape}, per (seed, k)", sweep / n_every, "float64", refit, 1000),
            (
                "the same, the statistics of the training rows included",
                (once + sweep) / n_every,
                "float64",
                refit,
                1000,
            ),
            ("the same against float32, which is not to 1e-8", (once + sweep) / n_every, "float32", refit_32, None),
        )
    ]
    n, n_test, width, n_classes = flowers
    train, test = _problem(n, n_test, width, n_classes)

    def everything():
        whole = statistics(_blocks(*train), n_classes)
        for seed in range(1, n_seeds + 1):
            _curve(whole, test, seed, width)

    ours = best(everything, 2)
    budget = 18.0 * n_seeds * n_test * width * n_classes / (5 * 6149 * 1280 * 102)
    return [
        *rows,
        Row(
            what=f"ridge, {n_seeds} seeds x {width} sizes x {n_classes} classes x {n_test:,} test rows, all of it",
            ours=seconds(ours),
            baseline=f"the figure of the design, {seconds(budget)}",
            ratio=budget / ours,
            bar=1,
        ),
    ]


def _problem(n, n_test, width, n_classes):
    """Return (train, test): ReLU features, float32, and labels that they explain in part."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((n + n_test, width), dtype=np.float32), 0)
    truth = rng.standard_normal((width, n_classes), dtype=np.float32)
    noise = rng.standard_normal((n + n_test, n_classes), dtype=np.float32)
    y = (x @ truth / width**0.5 + noise).argmax(1)
    return (x[:n], y[:n]), (x[n:], y[n:])


def _blocks(x, y):
    return ((x[i : i + BLOCK], y[i : i + BLOCK]) for i in range(0, len(x), BLOCK))


def _curve(whole, test, seed, width):
    """Return the curve of one seed, as a worker measures it: test rows are permuted block by block."""
    order = neuron_order("random", seed, width)
    return fit_ridge(
        whole.permuted(order),
        lambda: ((x.take(order, axis=1), y) for x, y in _blocks(*test)),
        lambdas=ridge_protocol("default").lambdas(whole),
    )


def _refit(train, test, neurons, penalty, n_classes, dtype, curve):
    """Return the seconds of one fit and its predictions, which are checked against the curve."""
    x, x_test = train[0][:, neurons].astype(dtype), test[0][:, neurons].astype(dtype)
    targets = np.eye(n_classes, dtype=dtype)[train[1]]
    began = time.perf_counter()
    guess = Ridge(alpha=penalty, solver="cholesky").fit(x, targets).predict(x_test).argmax(1)
    correct = int((guess == test[1]).sum())
    took = time.perf_counter() - began
    expected = int(curve.correct[len(neurons) - 1])
    assert correct == expected if dtype == np.float64 else abs(correct - expected) <= 3 + len(guess) // 500
    return took
