"""A classification problem in a store, and what scikit-learn and the definitions of the methods say of it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from small_store import by_size, probe_task, put, written

from probe import METHODS, logistic_protocol, parse_method, ridge_protocol

N, WIDTH, C = 260, 20, 4
TRAIN_MASKED, TEST_MASKED = (0, 64, 159), (3, 99)
SIZES = (1, 7, WIDTH)
LABELS = (
    *METHODS,
    "pca:uncentred",
    "pca:unit-variance",
    "pca_least:uncentred",
    "random_projection:centred",
    "random_projection_uniform:centred",
    "ranked:by-weight",
)
CLASSES = ("a", "b", "c", "d")
RIDGE, LOGISTIC = ridge_protocol("default"), logistic_protocol("default")


def make(dtype="float32", seed=0, n_views=1):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 0.2, WIDTH)
    x = np.maximum(rng.normal(size=(N, WIDTH)) @ mix + 0.3, 0)
    y = ((x - x.mean(0)) @ rng.normal(size=(WIDTH, C)) + rng.normal(size=(N, C))).argmax(1)
    views = x + 0.3 * np.abs(rng.normal(size=(n_views, *x.shape))) * (np.arange(n_views) > 0)[:, None, None]
    views = views.astype(dtype)
    return (views[:, :160], y[:160]), (views[0, 160:], y[160:])


class Problem:
    """Representations in a store, and the rows of them that count, as arrays."""

    def __init__(self, store, *, dtype="float32", n_views=1):
        (views, y), (xt, yt) = make(dtype, n_views=n_views)
        self.store = store
        self.views, self.labels = torch.from_numpy(views), torch.from_numpy(y)
        kind = {"dtype": dtype, "classes": CLASSES}
        self.train_id = put(store, "train", views, y, masked=TRAIN_MASKED, **kind)
        self.test_id = put(store, "test", xt, yt, masked=TEST_MASKED, **kind)
        self.rows = np.delete(np.arange(len(y)), TRAIN_MASKED)
        self.x, self.y = views[0][self.rows], y[self.rows]
        self.xt, self.yt = np.delete(xt, TEST_MASKED, axis=0), np.delete(yt, TEST_MASKED)
        self.val_id = put(store, "val", xt[:50] * 1.1, yt[:50], **kind)
        self.xv, self.yv = (xt[:50] * 1.1).astype(dtype), yt[:50]

    def task(self, protocol, groups, **fields):
        test_id = self.train_id if fields.get("control") else self.test_id
        return probe_task(self.store, self.train_id, test_id, protocol, groups, **fields)

    def written(self, protocol, groups, **fields):
        return by_size(written(self.store, self.task(protocol, groups, **fields)))


def by_hand(label, seed, k, train, y, *others):
    """Return the first k coordinates of the training rows and of others, in float64, from the method's definition."""
    t = train.astype(np.float64)
    mean, d = t.mean(0), t.shape[1]
    name, _, variant = label.partition(":")
    generator = torch.Generator().manual_seed(seed)
    if name in ("random", "random_independent", "first", "ranked"):
        if name == "random":
            order = torch.randperm(d, generator=generator).numpy()
        elif name == "random_independent":
            state = int(np.random.SeedSequence([seed, k, d]).generate_state(1)[0])
            order = torch.randperm(d, generator=torch.Generator().manual_seed(state)).numpy()
        elif name == "first":
            order = np.arange(d)
        elif variant:
            weights = Ridge(alpha=0.01 * t.var(0).mean() * len(t)).fit(t, np.eye(C)[y]).coef_
            order = np.argsort(-np.linalg.norm(weights, axis=0) * t.std(0), kind="stable")
        else:
            order = np.argsort(-t.var(0), kind="stable")
        return [x.astype(np.float64)[:, order[:k]] for x in (train, *others)]
    if name.startswith("pca"):
        _, s, vt = np.linalg.svd(t - mean, full_matrices=False)
        matrix = vt[:k].T if name == "pca" else vt[::-1][:k].T
        if variant == "unit-variance":
            matrix = matrix / (s[:k] / np.sqrt(len(t) - 1))
        offset = 0 if variant == "uncentred" else mean
    else:
        offset = mean if variant == "centred" else 0
        if name == "random_projection":
            drawn = np.stack([torch.randn(d, generator=generator, dtype=torch.float64).numpy() for _ in range(k)], 1)
            matrix = drawn / np.linalg.norm(drawn, axis=0)
        else:
            drawn = torch.rand(d, d, generator=generator)
            matrix = torch.nn.functional.normalize(drawn, dim=0)[:, :k].double().numpy()
    return [(x.astype(np.float64) - offset) @ matrix for x in (train, *others)]


def refitted_ridge(z, y, penalty, *others):
    fit = Ridge(alpha=penalty, solver="cholesky").fit(z, np.eye(C)[y])
    return [fit.predict(o).argmax(1) for o in others]


def mean_eigenvalue(x):
    return float(x.astype(np.float64).var(0).mean() * len(x))


def refitted_logistic(z, y, l2, layer, *others):
    scale = np.sqrt(layer.astype(np.float64).var(0).mean())
    fit = LogisticRegression(C=1 / (len(z) * l2), tol=1e-9, max_iter=5000)
    fit.fit((z - z.mean(0)) / scale, y)
    return [fit.predict((o - z.mean(0)) / scale) for o in others]


def assert_predicts(row, guess, truth, n_classes=C):
    """The row is what these predictions give."""
    assert row["n_test"] == len(truth)
    assert row["predicted_count"] == np.bincount(guess, minlength=n_classes).tolist()
    assert row["accuracy"] == pytest.approx(accuracy_score(truth, guess), abs=1e-12)
    expected = [(guess[truth == c] == c).mean() if (truth == c).any() else None for c in range(n_classes)]
    assert [a is None for a in row["class_accuracy"]] == [a is None for a in expected]
    found = [a for a in row["class_accuracy"] if a is not None]
    assert found == pytest.approx([a for a in expected if a is not None], abs=1e-12)


def seeds_of(label):
    return (1, 2) if parse_method(label).seeded else (1,)
