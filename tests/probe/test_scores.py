"""Counts of predictions against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from probe.scores import Score


def test_accuracies_are_scikit_learns():
    rng = np.random.default_rng(0)
    y, guess = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    score = Score(
        n_test=300,
        correct=np.bincount(y[guess == y], minlength=4),
        actual=np.bincount(y, minlength=4),
        predicted=np.bincount(guess, minlength=4),
    )
    assert score.accuracy == pytest.approx(accuracy_score(y, guess))
    assert score.class_accuracy == pytest.approx(recall_score(y, guess, average=None))


def test_a_class_without_test_rows_has_no_accuracy():
    score = Score(n_test=2, correct=np.array([1, 0]), actual=np.array([2, 0]), predicted=np.array([1, 1]))
    assert score.class_accuracy == [0.5, None]
