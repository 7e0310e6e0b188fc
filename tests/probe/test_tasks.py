"""Tasks on a real store: what they read, what they write, what they refuse."""

import numpy as np
import pytest
import torch
from conftest import make_problem
from plain import gram_cka, plain_probe

from probe import (
    CkaTask,
    Mismatch,
    Names,
    ProbeError,
    ProbeSetting,
    ProbeTask,
    SubsetGroup,
    Validation,
    neuron_order,
    run_task,
)
from probe._inputs import _Resident, held_out
from store import Incomplete, RepresentationKey, open_store

NAMES = Names(study="s", model="m", layer="l", dataset="d")
WIDTH, CLASSES = 40, ("a", "b", "c")


def put(store, split, x, y, *, classes=CLASSES, masked=(), seal=True, dtype="float32"):
    """Write a representation of several chunks and return its id."""
    key = RepresentationKey(
        model="m",
        dataset="d",
        split=split,
        layer="l",
        weights="w",
        architecture="timm:x",
        arguments={},
        pool="none",
        transform="test-v1",
        transform_seed=None,
        mean=(0.5,),
        std=(0.5,),
        input_size=8,
        dataset_fingerprint=f"{split}{classes}{masked}{x.shape}",
        n_views=1,
        dtype=dtype,
    )
    names = [f"{split}{i}" for i in range(len(x))]
    writer = store.features.create(
        key, width=x.shape[1], labels=y, sample_ids=names, classes=classes, rows_per_chunk=64
    )
    for view, chunk in writer.missing():
        start, stop = writer.span(chunk)
        block = x[start:stop].copy()
        inside = [r for r in masked if start <= r < stop]
        block[[r - start for r in inside]] = np.nan
        writer.write_chunk(view, chunk, block, masked=inside)
    if seal:
        writer.seal()
    return key.id


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


@pytest.fixture(scope="module")
def data():
    x, y = make_problem(430, WIDTH, 3)
    return (x[:300].numpy(), y[:300].numpy()), (x[300:].numpy(), y[300:].numpy())


def task(store, train_id, test_id, protocol, *, validation=None, seeds=(1, 2), sizes=(2, 10, WIDTH)):
    return ProbeTask(
        store_url=store.url,
        names=NAMES,
        setting=ProbeSetting(train_id=train_id, test_id=test_id, protocol=protocol, validation=validation),
        groups=tuple(SubsetGroup(method="random", seed=s, sizes=tuple(sizes)) for s in seeds),
        predicted_s=1.0,
        predicted_bytes=1,
    )


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


def test_a_held_out_fraction_is_the_authors_random_split():
    rows, held = held_out(np.arange(50), Validation(fraction=0.1, seed=0))
    split = torch.utils.data.random_split(range(50), [45, 5], generator=torch.Generator().manual_seed(0))
    assert rows.tolist() == list(split[0].indices)
    assert held.tolist() == list(split[1].indices)


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
    cka = CkaTask(
        store_url=store.url,
        names=NAMES,
        test_id=put(store, "test", xt, yt, masked=(3,)),
        method="random",
        part_whole=((1, every), (2, (5,))),
        pairs=((1, 2, (7, 30)),),
        predicted_s=1.0,
        predicted_bytes=1,
    )
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
    test_id = put(store, "test", xt[:, : change.get("width", WIDTH)], labels, classes=change.get("classes", CLASSES))
    with pytest.raises(Mismatch, match=message):
        run_task(task(store, put(store, "train", x, y), test_id, short_protocol))
    assert store.results.table("probes").num_rows == 0


def test_an_incomplete_representation_is_not_probed(store, data, short_protocol):
    (x, y), (xt, yt) = data
    with pytest.raises(Incomplete, match="not complete"):
        run_task(task(store, put(store, "train", x, y, seal=False), put(store, "test", xt, yt), short_protocol))


def test_no_rows_to_validate_on_is_refused():
    with pytest.raises(ProbeError, match="leaves none"):
        held_out(np.arange(3), Validation(fraction=0.9))


def test_features_are_permuted_in_place():
    x = np.arange(3000 * 7, dtype=np.float32).reshape(3000, 7)
    first, second = np.random.default_rng(0).permutation(7), np.random.default_rng(1).permutation(7)
    resident = _Resident(x[:, first].copy(), first)
    held = resident.x
    resident.reorder(second)
    assert resident.x is held
    assert np.array_equal(held, x[:, second])
