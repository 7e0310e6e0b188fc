"""Random labels: how well the same subsets learn by heart."""

import numpy as np
import pytest
import torch
from batch_problem import (
    LOGISTIC,
    RIDGE,
    SIZES,
    C,
    Problem,
    assert_predicts,
    by_hand,
    mean_eigenvalue,
    refitted_logistic,
    refitted_ridge,
)
from plain import plain_probe

from probe import Validation
from probe._inputs import CONTROL_SEED
from store import open_store


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("a") / "store", create=True))


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
