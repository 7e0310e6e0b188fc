"""Rows of a CKA task, against n x n definitions and direct calls: every method by every estimator."""

import numpy as np
import pytest
import torch
from cka_oracles import debiased_cka
from plain import gram_cka
from small_store import cka_task, put, written

from probe import METHODS, InvalidProbe, StatisticsTask, Validation, coordinates, parse_method, run_task, statistics
from probe.cka_interval import debiased
from probe.cka_minibatch import minibatch
from store import open_store

WIDTH, MASKED = 16, (2, 64, 119)
SIZES = (1, 5, WIDTH)
VARIANTS = ("pca:uncentred", "pca:unit-variance", "random_projection:centred", "ranked:by-weight")
LABELS = (*METHODS, *VARIANTS)
ESTIMATORS = ("biased", "debiased", "minibatch")


def make(n, seed):
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(9).normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 0.2, WIDTH)
    x = np.maximum(rng.normal(size=(n, WIDTH)) @ mix + 0.3, 0).astype(np.float32)
    return x, ((x @ np.random.default_rng(8).normal(size=(WIDTH, 3))).argmax(1) + rng.integers(0, 2, n)) % 3


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


class Problem:
    """A training and a test representation in a store, and the rows of them that count."""

    def __init__(self, store, dtype):
        (x, y), (xt, yt) = make(150, 1), make(120, 2)
        self.store = store
        self.train_id = put(store, "train", x, y, masked=MASKED, dtype=dtype)
        self.test_id = put(store, "test", xt, yt, masked=MASKED, dtype=dtype)
        self.rows = np.delete(np.arange(150), MASKED)
        self.x, self.y = x.astype(dtype)[self.rows], y[self.rows]
        self.xt = np.delete(xt.astype(dtype), MASKED, axis=0)

    def seen(self, validation=None):
        """Return the statistics that decide coordinates, from the rows alone."""
        rows = np.arange(len(self.x))
        if validation is not None:
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(validation.seed)).numpy()
            rows = order[: int((1 - validation.fraction) * len(rows))]
        return statistics([(self.x[rows], self.y[rows])], 3)


@pytest.fixture(scope="module", params=["float32", "float16"])
def problem(request, tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp(request.param) / "store", create=True), request.param)


def learned(p, label, **fields):
    return {"train_id": p.train_id, **fields} if parse_method(label).needs_statistics else {}


def subset(label, seed, k, x, seen):
    """Return the rows of a subset in float64; directions act on rows as they are, since CKA centres."""
    of = coordinates(label, seed, WIDTH, n_neurons=k, statistics=seen)
    return of.apply(x.astype(np.float64))


@pytest.mark.parametrize("label", LABELS)
def test_biased_and_debiased_values_are_those_of_the_definitions(problem, label):
    p, seen, xt = problem, problem.seen(), problem.xt.astype(np.float64)
    pairs = [(1, 2, SIZES), (2, 3, (5,))] if parse_method(label).seeded else []
    for estimator, oracle in (("biased", gram_cka), ("debiased", debiased_cka)):
        task = cka_task(
            p.store,
            p.test_id,
            label,
            part_whole=[(1, SIZES), (2, (4,))],
            pairs=pairs,
            estimator=estimator,
            **learned(p, label),
        )
        rows = written(p.store, task)
        for row in rows:
            a = subset(label, row["seed"], row["n_neurons"], xt, seen)
            b = xt if row["kind"] == "part_whole" else subset(label, row["seed_b"], row["n_neurons"], xt, seen)
            assert row["value"] == pytest.approx(oracle(a, b), abs=1e-9)
            assert (row["estimator"], row["method"], row["n_samples"]) == (estimator, label, len(xt))
            assert (row["seed_b"] is None) == (row["kind"] == "part_whole")
            assert (row["width"], row["fraction"]) == (WIDTH, row["n_neurons"] / WIDTH)
            if estimator == "biased":
                assert (row["ci_low"], row["ci_high"]) == (None, None)
            else:
                assert row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9
        assert len({round(r["value"], 6) for r in rows}) > 2


@pytest.mark.parametrize("label", LABELS)
def test_intervals_and_minibatches_are_those_of_direct_calls(problem, label):
    p, seen = problem, problem.seen()
    method = parse_method(label)
    pairs = [(1, 2, SIZES)] if method.seeded else []
    for estimator in ("debiased", "minibatch"):
        task = cka_task(
            p.store, p.test_id, label, part_whole=[(1, SIZES)], pairs=pairs, estimator=estimator, **learned(p, label)
        )
        rows = {(r["kind"], r["n_neurons"]): r for r in written(p.store, task)}
        for k in SIZES:
            parts = [coordinates(label, s, WIDTH, n_neurons=k, statistics=seen) for s in (1, 2)]
            chosen = [c.matrix if c.order is None else c.order for c in parts]
            asked = [(0, None), (0, 1)][: 1 + bool(pairs)]
            if estimator == "debiased":
                found = [(e.value[0], e.low[0], e.high[0]) for e in debiased(p.xt, chosen, asked, [k])]
            else:
                found = [(v[0], None, None) for v in minibatch(p.xt, chosen, asked, [k])]
            for kind, (value, low, high) in zip(("part_whole", "pair"), found, strict=False):
                row = rows[kind, k]
                assert row["value"] == pytest.approx(value, abs=1e-10)
                for name, end in (("ci_low", low), ("ci_high", high)):
                    assert row[name] == (None if end is None else pytest.approx(end, abs=1e-8))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("label", ["pca", "ranked", "ranked:by-weight", "random_projection:centred"])
def test_coordinates_are_decided_without_the_rows_held_out(problem, label, estimator):
    p, held = problem, Validation(fraction=0.6, seed=4)

    def values(**fields):
        task = cka_task(
            p.store, p.test_id, label, part_whole=[(1, (2, 3))], estimator=estimator, train_id=p.train_id, **fields
        )
        return [r["value"] for r in written(p.store, task)], task

    found, task = values(validation=held)
    every, whole = values()
    assert task.batch_id != whole.batch_id
    if estimator == "biased":
        for k, value in zip((2, 3), found, strict=True):
            a = subset(label, 1, k, p.xt, p.seen(held))
            assert value == pytest.approx(gram_cka(a, p.xt.astype(np.float64)), abs=1e-9)
    # Centring is all that a centred random projection takes from the training rows, and CKA does not see it.
    if label == "random_projection:centred":
        assert found == pytest.approx(every, abs=1e-9)
    elif label == "pca":
        assert found != pytest.approx(every, abs=1e-6)


def test_statistics_are_read_where_they_are(problem, monkeypatch):
    p = problem
    for representation in (p.train_id, p.test_id):
        first = StatisticsTask(
            store_url=p.store.url,
            names=cka_task(p.store, p.test_id, "first").names,
            representation_id=representation,
            validation=None,
            predicted_s=1.0,
            predicted_bytes=1,
        )
        run_task(first)

    def refuse(*_args, **_kwargs):
        raise AssertionError("counted again")

    monkeypatch.setattr("probe.stored_statistics.statistics", refuse)
    assert written(p.store, cka_task(p.store, p.test_id, "pca", part_whole=[(1, SIZES)], train_id=p.train_id))


def test_minibatches_are_of_the_first_thousand_rows_that_are_not_masked(store):
    x, y = make(1300, 3)
    masked = (0, 500, 999, 1100)
    test_id = put(store, "test", x, y, masked=masked, rows_per_chunk=128)
    used = np.delete(x, masked, axis=0)[:1000]
    rows = written(store, cka_task(store, test_id, "first", part_whole=[(1, SIZES)], estimator="minibatch"))
    (expected,) = minibatch(used, [np.arange(WIDTH)], [(0, None)], SIZES)
    assert [r["value"] for r in rows] == pytest.approx(list(expected), abs=1e-12)
    assert {r["n_samples"] for r in rows} == {1000}
    (other,) = minibatch(x[:1000], [np.arange(WIDTH)], [(0, None)], SIZES)
    assert expected[0] != pytest.approx(other[0], abs=1e-6)


def test_of_several_views_biased_takes_all_rows_and_the_others_those_of_the_first(store):
    x, y = make(120, 3)
    views = np.stack([x, x + np.random.default_rng(0).normal(size=x.shape).astype(np.float32)])
    test_id = put(store, "test", views, y, masked=MASKED)
    kept = np.delete(views, MASKED, axis=1).astype(np.float64)
    found = {}
    for estimator, oracle, rows in (
        ("biased", gram_cka, kept.reshape(-1, WIDTH)),
        ("debiased", debiased_cka, kept[0]),
        ("minibatch", None, kept[0]),
    ):
        asked = written(store, cka_task(store, test_id, "first", part_whole=[(1, (5,))], estimator=estimator))
        (row,) = asked
        assert row["n_samples"] == len(rows)
        expected = (
            minibatch(rows, [np.arange(5)], [(0, None)], [5])[0][0] if oracle is None else oracle(rows[:, :5], rows)
        )
        assert row["value"] == pytest.approx(expected, abs=1e-9)
        found[estimator] = row["value"]
    assert found["biased"] != pytest.approx(gram_cka(kept[0][:, :5], kept[0]), abs=1e-6)  # the other view matters


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("label", ["random", "random_independent", "random_projection_uniform"])
def test_how_values_are_cut_into_tasks_changes_nothing(problem, label, estimator):
    p = problem

    def values(**asked):
        rows = written(p.store, cka_task(p.store, p.test_id, label, estimator=estimator, **asked))
        return {r["job_id"]: (r["value"], r["ci_low"], r["ci_high"]) for r in rows}

    together = values(part_whole=[(1, SIZES), (2, (5, 6))], pairs=[(1, 2, (5, 6)), (1, 3, (7,))])
    apart = {}
    for asked in (
        {"part_whole": [(1, (5,))], "pairs": [(1, 3, (7,))]},
        {"part_whole": [(1, (1, WIDTH)), (2, (6,))]},
        {"part_whole": [(2, (5,))], "pairs": [(1, 2, (6,))]},
        {"pairs": [(1, 2, (5,))]},
    ):
        apart |= values(**asked)
    assert apart.keys() == together.keys()
    for job, found in together.items():
        assert [f is None for f in apart[job]] == [f is None for f in found]
        assert [f for f in apart[job] if f is not None] == pytest.approx([f for f in found if f is not None], abs=1e-10)


class TestEdgeCases:
    """A value, null, or an error with a name; never NaN (`written` looks)."""

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_constant_and_duplicated_neurons(self, store, estimator):
        x, y = make(100, 4)
        x[:, :3] = (0, 2.5, 1e4)
        x[:, 4] = x[:, 3]
        test_id = put(store, "test", x, y)
        rows = written(
            store, cka_task(store, test_id, "first", part_whole=[(1, (1, 3, 4, 5, WIDTH))], estimator=estimator)
        )
        values = {r["n_neurons"]: r["value"] for r in rows}
        assert (values[1], values[3]) == (None, None)
        assert values[4] == pytest.approx(values[5], abs=1e-9)  # the same neuron twice
        assert values[WIDTH] == pytest.approx(1)
        for row in rows:
            assert (row["ci_low"] is not None) == (estimator == "debiased" and row["value"] is not None)
        for label in (
            "random",
            "random_independent",
            "random_projection",
            "random_projection_uniform",
            "ranked",
            "pca",
        ):
            fields = {"train_id": test_id} if parse_method(label).needs_statistics else {}
            pairs = [(1, 2, (1, 8))] if parse_method(label).seeded else []
            asked = {"part_whole": [(1, (1, 8, WIDTH))], "pairs": pairs, "estimator": estimator}
            (whole,) = (
                r for r in written(store, cka_task(store, test_id, label, **asked, **fields)) if r["n_neurons"] == WIDTH
            )
            assert whole["value"] is not None

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_a_layer_of_constants_has_none(self, store, estimator):
        test_id = put(store, "test", np.full((50, 3), 2.5, np.float32), np.arange(50) % 3)
        for label in ("first", "random_projection", "random_independent"):
            rows = written(store, cka_task(store, test_id, label, part_whole=[(1, (1, 3))], estimator=estimator))
            assert {r["value"] for r in rows} == {None}
        with pytest.raises(InvalidProbe, match="all 3 neurons are constant"):
            run_task(cka_task(store, test_id, "pca", part_whole=[(1, (1,))], estimator=estimator, train_id=test_id))

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_a_layer_of_one_neuron(self, store, estimator):
        x, y = make(100, 5)
        test_id = put(store, "test", x[:, :1], y)
        for label in LABELS:
            fields = {"train_id": test_id} if parse_method(label).needs_statistics else {}
            pairs = [(1, 2, (1,))] if parse_method(label).seeded else []
            task = cka_task(store, test_id, label, part_whole=[(1, (1,))], pairs=pairs, estimator=estimator, **fields)
            assert [r["value"] for r in written(store, task)] == pytest.approx([1.0] * task.n_jobs, abs=1e-9)

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 12])
    def test_few_rows(self, store, n):
        x, _ = make(20, 6)
        test_id = put(store, "test", x[:n], np.arange(n) % 3)
        for estimator in ESTIMATORS:
            task = cka_task(
                store, test_id, "random", part_whole=[(1, SIZES)], pairs=[(1, 2, (5,))], estimator=estimator
            )
            if (estimator, n) == ("biased", 1):
                with pytest.raises(InvalidProbe, match="at least two rows, got 1"):
                    run_task(task)
                continue
            rows = written(store, task)
            assert {r["n_samples"] for r in rows} == {n}
            if estimator != "biased" and n < 4:
                assert {r["value"] for r in rows} == {None}
            elif n > 4:
                assert None not in [r["value"] for r in rows if r["n_neurons"] > 1]
        run_task(cka_task(store, put(store, "train", *make(60, 1)), "first", part_whole=[(1, SIZES)]))

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_features_that_are_not_finite(self, store, estimator, value):
        x, y = make(100, 7)
        x[11, 3] = value
        test_id = put(store, "test", x, y)
        with pytest.raises(InvalidProbe, match="NaN or infinite"):
            run_task(cka_task(store, test_id, "random", part_whole=[(1, SIZES)], estimator=estimator))
        assert store.results.table("cka").num_rows == 0

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_fewer_training_rows_than_components(self, store, estimator):
        train_id, test_id = put(store, "train", *make(9, 1)), put(store, "test", *make(100, 2))
        fields = {"estimator": estimator, "train_id": train_id}
        rows = written(store, cka_task(store, test_id, "pca_least", part_whole=[(1, (1, 8))], **fields))
        assert all(r["value"] > 0 for r in rows)
        with pytest.raises(InvalidProbe, match="have at most 8"):
            run_task(cka_task(store, test_id, "pca", part_whole=[(1, (9,))], **fields))

    def test_a_method_without_its_training_rows(self, store):
        test_id = put(store, "test", *make(100, 2))
        with pytest.raises(InvalidProbe, match="looks at the training rows"):
            run_task(cka_task(store, test_id, "ranked", part_whole=[(1, SIZES)]))
