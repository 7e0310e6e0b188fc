"""Features to compare, and the n x n definitions of CKA's estimators that the fast forms are held against."""

import numpy as np


def features(n=60, d=25, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) * np.geomspace(1, 0.05, d)
    return np.maximum(rng.normal(size=(n, d)) @ mix + 0.3, 0)


def orders(d, *seeds):
    return [np.random.default_rng(s).permutation(d) for s in seeds]


def directions(d, r, seed=0):
    return np.random.default_rng(seed).normal(size=(d, r))


def scatter(x):
    centred = x - x.mean(0)
    return centred.T @ centred


def along(x, part, k):
    """Coordinates of a part of size k, one column at a time; None: the whole layer."""
    if part is None:
        return x
    return x[:, part[:k]] if part.ndim == 1 else np.stack([x @ part[:, j] for j in range(k)], axis=1)


def unbiased_hsic(x, y):
    """Song et al. (2012), eq. 5, as printed."""
    n = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741 - the paper's symbol
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    one = np.ones(n)
    inner = (
        np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ l @ one)
    )
    return inner / (n * (n - 3))


def debiased_cka(x, y):
    return unbiased_hsic(x, y) / np.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
