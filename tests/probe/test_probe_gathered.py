"""Probes of a layer of which only some neurons are stored, against the same probes of the whole layer."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
import torch
from batch_problem import LABELS, assert_predicts, refitted_ridge
from small_store import NAMES, by_size, probe_task, put, written

from probe import (
    InvalidProbe,
    Mismatch,
    ProbeSetting,
    StatisticsTask,
    Validation,
    coordinates,
    gathered,
    logistic_protocol,
    neuron_order,
    parse_method,
    ridge_protocol,
    run_task,
)
from probe._inputs import Inputs
from probe.sgd import fit_nested
from probe.stored_moments import column_squares
from store import open_store

WIDTH, C = 90, 4
CLASSES = ("a", "b", "c", "d")
TRAIN_MASKED, TEST_MASKED = (0, 64, 159), (3, 99)
SIZES = (1, 7, 24)
ALLOWED = ("random", "random_independent", "first")


def subsets(sizes=SIZES, seeds=(1, 2), methods=ALLOWED):
    """Return the union of a study's subsets, each of them drawn from the whole layer."""
    parts = [coordinates(m, s, WIDTH, n_neurons=k).order for m in methods for s in seeds for k in sizes]
    return np.unique(np.concatenate(parts))


class Problem:
    """A layer stored whole and gathered: training, clean training and test rows of it."""

    def __init__(self, folder, *, dtype="float32", n_views=1):
        rng = np.random.default_rng(3)
        x = np.maximum(rng.normal(size=(260, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH)) * 0.3 + 0.3, 0)
        y = ((x - x.mean(0)) @ rng.normal(size=(WIDTH, C)) + rng.normal(size=(260, C))).argmax(1)
        views = x[:160] + 0.2 * np.abs(rng.normal(size=(n_views, 160, WIDTH)))
        self.store = open_store(folder / "store", create=True)
        self.neurons = subsets()
        assert len(self.neurons) < WIDTH
        self.views, self.labels = views.astype(dtype), y[:160]
        self.xt, self.yt = x[160:].astype(dtype), y[160:]
        self.ids = {}
        for name, neurons in (("whole", None), ("some", self.neurons)):
            kind = {"dtype": dtype, "classes": CLASSES, "neurons": neurons}
            self.ids[name] = (
                put(self.store, "train", self.views, self.labels, masked=TRAIN_MASKED, **kind),
                put(self.store, "test", self.xt, self.yt, masked=TEST_MASKED, **kind),
            )
        self.clean_id = put(self.store, "train", x[:160].astype(dtype), y[:160], classes=CLASSES, neurons=self.neurons)
        self.rows = np.delete(np.arange(160), TRAIN_MASKED)
        self.scored = np.delete(np.arange(100), TEST_MASKED)

    def written(self, name, protocol, groups, **fields):
        train_id, test_id = self.ids[name]
        test_id = train_id if fields.get("control") else test_id
        return by_size(written(self.store, probe_task(self.store, train_id, test_id, protocol, groups, **fields)))

    def inputs(self, name, protocol, **fields):
        setting = {"protocol": protocol, "validation": None, **fields}
        return Inputs(self.store, ProbeSetting(train_id=self.ids[name][0], test_id=self.ids[name][1], **setting))


@pytest.fixture(scope="module", params=[("float32", 1), ("float16", 1), ("float32", 3)], ids=["32", "16", "views"])
def problem(request, tmp_path_factory):
    dtype, n_views = request.param
    return Problem(tmp_path_factory.mktemp("a"), dtype=dtype, n_views=n_views)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return Problem(tmp_path_factory.mktemp("b"))


GROUPS = [(m, s, (1, 24)) for m, s in (("random", 1), ("random", 2), ("random_independent", 1), ("first", 1))]
FIELDS = (
    {"validation": Validation(fraction=0.25, seed=2)},
    {"control": "random-labels"},
    {"average": "class"},
)


def assert_same_rows(some, whole):
    assert some.keys() == whole.keys()
    for key, row in some.items():
        for name in ("accuracy", "class_accuracy", "predicted_count", "val_accuracy", "converged", "n_test"):
            assert row[name] == whole[key][name], (key, name)
        assert (row["width"], row["fraction"]) == (WIDTH, key[2] / WIDTH)
    assert len({r["accuracy"] for r in some.values()}) > 3


PROTOCOLS = (ridge_protocol("absolute:3.5"), logistic_protocol("standardised:0.05"))


def test_rows_are_those_of_the_whole_layer(problem, short_protocol):
    for protocol in (dataclasses.replace(short_protocol, epochs=3), *PROTOCOLS):
        some, whole = (problem.written(name, protocol, GROUPS) for name in ("some", "whole"))
        assert_same_rows(some, whole)


@pytest.mark.parametrize("fields", FIELDS, ids=lambda f: next(iter(f)))
def test_rows_of_any_setting_are_those_of_the_whole_layer(one, short_protocol, fields):
    for protocol in (dataclasses.replace(short_protocol, epochs=3), *PROTOCOLS):
        some, whole = (one.written(name, protocol, GROUPS[1:], **fields) for name in ("some", "whole"))
        assert_same_rows(some, whole)


@pytest.mark.parametrize("normalisation", ["none", "standardised"])
@pytest.mark.parametrize("method", ALLOWED)
def test_sgd_gives_the_same_weights_bit_for_bit(problem, short_protocol, method, normalisation):
    protocol = dataclasses.replace(short_protocol, normalisation=normalisation)
    of = coordinates(method, 2, WIDTH, n_neurons=24)
    fitted = []
    for name in ("some", "whole"):
        inputs = problem.inputs(name, protocol)
        fitted.append(
            fit_nested(
                (inputs.views(of), torch.from_numpy(inputs.labels)),
                inputs.test_blocks(of),
                sizes=SIZES if method != "random_independent" else (24,),
                n_classes=C,
                protocol=protocol,
                seed=2,
                n_views=inputs.n_views,
                train_rows=torch.from_numpy(inputs.train_rows),
            )
        )
    for some, whole in zip(*(f.weights + f.biases for f in fitted), strict=True):
        assert some.any()
        np.testing.assert_array_equal(some, whole)


def test_penalties_are_relative_to_the_stored_neurons(problem):
    p = problem
    rows = p.written("some", ridge_protocol("relative:0.1"), [("random", 1, SIZES)])
    x = p.views[:, p.rows].reshape(-1, WIDTH)
    stored = x[:, p.neurons].astype(np.float64)
    penalty = 0.1 * stored.var(0).mean() * len(stored)
    order = neuron_order("random", 1, WIDTH)
    for k in SIZES:
        row = rows["random", 1, k]
        assert row["hyperparameter"] == pytest.approx(penalty, rel=1e-10)
        z, zt = x[:, order[:k]], p.xt[p.scored][:, order[:k]]
        y = np.tile(p.labels[p.rows], len(p.views))
        assert_predicts(row, *refitted_ridge(z.astype(np.float64), y, penalty, zt.astype(np.float64)), p.yt[p.scored])


def test_the_scale_of_logistic_is_that_of_the_stored_neurons(one):
    x = one.views[0][np.ix_(one.rows, one.neurons)].astype(np.float64)
    variance = x.var(0).mean()
    # With V over s for the weights of features as they are, l2 ||V||^2 is l2 s^2 of those.
    layer = one.written("some", logistic_protocol("layer:0.05"), [("random", 1, (7,))])["random", 1, 7]
    plain = one.written("some", logistic_protocol(f"none:{float(0.05 * variance)!r}"), [("random", 1, (7,))])[
        "random", 1, 7
    ]
    assert layer["predicted_count"] == plain["predicted_count"]
    other = one.written("some", logistic_protocol("none:5"), [("random", 1, (7,))])["random", 1, 7]
    assert other["predicted_count"] != plain["predicted_count"]


def test_the_scale_is_counted_once(one, monkeypatch):
    protocol = ridge_protocol("relative:0.2")
    first = one.written("some", protocol, [("random", 1, (7,))])
    assert "squares-all" in one.store.statistics.rows(one.ids["some"][0])

    def refuse(*_args):
        raise AssertionError("counted again")

    monkeypatch.setattr("probe.stored_moments.column_squares", refuse)
    again = one.written("some", protocol, [("random", 1, (7,))])
    assert again["random", 1, 7]["hyperparameter"] == first["random", 1, 7]["hyperparameter"]


def test_squares_of_columns_are_numpys_however_rows_are_cut():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(101, 5)) + 1e3).astype(np.float32)
    expected = x.astype(np.float64).var(0) * 101
    for cuts in ([], [1], [50, 50, 100], range(1, 101)):
        n, squares = column_squares(np.split(x, list(cuts)))
        assert n == 101
        np.testing.assert_allclose(squares, expected, rtol=1e-9)
    x[7, 2] = np.inf
    with pytest.raises(InvalidProbe, match="NaN or infinite"):
        column_squares([x])
    with pytest.raises(InvalidProbe, match="at least one row"):
        column_squares([x[:0]])


def test_held_out_rows_of_a_clean_gathered_representation(problem, short_protocol):
    p, held = problem, Validation(fraction=0.3, seed=5, clean_id=problem.clean_id)
    row = p.written("some", short_protocol, [("first", 1, (7,))], validation=held)["first", 1, 7]
    other = p.written("some", short_protocol, [("first", 1, (7,))], validation=dataclasses.replace(held, clean_id=None))
    assert row["val_accuracy"] is not None
    assert row["job_id"] != other["first", 1, 7]["job_id"]


def test_train_and_test_may_store_different_neurons(one, short_protocol):
    more = put(one.store, "test", one.xt, one.yt, masked=TEST_MASKED, classes=CLASSES, neurons=subsets(seeds=(1, 2, 3)))
    whole = one.written("whole", short_protocol, GROUPS)
    for test_id in (more, one.ids["whole"][1]):
        task = probe_task(one.store, one.ids["some"][0], test_id, short_protocol, GROUPS)
        assert_same_rows(by_size(written(one.store, task)), whole)
    other = put(one.store, "test", one.xt[:, :50], one.yt, classes=CLASSES, neurons=np.arange(30))
    with pytest.raises(Mismatch, match="different widths"):
        run_task(probe_task(one.store, one.ids["some"][0], other, short_protocol, GROUPS))


def test_only_the_columns_of_a_stack_are_in_memory(tmp_path):
    store = open_store(tmp_path / "store", create=True)
    n, width, kept = 2048, 12000, np.arange(0, 12000, 3)
    x = np.zeros((n, width), np.float32)
    x[:, kept] = np.random.default_rng(0).normal(size=(n, len(kept)))
    labels = np.arange(n) % 3
    train_id = put(store, "train", x, labels, neurons=kept, rows_per_chunk=16)
    inputs = Inputs(
        store,
        ProbeSetting(train_id=train_id, test_id=train_id, protocol=ridge_protocol("absolute:1"), validation=None),
    )
    order = np.random.default_rng(1).permutation(kept)[:60]
    of = type(coordinates("first", 1, 3))(order=order)
    tracemalloc.start()
    try:
        features, _ = inputs.train_tensors(of)
        blocks = [len(y) for _, y in inputs.test_arrays(of)()]
        inputs.counted(of)
        peak = tracemalloc.get_traced_memory()[1] / (n * len(kept) * 4)
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(features.numpy(), x[:, order])
    assert peak < 0.3  # of what is stored: 60 of 4,000 columns, chunks on their way, sums of the 60
    assert blocks == [1024, 1024]  # chunks of 16 rows are joined
    held = inputs.train_tensors(of)[0]
    assert held.data_ptr() == features.data_ptr()  # the same columns are not read again


class TestRefusals:
    """What needs neurons that are not stored is refused, with what would do."""

    @pytest.mark.parametrize("label", [m for m in LABELS if parse_method(m).name not in ALLOWED])
    def test_methods_that_look_at_the_whole_layer(self, one, short_protocol, label):
        ids = one.ids["whole"][0], one.ids["some"][1]
        for protocol in (short_protocol, ridge_protocol("default"), logistic_protocol("default")):
            with pytest.raises(InvalidProbe, match=rf"{len(one.neurons)} of {WIDTH}.*method '{label}' needs it.*whole"):
                one.written("some", protocol, [(label, 1, (3,))])
            with pytest.raises(InvalidProbe, match="needs it"):  # so is one whose test rows are gathered
                run_task(probe_task(one.store, *ids, protocol, [(label, 1, (3,))]))

    @pytest.mark.parametrize("protocol", ["sgd", "ridge", "logistic"])
    def test_subsets_that_are_not_stored(self, one, short_protocol, protocol):
        protocol = {
            "sgd": short_protocol,
            "ridge": ridge_protocol("default"),
            "logistic": logistic_protocol("default"),
        }[protocol]
        order = neuron_order("random", 2, WIDTH)
        most = int(np.argmin(np.isin(order, one.neurons)))
        assert 24 <= most < 60
        fits = one.written("some", protocol, [("random", 2, (most,))])
        assert fits["random", 2, most]["accuracy"] > 0
        message = (
            rf"k = {most + 1} of random, seed 2: those up to k = {most} \(fraction {most / WIDTH:.4g}\) are stored"
        )
        with pytest.raises(InvalidProbe, match=message):
            one.written("some", protocol, [("random", 2, (1, most + 1))])
        with pytest.raises(InvalidProbe, match=f"k = {WIDTH} of first, seed 1.*keep: whole"):
            one.written("some", protocol, [("first", 1, (WIDTH,))])
        with pytest.raises(InvalidProbe, match="k = 9 of random_independent, seed 4: it is not stored"):
            one.written("some", protocol, [("random_independent", 4, (9,))])
        with pytest.raises(InvalidProbe, match=f"a subset of {WIDTH + 1} neurons was asked of a layer of {WIDTH}"):
            one.written("some", protocol, [("first", 1, (WIDTH + 1,))])

    def test_a_neuron_beyond_the_last_stored_one(self, one, short_protocol):
        ids = [
            put(one.store, s, x, y, classes=CLASSES, neurons=np.arange(5))
            for s, x, y in (("train", one.views[0], one.labels), ("test", one.xt, one.yt))
        ]
        with pytest.raises(InvalidProbe, match=r"k = 6 of first, seed 1: those up to k = 5 \(fraction 0.05556\)"):
            run_task(probe_task(one.store, *ids, short_protocol, [("first", 1, (6,))]))

    def test_covariances_that_are_too_large(self, one, short_protocol, monkeypatch):
        monkeypatch.setattr(gathered, "MOST_NEURONS", 20)
        for name in ("ridge", "logistic"):
            protocol = {"ridge": ridge_protocol("default"), "logistic": logistic_protocol("default")}[name]
            with pytest.raises(InvalidProbe, match=f"solver {name} forms the covariance.*up to 20, and k = 24.*sgd"):
                one.written("some", protocol, [("random", 1, (1, 24))])
            one.written("some", protocol, [("random", 1, (20,))])
            one.written("whole", protocol, [("random", 1, (24,))])
        one.written("some", short_protocol, [("random", 1, (24,))])

    def test_statistics_of_the_whole(self, one):
        task = StatisticsTask(
            store_url=one.store.url,
            names=NAMES,
            representation_id=one.ids["some"][0],
            validation=None,
            predicted_s=1.0,
            predicted_bytes=1,
        )
        with pytest.raises(InvalidProbe, match="statistics of the whole layer needs it"):
            run_task(task)
        assert "all" not in one.store.statistics.rows(one.ids["some"][0])
