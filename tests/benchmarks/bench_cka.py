"""CKA of a part against the whole: one covariance for all subsets, against n x n Gram matrices for each."""

import numpy as np
from rows import Row, best, seconds

from probe import PAPER_FRACTIONS, cka, neuron_order, statistics


def bench(*, n=10_000, width=2048, n_seeds=5):
    """Return three rows: seconds per subset, with the covariance shared by none, all and few of them."""
    x = np.maximum(np.random.default_rng(0).standard_normal((n, width), dtype=np.float32), 0)
    labels = np.arange(n) % 10
    sizes = sorted({int(f * width) for f in PAPER_FRACTIONS} - {0})
    orders = [neuron_order("random", s, width) for s in range(1, n_seeds + 1)]
    found = {}

    def covariance():
        blocks = ((x[i : i + 2048], labels[i : i + 2048]) for i in range(0, n, 2048))
        found["scatter"] = statistics(blocks, 10).scatter

    def curves():
        for seed, order in enumerate(orders):
            found[seed] = cka.part_whole(found["scatter"], order)

    once, sweep = best(covariance, 2), best(curves, 3)
    whole = _centred_gram(x)
    k = sizes[len(sizes) * 2 // 3]
    value = 0.0

    def gram():
        nonlocal value
        part = _centred_gram(x[:, orders[0][:k]])
        value = _inner(part, whole) / (_inner(part, part) * _inner(whole, whole)) ** 0.5

    direct = best(gram, 2)
    assert abs(value - found[0][k - 1]) < 1e-4, (value, found[0][k - 1])
    n_grid, n_every = len(sizes) * n_seeds, width * n_seeds
    cases = (
        (f"CKA, n = {n:,}, d = {width}, per subset of {n_grid} once the covariance is there", sweep / n_grid, 300),
        (f"the same per subset of all {n_every:,}, the covariance included", (once + sweep) / n_every, 300),
        (f"the same per subset of {n_grid} (the paper's grid), included", (once + sweep) / n_grid, 1),
    )
    return [
        Row(
            what=what,
            ours=seconds(ours),
            baseline=f"n x n Gram matrices, k = {k}, {seconds(direct)}",
            ratio=direct / ours,
            bar=bar,
        )
        for what, ours, bar in cases
    ]


def _inner(a, b):
    """Return the inner product of two matrices, each row's in float32, their sum in float64."""
    return sum(float(np.vdot(p, q)) for p, q in zip(a, b, strict=True))


def _centred_gram(x):
    """Return H X X' H, float32."""
    gram = x @ x.T
    mean = gram.mean(0)
    gram -= mean
    gram -= mean[:, None] - mean.mean()
    return gram
