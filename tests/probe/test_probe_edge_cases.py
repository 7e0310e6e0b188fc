"""Edge cases of a probe task: a value, null, or an error with a name; never NaN (`written` looks)."""

import dataclasses

import numpy as np
import pytest
from batch_problem import (
    CLASSES,
    LABELS,
    LOGISTIC,
    RIDGE,
    SIZES,
    WIDTH,
    Problem,
    make,
)
from small_store import probe_task, put, written

from probe import InvalidProbe, Validation
from store import open_store


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("a") / "store", create=True))


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
