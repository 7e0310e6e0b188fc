"""Rows of a probe task, against other libraries and direct calls: every method by every solver."""

import numpy as np
import pytest
import torch
from batch_problem import (
    CLASSES,
    LABELS,
    LOGISTIC,
    RIDGE,
    SIZES,
    WIDTH,
    C,
    Problem,
    assert_predicts,
    by_hand,
    mean_eigenvalue,
    refitted_logistic,
    refitted_ridge,
    seeds_of,
)
from plain import plain_probe
from sklearn.metrics import recall_score
from small_store import by_size, probe_task, put, written

from probe import coordinates, parse_method, statistics
from probe.sgd import fit_nested
from store import open_store


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("a") / "store", create=True))


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("b") / "store", create=True), dtype="float16")


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
