"""One flipped bit anywhere: `verify` names that object, or no value changes; readers refuse, or return what is true."""

import random

import numpy as np
import pytest

from store import Corrupt, StoreError, UnsupportedFormat, ledger, verify
from store.testing import make_cka_row, make_probe_row

REFUSED = (Corrupt, UnsupportedFormat)


def problems(store):
    return [c.problem for c in verify(store) if c.problem is not None]


def flips(data, most, seed=0):
    """Yield (place, the data with one bit flipped): every byte of a small object, a sample of a large one."""
    rng = random.Random(seed)
    places = range(len(data)) if len(data) <= most else sorted(rng.sample(range(len(data)), most))
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        yield place, bytes(flipped)


def write_again(store, writer, values):
    for view, chunk in writer.missing():
        writer.write_chunk(view, chunk, values[view, slice(*writer.span(chunk))])
    return writer.seal()


def filled(store, write_features):
    written = write_features(store, n_views=2)
    for b in range(3):
        store.results.write("probes", f"b{b}", [make_probe_row(f"b{b}", f"{b}-{i}", accuracy=i / 9) for i in range(5)])
        store.results.write("cka", f"b{b}", [make_cka_row(f"b{b}", f"{b}-{i}", value=i / 9) for i in range(5)])
    store.results.compact("cka")
    store.statistics.put(written[0].id, "all", {"mean": np.arange(3.0), "counts": np.arange(5)})
    store.neuron_sets.put(np.array([1, 5]), 9)
    store.put_study("s", {"study": "s"}, representations=[written[0].id])
    store.rates.put("extraction", "cpu", {"images_per_s": 2.5})
    store.settings.put_new("batch-size/1", {"batch_size": 64})
    return written


def test_a_sound_store_has_no_problem(store, write_features):
    writer, *_ = filled(store, write_features)
    write_features(store, seal=False, weights="begun")
    checked = list(verify(store))
    assert [c.name for c in checked if c.problem] == []
    # `open_store` looks at the mark. The folders above a group are empty Zarr groups for browsing: nothing reads them.
    unread = {"drfarm.json", "zarr.json", "features/zarr.json"}
    parts = writer.key.path.split("/")[1:-1]
    unread |= {"/".join(["features", *parts[: n + 1], "zarr.json"]) for n in range(len(parts))}
    assert {c.name for c in checked} == {o.key for o in store.objects.list("")} - unread
    assert len(checked) == len({c.name for c in checked})
    assert sum("/c/" in c.name and writer.id in c.name for c in checked) == 6 + 2


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_flips_in_a_chunk(store, write_features, codec):
    writer, values, *_ = write_features(store, codec=codec, rows=40, width=20, chunk_rows=15)
    features = store.features.open(writer.id)
    name = features.chunk_object(0, 1)
    data = store.objects.get(name)
    for place, flipped in flips(data, 60):
        store.objects.put(name, flipped)
        with pytest.raises(Corrupt, match="c/0/1/0 is not what was written"):
            features.numpy()
        if place % 9 == 0:
            assert [(p.kind, p.name) for p in problems(store)] == [("chunk", name)]
    for bad in (data[:-1], data + b"\0", b""):
        store.objects.put(name, bad)
        with pytest.raises(Corrupt, match="c/0/1/0 is not what was written"):
            features.numpy()
        assert [p.name for p in problems(store)] == [name]
    problems(store)[0].discard()
    assert writer.missing() == [(0, 1)]
    np.testing.assert_array_equal(write_again(store, writer, values).numpy(), values[0])
    assert store.objects.get(name) == data
    assert problems(store) == []


@pytest.mark.parametrize(
    "part",
    ["zarr.json", "activations/zarr.json", "labels/zarr.json", "labels/c/0", "sample_id/zarr.json", "sample_id/c/0"],
)
def test_flips_in_the_small_arrays(store, write_features, part):
    writer, values, labels, sample_ids = write_features(store)
    name = f"{writer.key.path}/{part}"
    data = store.objects.get(name)
    for place, flipped in flips(data, 80):
        store.objects.put(name, flipped)
        features = store.features.open(writer.id)
        np.testing.assert_array_equal(features.numpy(), values[0])
        if "/" in part and part.split("/")[0] != "activations":
            with pytest.raises(Corrupt, match=r"is not what was written"):
                features.labels if part.startswith("labels") else features.sample_ids
        if place % 9 == 0:
            assert [(p.kind, p.name) for p in problems(store)] == [("representation", name)]
    store.objects.delete([name])
    assert [p.name for p in problems(store)] == [name]
    problems(store)[0].discard()
    writer, *_ = write_features(store)
    features = store.features.open(writer.id)
    np.testing.assert_array_equal(features.labels, labels)
    assert features.sample_ids == sample_ids
    assert problems(store) == []


def everything(store, rep_id):
    features = store.features.open(rep_id)
    return [
        *(features.numpy(v).tobytes() for v in range(features.n_views)),
        features.labels.tobytes(),
        features.sample_ids,
        features.classes,
        features.valid.tobytes(),
        features.key,
        store.features.info(rep_id),
    ]


@pytest.mark.parametrize("which", ["opened", "sealed", "entry"])
def test_flips_in_the_ledger(store, write_features, which):
    # These are JSON: without a digest of their own, a flip in a width or a checksum would be read as if it were true.
    writer, values, *_ = write_features(store, n_views=2)
    other, *_ = write_features(store, weights="other")
    name = {
        "opened": ledger.opened_key(writer.id),
        "sealed": ledger.complete_key(writer.id),
        "entry": ledger.chunk_key(writer.id, 1, 1),
    }[which]
    data = store.objects.get(name)
    truth = everything(store, writer.id)
    noticed = 0
    for place, flipped in flips(data, 400):
        store.objects.put(name, flipped)
        try:
            assert everything(store, writer.id) == truth, place
        except REFUSED:
            noticed += 1
        if place % 7 == 0:
            found = [p.name for p in problems(store)]
            assert found == [name] or (not found and everything(store, writer.id) == truth), (place, found)
        np.testing.assert_array_equal(store.features.open(other.id).numpy(), values[0])
    # A flip that only turns the `e` of a number into `E` is harmless, and so is any in an entry that the seal repeats.
    assert noticed == 0 if which == "entry" else noticed >= 0.97 * min(len(data), 400)
    store.objects.put(name, data.replace(b"1", b"2"))
    (problem,) = problems(store)
    problem.discard()
    again, *_ = write_features(store, n_views=2)
    assert everything(store, again.id)[:-1] == truth[:-1]
    assert problems(store) == []


def test_a_flip_in_an_entry_is_refused_at_the_seal(store, write_features):
    writer, values, *_ = write_features(store, seal=False)
    name = ledger.chunk_key(writer.id, 0, 1)
    data = store.objects.get(name)
    for _, flipped in flips(data, 500):
        store.objects.put(name, flipped)
        with pytest.raises(Corrupt, match=r"chunks/0.000001.json is not the JSON that was written"):
            writer.seal()
        assert store.features.status(writer.id) == "partial"
    assert [p.name for p in problems(store)] == [name]
    writer.write_chunk(0, 1, values[0, 3:6])
    assert store.objects.get(name) == data
    np.testing.assert_array_equal(writer.seal().numpy(), values[0])


def test_a_lost_ledger_record_is_named(store, write_features):
    writer, values, *_ = write_features(store)
    store.objects.delete([ledger.opened_key(writer.id)])
    (problem,) = problems(store)
    assert problem.name == ledger.opened_key(writer.id)
    problem.discard()
    assert store.features.ids() == []
    writer, *_ = write_features(store)
    np.testing.assert_array_equal(store.features.open(writer.id).numpy(), values[0])


def read_results(store, kind):
    return sorted(store.results.table(kind).to_pylist(), key=lambda r: r["job_id"])


@pytest.mark.parametrize("kind", ["probes", "cka"])
def test_flips_in_a_parquet_file(store, write_features, kind):
    # Every byte of a batch file (probes) and of a merged file (cka): pages, page headers and the footer, which no
    # checksum of Parquet's own covers.
    filled(store, write_features)
    name = next(o.key for o in store.objects.list(f"results/{kind}") if o.key.endswith(".parquet"))
    data = store.objects.get(name)
    truth = read_results(store, kind)
    for place, flipped in flips(data, 4000):
        store.objects.put(name, flipped)
        with pytest.raises(Corrupt, match=f"{name} is not what was written"):
            store.results.table(kind, columns=["job_id"])
        if place % 501 == 0:
            assert [(p.kind, p.name) for p in problems(store)] == [("results", name)]
            with pytest.raises(Corrupt, match=f"{name} is not what was written"):
                store.connect()
            with pytest.raises(Corrupt, match=f"{name} is not what was written"):
                store.results.compact(kind)
    problems(store)[0].discard()
    assert problems(store) == []
    left = {r["job_id"] for r in read_results(store, kind)}
    assert left == store.results.jobs(kind)
    make = make_probe_row if kind == "probes" else make_cka_row
    value = "accuracy" if kind == "probes" else "value"
    for b in range(3):
        rows = [make(f"b{b}", f"{b}-{i}", **{value: i / 9}) for i in range(5)]
        if not {r["job_id"] for r in rows} <= left:
            store.results.write(kind, f"b{b}", rows)
    assert read_results(store, kind) == truth


def test_flips_in_a_manifest(store, write_features):
    filled(store, write_features)
    name = next(o.key for o in store.objects.list("results/cka") if o.key.endswith(".json"))
    data = store.objects.get(name)
    truth = read_results(store, "cka")
    for place, flipped in flips(data, 10_000):
        store.objects.put(name, flipped)
        with pytest.raises(Corrupt, match=f"{name} is not the JSON that was written"):
            store.results.table("cka")
        if place % 20 == 0:
            assert [(p.kind, p.name) for p in problems(store)] == [("results", name)]
    problems(store)[0].discard()
    # The rows themselves were sound: they are kept.
    assert store.objects.get(name) == data
    assert read_results(store, "cka") == truth
    assert problems(store) == []


def test_flips_in_statistics(store, write_features):
    writer, *_ = filled(store, write_features)
    name = f"statistics/{writer.id}/all.arrays"
    data = store.objects.get(name)
    for place, flipped in flips(data, 10_000):
        store.objects.put(name, flipped)
        with pytest.raises(Corrupt, match=rf"{name} is not what was written.*verify --discard"):
            store.statistics.get(writer.id, "all")
        if place % 50 == 0:
            assert [(p.kind, p.name) for p in problems(store)] == [("statistics", name)]
    for bad in (data[:-1], data + b"\0", data[:10], b""):
        store.objects.put(name, bad)
        with pytest.raises(Corrupt, match=f"{name} is not what was written"):
            store.statistics.get(writer.id, "all")
        assert [(p.kind, p.name) for p in problems(store)] == [("statistics", name)]
    problems(store)[0].discard()
    assert problems(store) == []
    assert not store.statistics.exists(writer.id, "all")


def test_statistics_whose_representation_is_gone_are_named_and_removed(store, write_features):
    writer, *_ = filled(store, write_features)
    gone = "0" * 64
    store.statistics.put(gone, "all", {"mean": np.arange(3.0)})
    store.objects.put("statistics/stray.txt", b"?")
    found = problems(store)
    assert [(p.kind, p.name) for p in found] == [
        ("statistics", f"statistics/{gone}/all.arrays"),
        ("statistics", "statistics/stray.txt"),
    ]
    assert "is gone" in found[0].reason
    for problem in found:
        problem.discard()
    assert problems(store) == []
    assert store.statistics.ids() == [writer.id]


def test_what_is_discarded_of_a_representation_takes_its_statistics_along(store, write_features):
    # A chunk that is made anew may have other rows masked: what was counted before would not be of it.
    writer, *_ = filled(store, write_features)
    other, *_ = write_features(store, weights="other")
    store.statistics.put(other.id, "all", {"mean": np.arange(3.0)})
    store.features.discard(writer.id, [(0, 1)])
    assert store.statistics.ids() == [other.id]
    store.features.forget(other.id)
    assert store.statistics.ids() == []
    assert [p.name for p in problems(store)] == []


def test_several_problems_are_all_named_and_all_heal(store, write_features):
    writer, values, *_ = filled(store, write_features)
    begun, *_ = write_features(store, seal=False, weights="begun")
    bad = [
        f"{writer.key.path}/activations/c/1/2/0",
        f"{begun.key.path}/activations/c/0/0/0",
        ledger.chunk_key(begun.id, 0, 2),
        "results/probes/b1.parquet",
    ]
    for name in bad:
        data = bytearray(store.objects.get(name))
        data[len(data) // 2] ^= 16
        store.objects.put(name, bytes(data))
    found = problems(store)
    assert sorted(p.name for p in found) == sorted(bad)
    for problem in found:
        assert isinstance(problem.reason, str)
        assert problem.name.rsplit("/", 1)[-1] in problem.reason
        problem.discard()
    assert problems(store) == []
    assert sorted(begun.missing()) == [(0, 0), (0, 2)]
    np.testing.assert_array_equal(write_again(store, writer, values).numpy(1), values[1])
    assert begun.key.id != writer.id
    with pytest.raises(StoreError, match="is not complete"):
        store.features.open(begun.id)
