"""Held-out rows read from another representation of the training split, against plain oracles."""

import dataclasses

import numpy as np
import pytest
import torch
from batch_problem import (
    CLASSES,
    SIZES,
    WIDTH,
    C,
    assert_predicts,
    make,
    mean_eigenvalue,
    refitted_logistic,
    refitted_ridge,
)
from plain import plain_probe
from small_store import by_size, probe_task, put, written

from probe import InvalidProbe, Mismatch, ProbeError, Validation, logistic_protocol, ridge_protocol, run_task
from probe._inputs import Inputs
from probe.spec import ProbeSetting
from store import open_store

MASKED, CLEAN_MASKED = (0, 64, 159), (5, 64, 70, 71, 72)


class Problem:
    """A training split in two augmented views and clean, and test rows."""

    def __init__(self, store):
        (views, y), (self.xt, self.yt) = make(n_views=3)
        self.store, self.y = store, y
        self.clean, self.views = views[0], views[1:]
        self.train_id = put(store, "train", self.views, y, masked=MASKED, classes=CLASSES)
        self.clean_id = put(store, "train", self.clean, y, masked=CLEAN_MASKED, classes=CLASSES)
        self.test_id = put(store, "test", self.xt, self.yt, classes=CLASSES)
        valid = np.delete(np.arange(len(y)), MASKED)
        order = torch.randperm(len(valid), generator=torch.Generator().manual_seed(7)).numpy()
        n = int(0.6 * len(valid))
        self.fitted, held = valid[order[:n]], valid[order[n:]]
        self.held = np.setdiff1d(held, CLEAN_MASKED)
        assert len(self.held) < len(held)
        self.validation = Validation(fraction=0.4, seed=7, clean_id=self.clean_id)

    def written(self, protocol, groups, **fields):
        fields = {"validation": self.validation} | fields
        test_id = self.train_id if fields.get("control") else self.test_id
        return by_size(written(self.store, probe_task(self.store, self.train_id, test_id, protocol, groups, **fields)))

    def opened(self, **validation):
        held = dataclasses.replace(self.validation, **validation)
        return Inputs(
            self.store,
            ProbeSetting(
                train_id=self.train_id, test_id=self.test_id, protocol=ridge_protocol("validated"), validation=held
            ),
        )


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("a") / "store", create=True))


@pytest.mark.parametrize("solver", ["ridge", "logistic"])
def test_penalties_are_chosen_on_clean_rows_and_fitted_on_augmented_ones(problem, solver):
    p, penalties = problem, (1e-3, 0.1, 30.0)
    spelled = ",".join(map(str, penalties))
    protocol = ridge_protocol(f"relative:{spelled}") if solver == "ridge" else logistic_protocol(f"layer:{spelled}")
    rows = p.written(protocol, [("first", 1, SIZES)])
    x, y = p.views[:, p.fitted].reshape(-1, WIDTH), np.tile(p.y[p.fitted], 2)
    for k in SIZES:
        z, zv, zt = (a[:, :k].astype(float) for a in (x, p.clean[p.held], p.xt))
        tried = []
        for penalty in sorted(penalties, reverse=True):
            if solver == "ridge":
                guess, val = refitted_ridge(z, y, penalty * mean_eigenvalue(x), zt, zv)
            else:
                guess, val = refitted_logistic(z, y, penalty, x, zt, zv)
            tried.append(((val == p.y[p.held]).mean(), guess))
        accuracy, guess = max(tried, key=lambda t: t[0])
        row = rows["first", 1, k]
        assert row["val_accuracy"] == pytest.approx(accuracy, abs=1e-12)
        assert_predicts(row, guess, p.yt)
        assert row["protocol"].endswith(f"+val-0.4-seed-7-clean-{p.clean_id[:8]}")


@pytest.mark.parametrize("view", ["first", "epoch"])
def test_epochs_of_sgd_are_chosen_on_clean_rows(problem, short_protocol, view):
    p, k = problem, 7
    protocol = dataclasses.replace(short_protocol, validation_view=view)
    row = p.written(protocol, [("first", 1, (k,))])["first", 1, k]
    seen = []

    def look(linear, _epoch):
        right = linear(torch.from_numpy(p.clean[p.held, :k])).argmax(1).numpy() == p.y[p.held]
        seen.append((right.mean(), linear(torch.from_numpy(p.xt[:, :k])).argmax(1).numpy()))

    plain_probe(
        [torch.from_numpy(v) for v in p.views],
        torch.from_numpy(p.y),
        k,
        n_classes=C,
        protocol=protocol,
        seed=1,
        rows=torch.from_numpy(p.fitted),
        each_epoch=look,
    )
    accuracy, guess = max(seen, key=lambda t: t[0])
    assert row["val_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert_predicts(row, guess, p.yt)
    augmented = p.written(protocol, [("first", 1, (k,))], validation=Validation(fraction=0.4, seed=7))
    assert augmented["first", 1, k]["val_accuracy"] != row["val_accuracy"]


def test_rows_that_are_fitted_and_their_statistics_are_those_without_it(problem):
    ours, plain = problem.opened(), problem.opened(clean_id=None)
    np.testing.assert_array_equal(ours.train_rows, plain.train_rows)
    assert problem.validation.training_rows == dataclasses.replace(problem.validation, clean_id=None).training_rows
    assert sorted(ours.val_rows) == problem.held.tolist()
    assert ours.selection_rows is None  # none of the training features
    found = ours.statistics()
    np.testing.assert_array_equal(plain.statistics().scatter, found.scatter)


def test_a_control_chooses_on_none(problem):
    (row,) = problem.written(ridge_protocol("default"), [("first", 1, (7,))], control="random-labels").values()
    assert row["val_accuracy"] is None
    assert row["n_test"] == 2 * len(problem.fitted)


def test_a_representation_of_other_rows_is_refused(problem):
    p = problem
    names = {
        "samples": put(p.store, "other", p.clean, p.y, classes=CLASSES),
        "labels": put(p.store, "train", p.clean, np.roll(p.y, 1), classes=CLASSES),
        "rows": put(p.store, "train", p.clean[:100], p.y[:100], classes=CLASSES),
        "width": put(p.store, "train", p.clean[:, :5], p.y, classes=CLASSES),
        "classes": put(p.store, "train", p.clean, p.y, classes=("d", "c", "b", "a")),
    }
    for name, message in (
        ("samples", "160 rows have another sample, the first is row 0: other0, expected train0"),
        ("labels", r"rows have another label, the first is row \d+"),
        ("rows", "has 100 rows, expected 160: it is of another split"),
        ("width", "different widths"),
        ("classes", "different classes"),
    ):
        with pytest.raises(Mismatch, match=message):
            p.opened(clean_id=names[name])
    held = np.union1d(p.held, CLEAN_MASKED)
    hidden = put(p.store, "train", p.clean, p.y, masked=tuple(int(r) for r in held), classes=CLASSES)
    with pytest.raises(ProbeError, match="all held-out rows are masked"):
        p.opened(clean_id=hidden)


def test_ids_that_make_no_sense_are_refused(problem):
    p = problem
    for clean_id, message in ((p.train_id, "is trained on too"), (p.test_id, "is scored on too")):
        with pytest.raises(InvalidProbe, match=message):
            p.opened(clean_id=clean_id)
    with pytest.raises(InvalidProbe, match="give a fraction with clean_id"):
        Validation(split_id="a" * 64, clean_id="b" * 64)
    with pytest.raises(InvalidProbe, match="not both"):
        Validation(clean_id="b" * 64)
    absent = dataclasses.replace(p.validation, clean_id="b" * 64)
    with pytest.raises(LookupError, match="there is no representation"):
        run_task(
            probe_task(
                p.store, p.train_id, p.test_id, ridge_protocol("default"), [("first", 1, (7,))], validation=absent
            )
        )
