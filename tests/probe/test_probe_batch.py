"""Rows of a probe task, against other libraries and direct calls: every method by every solver."""

import dataclasses

import numpy as np
import pytest
import torch
from plain import plain_probe
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, recall_score
from small_store import by_size, probe_task, put, written

from probe import (
    METHODS,
    InvalidProbe,
    Validation,
    coordinates,
    logistic_protocol,
    parse_method,
    ridge_protocol,
    statistics,
)
from probe._inputs import CONTROL_SEED
from probe.sgd import fit_nested
from store import open_store

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


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("a") / "store", create=True))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("b") / "store", create=True), dtype="float16")


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("c") / "store", create=True), n_views=3)


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


@pytest.mark.parametrize("store", ["problem", "half"])
def test_ridge_rows_are_what_scikit_learn_predicts(request, store):
    p = request.getfixturevalue(store)
    groups = [(m, s, SIZES) for m in LABELS for s in seeds_of(m)]
    rows = p.written(RIDGE, groups)
    for (method, seed, k), row in rows.items():
        z, zt = by_hand(method, seed, k, p.x, p.y, p.xt)
        penalty = 0.01 * mean_eigenvalue(p.x)
        assert_predicts(row, *refitted_ridge(z, p.y, penalty, zt), p.yt)
        assert row["hyperparameter"] == pytest.approx(penalty, rel=1e-10)
        assert (row["converged"], row["gradient_norm"], row["val_accuracy"]) == (True, None, None)
        assert (row["solver"], row["protocol"], row["width"], row["fraction"]) == ("ridge", "default", WIDTH, k / WIDTH)
    assert len({r["accuracy"] for r in rows.values()}) > 10  # methods and sizes differ
    assert max(r["accuracy"] for r in rows.values()) > 0.6


@pytest.mark.parametrize("store", ["problem", "half"])
def test_logistic_rows_are_what_scikit_learn_predicts(request, store):
    p = request.getfixturevalue(store)
    labels = LABELS if store == "problem" else ("random", "pca", "random_projection_uniform")
    sizes = (2, WIDTH) if store == "problem" else (7,)
    rows = p.written(LOGISTIC, [(m, 1, sizes) for m in labels])
    for (method, seed, k), row in rows.items():
        z, zt = by_hand(method, seed, k, p.x, p.y, p.xt)
        assert_predicts(row, *refitted_logistic(z, p.y, 0.01, p.x, zt), p.yt)
        assert row["hyperparameter"] == 0.01
        assert row["converged"] is True
        assert 0 < row["gradient_norm"] <= 1e-6
    assert max(r["accuracy"] for r in rows.values()) > 0.6


@pytest.mark.parametrize("store", ["problem", "half"])
def test_sgd_rows_are_what_a_direct_fit_gives(request, store, short_protocol):
    p = request.getfixturevalue(store)
    seen = statistics([(p.x, p.y)], C)
    rows = p.written(short_protocol, [(m, s, SIZES) for m in LABELS for s in seeds_of(m)])
    for method in LABELS:
        for seed in seeds_of(method):
            nested = parse_method(method).nested
            for sizes in (SIZES,) if nested else ((k,) for k in SIZES):
                of = coordinates(method, seed, WIDTH, n_neurons=max(sizes), statistics=seen)
                fitted = fit_nested(
                    (torch.from_numpy(of.apply(p.x)), torch.from_numpy(p.y)),
                    lambda of=of: [(torch.from_numpy(of.apply(p.xt)), torch.from_numpy(p.yt))],
                    sizes=sizes,
                    n_classes=C,
                    protocol=short_protocol,
                    seed=seed,
                )
                for k, score in zip(fitted.sizes, fitted.scores, strict=True):
                    row = rows[method, seed, k]
                    assert row["predicted_count"] == score.predicted.tolist()
                    assert row["class_accuracy"] == score.class_accuracy
                    assert row["accuracy"] == score.accuracy
                    assert (row["n_test"], row["converged"], row["val_accuracy"]) == (len(p.yt), None, None)
                    assert row["hyperparameter"] == short_protocol.learning_rate
    assert max(r["accuracy"] for r in rows.values()) > 0.6


@pytest.mark.parametrize("label", ["pca", "random_independent", "ranked"])
def test_sgd_rows_are_what_a_plain_loop_gives(problem, short_protocol, label):
    p, k = problem, 7
    of = coordinates(label, 1, WIDTH, n_neurons=k, statistics=statistics([(p.x, p.y)], C))
    z, zt = (torch.from_numpy(of.apply(x)) for x in (p.x, p.xt))
    alone = plain_probe(z, torch.from_numpy(p.y), k, n_classes=C, protocol=short_protocol, seed=1)
    row = p.written(short_protocol, [(label, 1, (k,))])[label, 1, k]
    assert_predicts(row, alone(zt).argmax(1).numpy(), p.yt)


class TestViews:
    """Several stored passes over the training rows."""

    @pytest.mark.parametrize("label", ["random", "random_projection"])
    def test_sgd_cycles_through_them(self, viewed, short_protocol, label):
        p, k = viewed, 7
        of = coordinates(label, 1, WIDTH, n_neurons=k)
        z = [torch.from_numpy(of.apply(v.numpy())) for v in p.views]
        zt = torch.from_numpy(of.apply(p.xt))

        def guess(views):
            alone = plain_probe(
                views, p.labels, k, n_classes=C, protocol=short_protocol, seed=1, rows=torch.from_numpy(p.rows)
            )
            return alone(zt).argmax(1).numpy()

        row = p.written(short_protocol, [(label, 1, (k,))])[label, 1, k]
        assert_predicts(row, guess(z), p.yt)
        assert row["predicted_count"] != np.bincount(guess(z[:1]), minlength=C).tolist()  # the other views matter

    @pytest.mark.parametrize("view", ["first", "epoch"])
    def test_held_out_rows_are_validated_in_the_view_that_the_protocol_names(self, viewed, short_protocol, view):
        p = viewed
        protocol = dataclasses.replace(short_protocol, validation_view=view, epochs=3)
        held = Validation(fraction=0.3, seed=5)
        row = p.written(protocol, [("first", 1, (7,))], validation=held)["first", 1, 7]
        order = torch.randperm(len(p.rows), generator=torch.Generator().manual_seed(5)).numpy()
        n = int(0.7 * len(p.rows))
        kept, val = p.rows[order[:n]], p.rows[order[n:]]
        best = []

        def look(linear, epoch):
            seen = p.views[epoch if view == "epoch" else 0]
            right = linear(seen[val, :7]).argmax(1) == p.labels[val]
            best.append((right.double().mean().item(), linear(torch.from_numpy(p.xt[:, :7])).argmax(1).numpy()))

        plain_probe(
            list(p.views),
            p.labels,
            7,
            n_classes=C,
            protocol=protocol,
            seed=1,
            rows=torch.from_numpy(kept),
            each_epoch=look,
        )
        accuracy, guess = max(best, key=lambda b: b[0])  # the first of equals
        assert row["val_accuracy"] == pytest.approx(accuracy)
        assert_predicts(row, guess, p.yt)

    def test_closed_forms_take_the_first(self, viewed):
        p = viewed
        for protocol, refit in ((RIDGE, 0.01 * mean_eigenvalue(p.x)), (LOGISTIC, None)):
            rows = p.written(protocol, [("first", 1, SIZES)])
            for k in SIZES:
                z, zt = p.x[:, :k].astype(float), p.xt[:, :k].astype(float)
                guess = refitted_ridge(z, p.y, refit, zt) if refit else refitted_logistic(z, p.y, 0.01, p.x, zt)
                assert_predicts(rows["first", 1, k], guess[0], p.yt)


class TestValidation:
    """What is chosen is chosen on validation rows only."""

    def split(self, p, validation):
        """Return (rows to fit on, their labels, rows to validate on, theirs)."""
        if validation.split_id is not None:
            return p.x, p.y, p.xv, p.yv
        order = torch.randperm(len(p.rows), generator=torch.Generator().manual_seed(validation.seed)).numpy()
        n = int((1 - validation.fraction) * len(p.rows))
        return p.x[order[:n]], p.y[order[:n]], p.x[order[n:]], p.y[order[n:]]

    @pytest.fixture(params=["split", "fraction"])
    def validation(self, request, problem):
        return Validation(split_id=problem.val_id) if request.param == "split" else Validation(fraction=0.25, seed=2)

    @pytest.mark.parametrize("label", ["random", "pca", "ranked:by-weight"])
    def test_penalties_of_ridge(self, problem, validation, label):
        p = problem
        strengths = (1e-4, 1.0, 100.0)
        rows = p.written(
            ridge_protocol("relative:" + ",".join(map(str, strengths))), [(label, 1, SIZES)], validation=validation
        )
        x, y, xv, yv = self.split(p, validation)
        for k in SIZES:
            z, zt, zv = by_hand(label, 1, k, x, y, p.xt, xv)
            tried = []
            for strength in sorted(strengths, reverse=True):
                penalty = strength * mean_eigenvalue(x)
                guess, guess_val = refitted_ridge(z, y, penalty, zt, zv)
                tried.append((accuracy_score(yv, guess_val), penalty, guess))
            accuracy, penalty, guess = max(tried, key=lambda t: t[0])  # the largest penalty of equals
            row = rows[label, 1, k]
            assert_predicts(row, guess, p.yt)
            assert row["val_accuracy"] == pytest.approx(accuracy, abs=1e-12)
            assert row["hyperparameter"] == pytest.approx(penalty, rel=1e-9)
            assert validation.label in row["protocol"]

    def test_penalties_of_logistic(self, problem, validation):
        p, penalties = problem, (1e-3, 1e-1, 10.0)
        protocol = logistic_protocol("layer:" + ",".join(map(str, penalties)))
        rows = p.written(protocol, [("random", 1, SIZES)], validation=validation)
        x, y, xv, yv = self.split(p, validation)
        for k in SIZES:
            z, zt, zv = by_hand("random", 1, k, x, y, p.xt, xv)
            tried = []
            for l2 in sorted(penalties, reverse=True):
                guess, guess_val = refitted_logistic(z, y, l2, x, zt, zv)
                tried.append((accuracy_score(yv, guess_val), l2, guess))
            accuracy, l2, guess = max(tried, key=lambda t: t[0])
            row = rows["random", 1, k]
            assert_predicts(row, guess, p.yt)
            assert (row["hyperparameter"], row["converged"]) == (l2, True)
            assert row["val_accuracy"] == pytest.approx(accuracy, abs=1e-12)

    def test_learning_rates_and_epochs_of_sgd(self, problem, validation, short_protocol):
        p, rates = problem, (1e-4, 0.1, 0.01)
        protocol = dataclasses.replace(short_protocol, learning_rates=rates)
        rows = p.written(protocol, [("random", 1, SIZES)], validation=validation)
        x, y, xv, yv = self.split(p, validation)
        if validation.fraction is not None:  # rows in the drawn order, as the mini-batches take them
            order = torch.randperm(len(p.rows), generator=torch.Generator().manual_seed(2)).numpy()
            x, y = p.x[order[: len(x)]], p.y[order[: len(x)]]
        of = coordinates("random", 1, WIDTH).order
        xv, xt = (torch.from_numpy(a[:, of]) for a in (xv, p.xt))
        for k in SIZES:
            tried = []
            for rate in rates:

                def look(linear, _epoch, rate=rate, k=k, tried=tried):
                    right = (linear(xv[:, :k]).argmax(1).numpy() == yv).mean()
                    tried.append((right, rate, linear(xt[:, :k]).argmax(1).numpy()))

                plain_probe(
                    torch.from_numpy(x[:, of]),
                    torch.from_numpy(y),
                    k,
                    n_classes=C,
                    protocol=protocol,
                    seed=1,
                    each_epoch=look,
                    rate=rate,
                )
            accuracy, rate, guess = max(tried, key=lambda t: t[0])
            row = rows["random", 1, k]
            assert row["val_accuracy"] == pytest.approx(accuracy, abs=1e-12)
            assert row["hyperparameter"] == rate
            assert_predicts(row, guess, p.yt)

    def test_test_labels_have_no_say(self, problem, validation, short_protocol):
        p = problem
        other = put(p.store, "test2", -p.xt, np.random.default_rng(0).permutation(p.yt), classes=CLASSES)
        for protocol in (
            ridge_protocol("validated"),
            logistic_protocol("layer:0.001,0.1,10"),
            dataclasses.replace(short_protocol, learning_rates=(1e-3, 0.1)),
        ):
            chosen = []
            for test_id in (p.test_id, other):
                task = probe_task(p.store, p.train_id, test_id, protocol, [("random", 1, SIZES)], validation=validation)
                found = by_size(written(p.store, task))
                chosen.append({k: (r["hyperparameter"], r["val_accuracy"]) for k, r in found.items()})
                accuracies = {k: r["accuracy"] for k, r in found.items()}
            assert chosen[0] == chosen[1]
            assert max(accuracies.values()) < 0.6  # of the second test split: it is another one


class TestControl:
    """Random labels: how well the same subsets learn by heart."""

    @pytest.fixture
    def permuted(self, problem):
        return problem.y[np.random.default_rng(CONTROL_SEED).permutation(len(problem.y))]

    @pytest.mark.parametrize("label", ["random", "pca:unit-variance", "ranked:by-weight"])
    def test_ridge_and_logistic(self, problem, permuted, label):
        p = problem
        for protocol in (RIDGE, LOGISTIC):
            rows = p.written(protocol, [(label, 1, SIZES)], control="random-labels")
            for k in SIZES:
                (z,) = by_hand(label, 1, k, p.x, p.y)  # the true labels choose: the very same subset
                guess = (
                    refitted_ridge(z, permuted, 0.01 * mean_eigenvalue(p.x), z)
                    if protocol is RIDGE
                    else refitted_logistic(z, permuted, 0.01, p.x, z)
                )
                assert_predicts(rows[label, 1, k], guess[0], permuted)
                assert rows[label, 1, k]["protocol"] == "default+random-labels"
        assert not np.array_equal(permuted, p.y)

    @pytest.mark.parametrize("label", ["random", "ranked:by-weight"])
    def test_sgd(self, problem, permuted, short_protocol, label):
        p = problem
        z, _ = by_hand(label, 1, 7, p.x, p.y, p.xt)
        z = torch.from_numpy(z.astype(np.float32))
        alone = plain_probe(z, torch.from_numpy(permuted), 7, n_classes=C, protocol=short_protocol, seed=1)
        row = p.written(short_protocol, [(label, 1, (7,))], control="random-labels")[label, 1, 7]
        assert_predicts(row, alone(z).argmax(1).numpy(), permuted)

    def test_held_out_rows_are_not_scored(self, problem, short_protocol):
        held = Validation(fraction=0.25)
        for protocol in (RIDGE, LOGISTIC, short_protocol):
            (row,) = problem.written(protocol, [("random", 1, (7,))], control="random-labels", validation=held).values()
            assert row["n_test"] == int(0.75 * len(problem.y))


@pytest.mark.parametrize("solver", ["sgd", "ridge", "logistic"])
def test_mean_per_class(problem, short_protocol, solver):
    p = problem
    protocol = {"sgd": short_protocol, "ridge": RIDGE, "logistic": LOGISTIC}[solver]
    xt, yt = p.xt[p.yt != 2], p.yt[p.yt != 2]  # a class without a test row has no say
    test_id = put(p.store, "test3", xt, yt, classes=CLASSES)
    groups = [("random", 1, SIZES)]
    plain, mean, few = (
        by_size(written(p.store, probe_task(p.store, p.train_id, test_id, protocol, groups, **fields)))
        for fields in ({}, {"average": "class"}, {"average": "class", "detailed": frozenset({7})})
    )
    for key, row in mean.items():
        accuracies = [a for a in row["class_accuracy"] if a is not None]
        assert row["class_accuracy"][2] is None
        assert row["accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-12) == few[key]["accuracy"]
        assert row["class_accuracy"] == plain[key]["class_accuracy"]
        assert row["protocol"].endswith("+mean-per-class")
        assert (few[key]["class_accuracy"] is None) == (key[2] != 7)
    assert [r["accuracy"] for r in mean.values()] != [r["accuracy"] for r in plain.values()]
    if solver == "ridge":
        z, zt = by_hand("random", 1, 7, p.x, p.y, xt)
        (guess,) = refitted_ridge(z, p.y, 0.01 * mean_eigenvalue(p.x), zt)
        expected = recall_score(yt, guess, labels=[0, 1, 3], average="macro", zero_division=0)
        assert mean["random", 1, 7]["accuracy"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "ridge", "logistic"])
def test_accuracies_per_class_are_kept_where_they_are_asked_for(problem, short_protocol, solver):
    protocol = {"sgd": short_protocol, "ridge": RIDGE, "logistic": LOGISTIC}[solver]
    groups = [("random", 1, range(1, 9))]
    every = problem.written(protocol, groups)
    some = problem.written(protocol, groups, detailed=frozenset({2, 8, 19}))
    for key, row in every.items():
        assert some[key]["accuracy"] == row["accuracy"]
        for name in ("class_accuracy", "predicted_count"):
            assert row[name] is not None
            assert some[key][name] == (row[name] if key[2] in (2, 8) else None)


class TestDivergence:
    """A probe that diverged has no accuracy."""

    @pytest.mark.parametrize("average", ["sample", "class"])
    @pytest.mark.parametrize("validation", [None, Validation(fraction=0.2)])
    def test_it_is_null_and_not_converged(self, problem, short_protocol, validation, average):
        wild = dataclasses.replace(short_protocol, learning_rate=1e30)
        rows = problem.written(wild, [("random", 1, SIZES)], validation=validation, average=average)
        for row in rows.values():
            nothing = ("accuracy", "val_accuracy", "class_accuracy", "predicted_count", "gradient_norm")
            assert [row[name] for name in nothing] == [None] * 5
            assert (row["converged"], row["hyperparameter"], row["n_test"]) == (False, 1e30, len(problem.yt))

    def test_another_rate_is_chosen(self, problem, short_protocol):
        both = dataclasses.replace(short_protocol, learning_rates=(1e30, 0.1))
        for row in problem.written(both, [("random", 1, SIZES)], validation=Validation(fraction=0.2)).values():
            assert (row["hyperparameter"], row["converged"]) == (0.1, None)
            assert row["accuracy"] > 0.2


@pytest.mark.parametrize("solver", ["sgd", "ridge", "logistic"])
def test_how_groups_are_cut_into_tasks_changes_nothing(problem, short_protocol, solver):
    protocol = {"sgd": short_protocol, "ridge": RIDGE, "logistic": LOGISTIC}[solver]
    groups = [(m, 1, SIZES) for m in LABELS]
    together = problem.written(protocol, groups)
    apart = {}
    for part in (
        [(m, 1, (7,)) for m in LABELS],
        [(m, 1, (1,)) for m in reversed(LABELS)] + [("random", 2, (3,))],
        [(m, 1, (WIDTH,)) for m in LABELS[::2]],
        [(m, 1, (WIDTH,)) for m in LABELS[1::2]],
    ):
        apart |= problem.written(protocol, part)
    del apart["random", 2, 3]
    assert together.keys() == apart.keys()
    for key, row in together.items():
        for name in ("accuracy", "class_accuracy", "predicted_count", "converged", "job_id"):
            assert apart[key][name] == row[name], (key, name)
        assert apart[key]["hyperparameter"] == pytest.approx(row["hyperparameter"], rel=1e-12)


class TestEdgeCases:
    """A value, null, or an error with a name; never NaN (`written` looks)."""

    @pytest.fixture
    def store(self, tmp_path):
        return open_store(tmp_path / "store", create=True)

    @pytest.fixture(params=["sgd", "ridge", "logistic"])
    def protocol(self, request, short_protocol):
        return {"sgd": short_protocol, "ridge": RIDGE, "logistic": LOGISTIC}[request.param]

    def run(self, store, train, test, protocol, labels=LABELS, sizes=(1, 3), classes=CLASSES, **fields):
        ids = put(store, "train", *train, classes=classes), put(store, "test", *test, classes=classes)
        return written(store, probe_task(store, *ids, protocol, [(m, 1, sizes) for m in labels], **fields))

    def test_constant_and_duplicated_neurons(self, store, protocol):
        (x, y), (xt, yt) = make()
        for a in (x[0], xt):
            a[:, 5] = a[:, 2]
            a[:, 6] = a[:, 2]
            a[:, 7] = 1e4
            a[:, 8:11] = 0
        rows = self.run(store, (x[0], y), (xt, yt), protocol, sizes=(1, 17, WIDTH))
        if protocol.solver == "sgd":  # its steps are for features of scale 1: at 10,000 it may diverge, and says so
            assert all((r["accuracy"] is None) == (r["converged"] is False) for r in rows)
        else:
            assert all(r["accuracy"] is not None and r["converged"] for r in rows)
            whole = [r["accuracy"] for r in rows if r["n_neurons"] == WIDTH]
            assert min(whole) > 0.5

    def test_a_layer_of_constants(self, store, protocol):
        x, y = np.full((40, 3), 2.5, np.float32), np.arange(40) % 4
        free = [m for m in LABELS if not m.startswith("pca")]
        rows = self.run(store, (x, y), (x, y), protocol, labels=free)
        assert {r["accuracy"] for r in rows} == {0.25}
        for label in ("pca", "pca_least:uncentred"):
            with pytest.raises(InvalidProbe, match="all 3 neurons are constant"):
                self.run(store, (x, y), (x, y), protocol, labels=[label])

    def test_a_class_without_training_rows(self, store, protocol):
        (x, y), (xt, yt) = make()
        some = y != 1
        rows = self.run(store, (x[0][some], y[some]), (xt, yt), protocol, sizes=(1, WIDTH))
        assert (yt == 1).any()
        for row in rows:
            assert row["class_accuracy"][1] is not None
            if protocol.solver != "sgd":
                assert row["predicted_count"][1] == 0
                assert row["class_accuracy"][1] == 0

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("where", ["train", "test"])
    @pytest.mark.parametrize("label", ["random", "pca", "ranked"])
    def test_features_that_are_not_finite(self, store, protocol, where, value, label):
        (x, y), (xt, yt) = make()
        (x[0] if where == "train" else xt)[11, 3] = value
        with pytest.raises(InvalidProbe, match=r"finite|NaN or infinite"):
            self.run(store, (x[0], y), (xt, yt), protocol, labels=[label], sizes=(WIDTH,))
        assert store.results.table("probes").num_rows == 0

    def test_fewer_rows_than_neurons(self, store, protocol):
        (x, y), (xt, yt) = make()
        x, y = x[0][:12], y[:12]
        free = [m for m in LABELS if not m.startswith("pca")]
        rows = self.run(store, (x, y), (xt, yt), protocol, labels=free, sizes=(1, 12, WIDTH))
        assert all(r["accuracy"] is not None for r in rows)
        rows = self.run(store, (x, y), (xt, yt), protocol, labels=["pca", "pca_least"], sizes=(1, 11))
        assert all(r["accuracy"] is not None for r in rows)
        with pytest.raises(InvalidProbe, match="have at most 11"):
            self.run(store, (x, y), (xt, yt), protocol, labels=["pca"], sizes=(12,))

    def test_a_layer_of_one_neuron(self, store, protocol):
        (x, y), (xt, yt) = make()
        rows = self.run(store, (x[0][:, :1], y), (xt[:, :1], yt), protocol, sizes=(1,))
        assert len(rows) == len(LABELS)
        assert all(r["accuracy"] is not None and r["fraction"] == 1.0 for r in rows)
        if protocol.solver != "sgd":  # one direction and its mirror image
            plain = [r["accuracy"] for r in rows if "unit-variance" not in r["method"]]
            assert len(set(plain)) == 1

    def test_one_training_row(self, store, protocol):
        (x, y), (xt, yt) = make()
        one = x[0][:1], y[:1]
        if protocol.solver == "sgd":
            (row,) = self.run(store, one, (xt, yt), protocol, labels=["random"], sizes=(3,))
            assert 0 <= row["accuracy"] <= 1
        else:
            with pytest.raises(InvalidProbe, match="at least two rows, got 1"):
                self.run(store, one, (xt, yt), protocol, labels=["random"], sizes=(3,))
        with pytest.raises(InvalidProbe, match="at least two rows, got 1"):
            self.run(store, one, (xt, yt), protocol, labels=["pca"], sizes=(1,))

    def test_training_rows_of_one_class(self, store, protocol):
        (x, _), (xt, yt) = make()
        y = np.full(160, 2)
        if protocol.solver == "logistic":
            with pytest.raises(InvalidProbe, match="two classes at least"):
                self.run(store, (x[0], y), (xt, yt), protocol, labels=["random"])
        else:
            rows = self.run(store, (x[0], y), (xt, yt), protocol, labels=["random", "pca"])
            assert all(r["accuracy"] is not None for r in rows)
        with pytest.raises(InvalidProbe, match="ranked:by-weight"):
            self.run(store, (x[0], y), (xt, yt), protocol, labels=["ranked:by-weight"])

    def test_one_test_row_of_each_of_two_classes(self, store, protocol):
        (x, y), (xt, yt) = make()
        two = [int(np.flatnonzero(yt == c)[0]) for c in (1, 3)]
        rows = self.run(store, (x[0], y), (xt[two], yt[two]), protocol, labels=["random"])
        for row in rows:
            assert row["accuracy"] in (0.0, 0.5, 1.0)
            assert [a is None for a in row["class_accuracy"]] == [True, False, True, False]

    def test_more_neurons_than_there_are(self, store, protocol):
        (x, y), (xt, yt) = make()
        with pytest.raises(InvalidProbe, match=f"a subset of {WIDTH + 1} neurons was asked of a layer of {WIDTH}"):
            self.run(store, (x[0], y), (xt, yt), protocol, labels=["first"], sizes=(WIDTH + 1,))
