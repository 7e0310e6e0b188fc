"""Tasks on a real store: what they read, what they write, what they refuse."""

import numpy as np
import pytest
import torch
from conftest import make_problem
from plain import gram_cka, plain_probe
from small_store import NAMES, cka_task, probe_task, put

from probe import (
    Mismatch,
    StatisticsTask,
    Validation,
    logistic_protocol,
    neuron_order,
    ridge_protocol,
    run_task,
    stored_statistics,
)
from store import Incomplete, open_store

WIDTH = 40


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


@pytest.fixture(scope="module")
def data():
    x, y = make_problem(430, WIDTH, 3)
    return (x[:300].numpy(), y[:300].numpy()), (x[300:].numpy(), y[300:].numpy())


def task(store, train_id, test_id, protocol, *, validation=None, seeds=(1, 2), sizes=(2, 10, WIDTH)):
    groups = [("random", s, sizes) for s in seeds]
    return probe_task(store, train_id, test_id, protocol, groups, validation=validation)


def test_a_probe_task_writes_what_plain_loops_find(store, data, short_protocol):
    (x, y), (xt, yt) = data
    probe = task(store, put(store, "train", x, y), put(store, "test", xt, yt), short_protocol)
    report = run_task(probe)
    assert (report.batch_id, report.n_jobs) == (probe.batch_id, 6)
    rows = store.results.table("probes").to_pylist()
    assert sorted((r["seed"], r["n_neurons"]) for r in rows) == [(s, k) for s in (1, 2) for k in (2, 10, 40)]
    for row in rows:
        order = neuron_order("random", row["seed"], WIDTH)
        k = row["n_neurons"]
        alone = plain_probe(
            torch.from_numpy(x[:, order]),
            torch.from_numpy(y),
            k,
            n_classes=3,
            protocol=short_protocol,
            seed=row["seed"],
        )
        guess = alone(torch.from_numpy(xt[:, order[:k]])).argmax(1).numpy()
        assert row["accuracy"] == pytest.approx((guess == yt).mean())
        assert row["predicted_count"] == np.bincount(guess, minlength=3).tolist()
        assert row["class_accuracy"] == pytest.approx([(guess[yt == c] == c).mean() for c in range(3)])
        assert (row["width"], row["fraction"], row["n_test"]) == (WIDTH, k / WIDTH, len(yt))
        assert (row["solver"], row["protocol"], row["val_accuracy"], row["converged"]) == ("sgd", "short", None, None)
        assert row["elapsed_s"] > 0
    assert max(r["accuracy"] for r in rows) > 0.5


def test_running_again_changes_nothing(store, data, short_protocol):
    (x, y), (xt, yt) = data
    probe = task(store, put(store, "train", x, y), put(store, "test", xt, yt), short_protocol)
    run_task(probe)
    once = store.results.table("probes").drop_columns(["elapsed_s"])
    run_task(probe)
    assert store.results.table("probes").drop_columns(["elapsed_s"]).equals(once)


def test_results_do_not_depend_on_the_blocks(store, tmp_path, data, short_protocol):
    (x, y), (xt, yt) = data
    other = open_store(tmp_path / "other", create=True)
    for where, parts in (
        (store, [((1, 2), (2, 10, 40))]),
        (other, [((2,), (10,)), ((1,), (2, 10, 40)), ((2,), (2, 40))]),
    ):
        ids = put(where, "train", x, y), put(where, "test", xt, yt)
        for seeds, sizes in parts:
            run_task(task(where, *ids, short_protocol, seeds=seeds, sizes=sizes))
    columns = ["job_id", "accuracy", "class_accuracy", "predicted_count"]
    tables = [s.results.table("probes", columns=columns).sort_by("job_id") for s in (store, other)]
    assert tables[0].equals(tables[1])


def test_masked_rows_are_neither_trained_on_nor_scored(store, data, short_protocol):
    (x, y), (xt, yt) = data
    kept, kept_test = np.delete(np.arange(300), [5, 70]), np.delete(np.arange(130), [0, 129])
    whole = task(
        store, put(store, "train", x, y, masked=(5, 70)), put(store, "test", xt, yt, masked=(0, 129)), short_protocol
    )
    less = task(
        store, put(store, "train", x[kept], y[kept]), put(store, "test", xt[kept_test], yt[kept_test]), short_protocol
    )
    run_task(whole)
    run_task(less)
    rows = {i: [] for i in (whole.setting.train_id, less.setting.train_id)}
    for r in store.results.table("probes").sort_by([("seed", "ascending"), ("n_neurons", "ascending")]).to_pylist():
        rows[r["train_id"]].append((r["accuracy"], r["class_accuracy"], r["n_test"]))
    a, b = rows.values()
    assert a == b
    assert a[0][2] == 128


def test_validation_rows_choose_the_epoch(store, data, short_protocol):
    (x, y), (xt, yt) = data
    ids = put(store, "train", x, y), put(store, "test", xt, yt)
    run_task(task(store, *ids, short_protocol, validation=Validation(fraction=0.2)))
    run_task(task(store, *ids, short_protocol, validation=Validation(split_id=put(store, "val", xt[:60], yt[:60]))))
    rows = store.results.table("probes").to_pylist()
    assert {r["protocol"] for r in rows} == {
        "short+val-0.2-seed-0",
        f"short+val-{put(store, 'val', xt[:60], yt[:60])[:8]}",
    }
    assert all(0 < r["val_accuracy"] <= 1 for r in rows)


def test_a_cka_task_writes_what_the_gram_formula_gives(store, data):
    _, (xt, yt) = data
    every = tuple(range(1, WIDTH + 1))
    test_id = put(store, "test", xt, yt, masked=(3,))
    cka = cka_task(store, test_id, "random", part_whole=((1, every), (2, (5,))), pairs=((1, 2, (7, 30)),))
    run_task(cka)
    x = np.delete(xt, 3, axis=0).astype(np.float64)
    rows = store.results.table("cka").to_pylist()
    assert len(rows) == cka.n_jobs == WIDTH + 3
    for row in rows:
        a = x[:, neuron_order("random", row["seed"], WIDTH)[: row["n_neurons"]]]
        b = x
        if row["kind"] == "pair":
            b = x[:, neuron_order("random", row["seed_b"], WIDTH)[: row["n_neurons"]]]
        assert row["value"] == pytest.approx(gram_cka(a, b), abs=1e-6)
        assert row["n_samples"] == len(x)
        assert (row["seed_b"] is None) == (row["kind"] == "part_whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b", "d")}, "different classes: only in the first: .'c'., only in the second: .'d'."),
        ({"classes": ("c", "b", "a")}, "the same names in another order"),
        ({"y": 0}, "one class only"),
        ({"width": 39}, "different widths"),
    ],
)
def test_representations_that_do_not_belong_together_are_refused(store, data, short_protocol, change, message):
    (x, y), (xt, yt) = data
    labels = np.zeros_like(yt) if "y" in change else yt
    test_id = put(
        store, "test", xt[:, : change.get("width", WIDTH)], labels, classes=change.get("classes", ("a", "b", "c"))
    )
    with pytest.raises(Mismatch, match=message):
        run_task(task(store, put(store, "train", x, y), test_id, short_protocol))
    assert store.results.table("probes").num_rows == 0


def test_an_incomplete_representation_is_not_probed(store, data, short_protocol):
    (x, y), (xt, yt) = data
    with pytest.raises(Incomplete, match="not complete"):
        run_task(task(store, put(store, "train", x, y, seal=False), put(store, "test", xt, yt), short_protocol))


@pytest.fixture
def counted(monkeypatch):
    """Count how often statistics are computed."""
    calls = []
    plain = stored_statistics.statistics

    def counting(*args, **kwargs):
        calls.append(1)
        return plain(*args, **kwargs)

    monkeypatch.setattr(stored_statistics, "statistics", counting)
    return calls


@pytest.mark.parametrize("validation", [None, Validation(fraction=0.25, seed=3)])
def test_statistics_are_counted_once_and_read_by_later_tasks(store, data, counted, validation):
    (x, y), (xt, yt) = data
    train_id, test_id = put(store, "train", x, y, masked=(7,)), put(store, "test", xt, yt)
    first = StatisticsTask(
        store_url=store.url,
        names=NAMES,
        representation_id=train_id,
        validation=validation,
        predicted_s=1.0,
        predicted_bytes=1,
    )
    report = run_task(first)
    assert (report.batch_id, report.n_jobs, len(counted)) == (first.batch_id, 0, 1)
    assert store.statistics.rows(train_id) == [first.rows]
    groups = [("pca", 1, (3,)), ("ranked:by-weight", 1, (3,)), ("random_projection:centred", 1, (3,))]
    for protocol in (ridge_protocol("default"), logistic_protocol("default")):
        run_task(probe_task(store, train_id, test_id, protocol, groups, validation=validation))
    biased = cka_task(store, test_id, "pca", part_whole=((1, (3,)),), train_id=train_id, validation=validation)
    run_task(first)
    assert len(counted) == 1
    run_task(biased)
    assert len(counted) == 2  # CKA's own, of the test rows
    run_task(biased)
    assert len(counted) == 2
    assert store.statistics.rows(test_id) == ["all"]


def test_what_a_task_needs_is_counted_where_no_other_task_did(store, data, counted, short_protocol):
    (x, y), (xt, yt) = data
    ids = put(store, "train", x, y), put(store, "test", xt, yt)
    run_task(probe_task(store, *ids, short_protocol, [("random", 1, (3,)), ("first", 1, (3,))]))
    assert counted == []
    run_task(probe_task(store, *ids, short_protocol, [("random", 1, (3,)), ("ranked", 1, (3,))]))
    run_task(probe_task(store, *ids, ridge_protocol("default"), [("random", 1, (3,))]))
    assert len(counted) == 1
