"""A representation of some neurons of a huge layer: it says which, to every reader, and is held to it."""

import json
import uuid
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from make_frozen_store import write_features as write_frozen_features

from store import Corrupt, InvalidRequest, ledger, open_store, records, verify
from store.neuron_sets import digest_of
from store.testing import make_key

FROZEN = Path(__file__).parents[1] / "data" / "store_format_1"
ROWS = {"labels": np.arange(7) % 3, "sample_ids": [f"{i}.png" for i in range(7)], "classes": ["a", "b", "c"]}


def write_gathered(store, neurons, layer_width, **key):
    """Write 7 rows of a layer whose neuron j of row i is 1000 i + j; return the features and the whole layer."""
    neurons = np.asarray(neurons, dtype=np.int64)
    key = make_key(neurons=store.neuron_sets.put(neurons, layer_width), **key)
    writer = store.features.create(
        key, width=len(neurons), neurons=neurons, layer_width=layer_width, rows_per_chunk=3, **ROWS
    )
    whole = (1000 * np.arange(7)[:, None] + np.arange(layer_width)).astype(np.float32)
    writer.write_view(0, whole[:, neurons])
    return writer.seal(), whole


@given(
    st.integers(1, 60).flatmap(lambda w: st.tuples(st.sets(st.integers(0, w - 1), min_size=1), st.just(w))), st.data()
)
def test_what_is_read_is_what_the_layer_had(chosen, data):
    neurons, layer_width = np.array(sorted(chosen[0])), chosen[1]
    features, whole = write_gathered(open_store(f"memory://{uuid.uuid4()}", create=True), neurons, layer_width)
    assert (features.width, features.layer_width) == (len(neurons), layer_width)
    assert features.neurons.dtype == np.int64
    np.testing.assert_array_equal(features.neurons, neurons)
    np.testing.assert_array_equal(features.numpy(), whole[:, neurons])
    columns = np.array(data.draw(st.lists(st.integers(0, len(neurons) - 1), max_size=8)), dtype=np.int64)
    np.testing.assert_array_equal(features.numpy(neurons=columns), whole[:, neurons[columns]])


def test_a_whole_layer_has_no_list_of_neurons(store, write_features):
    writer, *_ = write_features(store)
    features = store.features.open(writer.id)
    assert (features.neurons, features.layer_width, features.width) == (None, 3, 3)
    assert "neuron" not in features.xarray().coords
    info = store.features.info(writer.id)
    assert (info.gathered, info.layer_width) == (False, 3)
    assert not any("neuron" in o.key for o in store.objects.list(""))


def test_it_shows_itself(store):
    features, whole = write_gathered(store, [3, 9, 700_000], 802_816)
    assert "7 samples x 3 of 802,816 neurons" in repr(features)
    ds = features.xarray()
    assert ds["neuron"].to_numpy().tolist() == [3, 9, 700_000]
    np.testing.assert_array_equal(ds["activations"].sel(neuron=700_000).to_numpy()[0], whole[:, 700_000])
    info = store.features.info(features.id)
    assert (info.gathered, info.width, info.layer_width) == (True, 3, 802_816)
    sql = "SELECT width, layer_width, gathered FROM representations"
    assert store.connect().sql(sql).fetchall() == [(3, 802_816, True)]


def test_any_zarr_reader_sees_the_coordinate(store):
    import xarray as xr

    features, whole = write_gathered(store, [3, 9], 50)
    group = zarr.open_group(str(store.objects.local_root / features.key.path), mode="r")
    assert group["neuron"].dtype == np.int64
    assert group["neuron"].metadata.dimension_names == ("neuron",)
    assert group["neuron"][:].tolist() == [3, 9]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of consolidated metadata, which a group of ours has not
        ds = xr.open_zarr(str(store.objects.local_root / features.key.path))
    assert list(ds.coords) == ["neuron"]
    np.testing.assert_array_equal(ds["activations"].sel(neuron=9).to_numpy()[0], whole[:, 9])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"neurons": None}, r"give their indices and the layer's width: `store.neuron_sets.get\(key.neurons\)`"),
        ({"layer_width": None}, "give their indices and the layer's width"),
        ({"neurons": np.array([1, 5, 8])}, r"expected 3 neurons of digest .* got 3 of 10 of digest"),
        ({"layer_width": 11}, "expected 3 neurons of digest"),
        ({"width": 10}, "expected 10 neurons of digest .* got 3 of 10"),
        ({"neurons": np.array([9, 5, 1])}, "ascending, without doubles"),
        ({"neurons": np.array([1, 5, 10])}, "from 0 to 9"),
    ],
)
def test_neurons_that_contradict_the_key_are_refused(store, change, message):
    neurons = np.array([1, 5, 9])
    good = {"width": 3, "neurons": neurons, "layer_width": 10}
    with pytest.raises(InvalidRequest, match=message):
        store.features.create(make_key(neurons=digest_of(neurons, 10)), **ROWS, **{**good, **change})
    for change in ({"neurons": neurons}, {"layer_width": 10}):
        with pytest.raises(InvalidRequest, match="the key says that the whole layer is stored"):
            store.features.create(make_key(), width=3, **ROWS, **change)
    assert [o.key for o in store.objects.list("")] == ["drfarm.json"]


def test_it_is_gone_on_with_and_another_set_is_another_representation(store):
    features, whole = write_gathered(store, [3, 9], 50)
    store.features.discard(features.id, [(0, 1)])
    again, _ = write_gathered(store, [3, 9], 50)
    np.testing.assert_array_equal(again.numpy(), whole[:, [3, 9]])
    others = {write_gathered(store, *s)[0].id for s in (([3, 9], 51), ([3, 8], 50), ([3, 8, 9], 50))}
    assert len(others | {features.id}) == 4
    assert len(store.features.catalogue()) == 4


@pytest.mark.parametrize("part", ["neuron/zarr.json", "neuron/c/0"])
def test_flips_in_the_coordinate(store, part):
    features, whole = write_gathered(store, [3, 9, 17], 50)
    checked = [c.name for c in verify(store)]
    assert len(checked) == len(set(checked))
    name = f"{features.key.path}/{part}"
    assert name in checked
    data = store.objects.get(name)
    for place in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        store.objects.put(name, bytes(flipped))
        fresh = store.features.open(features.id)
        for read in (lambda f: f.neurons, lambda f: f.xarray()):
            with pytest.raises(Corrupt, match=rf"{part} is not what was written"):
                read(fresh)
        np.testing.assert_array_equal(fresh.numpy(), whole[:, [3, 9, 17]])
    (problem,) = (c.problem for c in verify(store) if c.problem)
    assert (problem.kind, problem.name) == ("representation", name)
    problem.discard()
    again, _ = write_gathered(store, [3, 9, 17], 50)
    assert again.neurons.tolist() == [3, 9, 17]
    assert [c.problem for c in verify(store) if c.problem] == []


def test_whole_layers_are_written_as_they_always_were(store):
    """The features of the frozen store, written anew, are those of the frozen store, object by object."""
    write_frozen_features(store.features, "lz4", layer="a/b", dtype="float16", n_views=2)
    write_frozen_features(store.features, "zstd", layer="c", masked=4)
    write_frozen_features(store.features, "none", layer="d", chunks=1)
    frozen = open_store(FROZEN)
    for folder in ("features", "ledger"):
        names = [o.key for o in store.objects.list(folder)]
        assert names == [o.key for o in frozen.objects.list(folder)]
        for name in names:
            new, old = store.objects.get(name), frozen.objects.get(name)
            if name.endswith("representation.json"):  # but for when, and the writing libraries' own small arrays
                new, old = ({**records.from_bytes(d, where=name), "created_at": 0} for d in (new, old))
                assert new["digests"].keys() == old["digests"].keys()
                new["digests"] = old["digests"] = {n: d for n, d in old["digests"].items() if new["digests"][n] == d}
            elif name.endswith("zarr.json"):
                new, old = json.loads(new), json.loads(old)
            elif "/labels/c" in name or "/sample_id/c" in name:
                continue
            assert new == old, name


def test_the_record_of_a_gathered_one_says_how_wide_the_layer_is(store):
    features, _ = write_gathered(store, [3, 9], 50)
    name = ledger.opened_key(features.id)
    record = records.from_bytes(store.objects.get(name), where=name)
    assert (record["width"], record["layer_width"], record["key"]["neurons"]) == (2, 50, features.key.neurons)
    assert {n.removeprefix(f"{features.key.path}/") for n in record["digests"]} >= {"neuron/zarr.json", "neuron/c/0"}
