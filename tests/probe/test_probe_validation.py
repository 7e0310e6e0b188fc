"""What is chosen is chosen on validation rows only."""

import dataclasses

import numpy as np
import pytest
import torch
from batch_problem import (
    CLASSES,
    SIZES,
    WIDTH,
    C,
    Problem,
    assert_predicts,
    by_hand,
    mean_eigenvalue,
    refitted_logistic,
    refitted_ridge,
)
from plain import plain_probe
from sklearn.metrics import accuracy_score
from small_store import by_size, probe_task, put, written

from probe import Validation, coordinates, logistic_protocol, ridge_protocol
from store import open_store


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("a") / "store", create=True))


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
