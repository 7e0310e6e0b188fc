import pickle
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import (
    Conflict,
    Corrupt,
    Incomplete,
    InvalidRequest,
    NotFound,
    Overflow,
    UnknownName,
    UnsupportedFormat,
    ledger,
    open_store,
    records,
    verify,
)
from store.codecs import CODECS
from store.grid import TARGET_CHUNK_BYTES, Grid, chunk_rows
from store.testing import make_key

sizes = st.integers(1, 12)


@given(data=st.data(), n_views=st.integers(1, 3), rows=sizes, width=sizes, per_chunk=st.integers(1, 15))
def test_what_is_read_is_what_was_written(data, n_views, rows, width, per_chunk):
    dtype = data.draw(st.sampled_from(["float32", "float16"]))
    codec = data.draw(st.sampled_from(sorted(CODECS)))
    numbers = st.floats(width=16, allow_nan=True, allow_infinity=True) | st.floats(-65504, 65504, width=32)
    flat = data.draw(st.lists(numbers, min_size=n_views * rows, max_size=n_views * rows))
    values = np.repeat(np.array(flat, np.float32), width).reshape(n_views, rows, width)
    values = values + np.float32(0) * np.arange(width, dtype=np.float32)
    features = open_store(f"memory://{uuid.uuid4()}", create=True).features
    writer = features.create(
        make_key(n_views=n_views, dtype=dtype),
        width=width,
        labels=np.zeros(rows, int),
        sample_ids=[str(i) for i in range(rows)],
        classes=["a"],
        codec=codec,
        rows_per_chunk=per_chunk,
    )
    cells = writer.missing()
    order = data.draw(st.permutations(cells))
    order += data.draw(st.lists(st.sampled_from(cells), max_size=4))
    for view, chunk in order:
        start, stop = writer.span(chunk)
        writer.write_chunk(view, chunk, values[view, start:stop])
    read = writer.seal()
    expected = values.astype(dtype)
    neurons = np.array(data.draw(st.lists(st.integers(0, width - 1), max_size=6)), dtype=np.int64)
    for view in range(n_views):
        np.testing.assert_array_equal(read.numpy(view), expected[view])
        np.testing.assert_array_equal(read.numpy(view, neurons=neurons), expected[view][:, neurons])
        np.testing.assert_array_equal(read.numpy(view, dtype="float64"), expected[view].astype("float64"))
        np.testing.assert_array_equal(np.concatenate([b for _, _, b in read.blocks(view)]), expected[view])
        np.testing.assert_array_equal(read.dask(view).compute(scheduler="sync"), expected[view])
    assert read.numpy().dtype == read.dtype == dtype
    assert read.nbytes == expected.nbytes


@given(n_views=st.integers(1, 3), rows=st.integers(1, 100), per_chunk=st.integers(1, 120))
def test_the_grid_covers_each_row_exactly_once(n_views, rows, per_chunk):
    grid = Grid(n_views=n_views, n_samples=rows, width=2, chunk_rows=per_chunk)
    covered = np.zeros((n_views, rows), int)
    for view, chunk in grid.cells():
        start, stop = grid.span(chunk)
        assert 0 < stop - start <= per_chunk
        covered[view, start:stop] += 1
    assert (covered == 1).all()
    assert len(grid.cells()) == len({grid.object_name(*c) for c in grid.cells()}) == n_views * grid.n_chunks
    for cell in [(0, -1), (-1, 0), (n_views, 0), (0, grid.n_chunks), (0,), None]:
        assert cell not in grid


@given(rows=st.integers(1, 10**7), width=st.integers(1, 10**6), itemsize=st.sampled_from([2, 4]))
def test_chunks_are_of_a_good_size(rows, width, itemsize):
    n = chunk_rows(rows, width, itemsize)
    assert 1 <= n <= rows
    if n > 1:
        assert n * width * itemsize <= TARGET_CHUNK_BYTES
    if n < rows and width * itemsize <= TARGET_CHUNK_BYTES:
        assert n * width * itemsize > TARGET_CHUNK_BYTES / 2


def test_labels_and_samples_keep_their_order(store, write_features):
    writer, _, labels, sample_ids = write_features(store)
    features = store.features.open(writer.id)
    assert features.labels.dtype == np.int64
    np.testing.assert_array_equal(features.labels, labels)
    assert features.sample_ids == sample_ids
    assert features.classes == ("a", "b", "c")
    assert features.key == writer.key
    assert (features.id, features.width, features.n_samples, features.n_views) == (writer.id, 3, 7, 1)
    assert repr(features).startswith("<Features tiny / penultimate on digits train: 1 view(s) x 7 samples x 3 neurons")


def test_xarray_names_every_dimension(store, write_features):
    writer, values, labels, sample_ids = write_features(store, n_views=2)
    ds = store.features.open(writer.id).xarray()
    assert ds["activations"].dims == ("view", "sample", "neuron")
    np.testing.assert_array_equal(ds["activations"].isel(sample=slice(2, 6)).to_numpy(), values[:, 2:6])
    np.testing.assert_array_equal(ds["labels"], labels)
    assert list(ds["sample_id"].to_numpy()) == sample_ids
    assert ds.attrs["id"] == writer.id


def test_features_travel_to_other_processes(store, write_features):
    writer, values, *_ = write_features(store)
    features = store.features.open(writer.id)
    features.labels  # noqa: B018 - what is cached must travel too
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features)).numpy(), values[0])
    assert pickle.loads(pickle.dumps(writer)).missing() == []
    assert pickle.loads(pickle.dumps(store)).features.status(writer.id) == "complete"


@pytest.mark.parametrize("read", ["numpy", "blocks", "dask", "xarray"])
@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_a_missing_chunk_is_refused_by_every_reader(store, write_features, codec, read):
    writer, *_ = write_features(store, codec=codec)
    features = store.features.open(writer.id)
    store.objects.delete([features.chunk_object(0, 1)])
    act = {
        "numpy": features.numpy,
        "blocks": lambda: list(features.blocks()),
        "dask": lambda: features.dask().compute(scheduler="sync"),
        "xarray": lambda: features.xarray()["activations"].to_numpy(),
    }
    with pytest.raises(Corrupt, match="c/0/1/0 is in the ledger but not in the store"):
        act[read]()


def test_seal_is_refused_while_a_chunk_is_missing(store, write_features):
    writer, values, *_ = write_features(store, seal=False, n_views=2)
    store.features.discard(writer.id, [(1, 2)])
    with pytest.raises(Incomplete, match=r"1 of 6 chunks are not written yet, the first is \(view, chunk\) \(1, 2\)"):
        writer.seal()
    assert store.features.status(writer.id) == "partial"
    with pytest.raises(Incomplete, match="is not complete, so it can't be read"):
        store.features.open(writer.id)
    writer.write_chunk(1, 2, values[1, 6:])
    np.testing.assert_array_equal(writer.seal().numpy(1), values[1])
    assert store.features.status(writer.id) == "complete"


@pytest.mark.parametrize("left", [b"", None])
def test_an_entered_chunk_that_is_gone_counts_as_missing(store, write_features, left):
    # What a power cut leaves: the entry, and of the chunk nothing or an empty file.
    writer, values, *_ = write_features(store, seal=False)
    chunk = f"{writer.key.path}/activations/c/0/1/0"
    store.objects.delete([chunk])
    if left is not None:
        store.objects.put(chunk, left)
    assert writer.missing() == [(0, 1)]
    writer.write_chunk(0, 1, values[0, 3:6])
    np.testing.assert_array_equal(writer.seal().numpy(), values[0])


@pytest.mark.parametrize("rep_id", ["0" * 64, "", "..", "x", "0" * 63])
def test_an_unknown_id(store, write_features, rep_id):
    writer, values, *_ = write_features(store)
    assert store.features.status(rep_id) == "absent"
    for act in (store.features.open, store.features.info):
        with pytest.raises(NotFound, match="there is no representation"):
            act(rep_id)
    if rep_id != "0" * 64:
        with pytest.raises(NotFound, match="there is no representation"):
            store.features.forget(rep_id)
    np.testing.assert_array_equal(store.features.open(writer.id).numpy(), values[0])


@pytest.mark.parametrize(
    "view, chunk, shape, masked, message",
    [
        (0, -1, (3, 3), (), "there is no"),
        (0, 3, (3, 3), (), "there is no"),
        (1, 0, (3, 3), (), "there is no"),
        (-1, 0, (3, 3), (), "there is no"),
        (0, 2, (3, 3), (), r"chunk 2 has shape \(1, 3\), got \(3, 3\)"),
        (0, 0, (3, 2), (), r"chunk 0 has shape \(3, 3\), got \(3, 2\)"),
        (0, 1, (3, 3), (2,), "rows 3 to 5; masked are"),
        (0, 1, (3, 3), (6,), "rows 3 to 5; masked are"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(store, write_features, view, chunk, shape, masked, message):
    writer, *_ = write_features(store, seal=False)
    before = [o.key for o in store.objects.list("")]
    with pytest.raises(InvalidRequest, match=message):
        writer.write_chunk(view, chunk, np.zeros(shape, np.float32), masked)
    assert [o.key for o in store.objects.list("")] == before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [0]}, "as many labels as samples"),
        ({"labels": [], "sample_ids": []}, "as many labels as samples"),
        ({"width": 0}, "width must be >= 1"),
        ({"labels": [0, 3]}, "labels run from 0 to 3, but there are 3 classes"),
        ({"labels": [-1, 0]}, "labels run from -1"),
        ({"rows_per_chunk": 0}, "rows of a chunk must be >= 1"),
        ({"codec": "gzip"}, "there is no codec 'gzip'"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(store, change, message):
    good = {"width": 2, "labels": [0, 1], "sample_ids": ["a", "b"], "classes": ["a", "b", "c"]}
    with pytest.raises(InvalidRequest, match=message):
        store.features.create(make_key(), **{**good, **change})
    assert [o.key for o in store.objects.list("")] == ["drfarm.json"]


def test_create_goes_on_with_what_is_there(store, write_features):
    writer, values, *_ = write_features(store, seal=False, codec="none")
    store.features.discard(writer.id, [(0, 1)])
    again, *_ = write_features(store, seal=False, codec="zstd", chunk_rows=2, model="renamed")
    assert again.chunk_rows == 3
    assert again.key.model == "tiny"
    np.testing.assert_array_equal(again.seal().numpy(), values[0])


@pytest.mark.parametrize("change", [{"width": 4}, {"rows": 8}])
def test_another_shape_under_one_id_is_a_conflict(store, write_features, change):
    write_features(store)
    with pytest.raises(Conflict, match="Two different representations claim one id"):
        write_features(store, **change)


def test_other_labels_under_one_id_are_a_conflict(store, write_features):
    writer, *_ = write_features(store)
    with pytest.raises(Conflict, match="or with other labels"):
        store.features.create(
            writer.key, width=3, labels=np.zeros(7, int), sample_ids=["x"] * 7, classes=["a", "b", "c"]
        )


@pytest.mark.parametrize("worst, fits", [(65504.0, True), (-65504.0, True), (65505.0, False), (-70000.0, False)])
def test_what_does_not_fit_float16_is_refused(store, worst, fits):
    writer = store.features.create(
        make_key(dtype="float16"), width=1, labels=[0, 0, 0], sample_ids=["a", "b", "c"], classes=["a"]
    )
    values = np.array([[1.0], [np.inf], [worst]], np.float32)
    if fits:
        writer.write_chunk(0, 0, values)
        np.testing.assert_array_equal(writer.seal().numpy(), values.astype(np.float16))
        return
    with pytest.raises(Overflow, match=r"tiny, layer penultimate, rows 0 to 2.* Set `dtype: float32`"):
        writer.write_chunk(0, 0, values)
    assert writer.missing() == [(0, 0)]


def test_masked_rows_are_nan_whatever_they_hold(store, write_features):
    writer, values, *_ = write_features(store, seal=False)
    store.features.discard(writer.id, [(0, 1)])
    given_values = values[0, 3:6].copy()
    entry = writer.write_chunk(0, 1, given_values, masked=[5, 3])
    assert entry.masked == (3, 5)
    assert entry.n_nonfinite == 6
    np.testing.assert_array_equal(given_values, values[0, 3:6])
    features = writer.seal()
    assert features.valid.tolist() == [True, True, True, False, True, False, True]
    assert np.isnan(features.numpy()[[3, 5]]).all()
    np.testing.assert_array_equal(features.numpy()[4], values[0, 4])


def test_the_ledger_knows_the_range(store):
    writer = store.features.create(make_key(), width=3, labels=[0, 0], sample_ids=["a", "b"], classes=["a"])
    values = np.array([[1, np.nan, -2], [np.inf, 7, -np.inf]], np.float32)
    entry = writer.write_chunk(0, 0, values)
    assert (entry.minimum, entry.maximum, entry.n_nonfinite, entry.rows) == (-2.0, 7.0, 3, 2)
    store.features.discard(writer.id, [(0, 0)])
    entry = writer.write_chunk(0, 0, np.full((2, 3), np.nan, np.float32))
    assert (entry.minimum, entry.maximum, entry.n_nonfinite) == (None, None, 6)


@pytest.mark.parametrize("sealed", [False, True])
def test_a_slow_double_with_other_bytes_changes_nothing(store, write_features, sealed):
    writer, values, *_ = write_features(store, seal=sealed)
    entry = writer.write_chunk(0, 1, values[0, 3:6] + np.float32(1e-3))
    np.testing.assert_array_equal(writer.seal().numpy(), values[0])
    assert entry.maximum == values[0, 3:6].max()


def test_two_doubles_that_overtake_each_other_agree_in_the_end(store, write_features):
    # Both looked at the ledger before either had entered its chunk; the slower one put its bytes last.
    writer, values, *_ = write_features(store, seal=False)
    store.features.discard(writer.id, [(0, 1)])
    other = values[0, 3:6] * 2

    class Overtaken:
        def __init__(self, objects):
            self._objects = objects

        def __getattr__(self, name):
            return getattr(self._objects, name)

        def put(self, key, data):
            if key.endswith("c/0/1/0"):
                writer.write_chunk(0, 1, values[0, 3:6])
                writer.seal()
            self._objects.put(key, data)

    slow = pickle.loads(pickle.dumps(writer))
    slow._objects = Overtaken(slow._objects)
    slow.write_chunk(0, 1, other)
    np.testing.assert_array_equal(store.features.open(writer.id).numpy()[3:6], other)


@pytest.mark.parametrize(
    "neurons, message",
    [
        ([3], "neurons are 0 to 2, got 3 to 3"),
        ([-1], "got -1"),
        ([True, False, True], "list of indices"),
        ([[0]], "of"),
    ],
)
def test_neurons_that_are_not_there_are_refused(store, write_features, neurons, message):
    writer, *_ = write_features(store)
    with pytest.raises(InvalidRequest, match=message):
        store.features.open(writer.id).numpy(neurons=np.array(neurons))


@pytest.mark.parametrize("view", [-1, 1])
def test_a_view_that_is_not_there_is_refused(store, write_features, view):
    features = store.features.open(write_features(store)[0].id)
    for act in (features.numpy, features.dask, lambda v: next(features.blocks(v))):
        with pytest.raises(InvalidRequest, match=f"there is no view {view}"):
            act(view)


def test_the_catalogue_has_complete_and_begun_ones(store, write_features):
    done, *_ = write_features(store, n_views=2)
    begun, *_ = write_features(store, seal=False, weights="other")
    store.features.discard(begun.id, [(0, 0)])
    infos = {i.key.id: i for i in store.features.catalogue()}
    assert (infos[done.id].complete, infos[done.id].n_chunks, infos[done.id].n_chunks_done) == (True, 6, 6)
    assert (infos[begun.id].complete, infos[begun.id].n_chunks, infos[begun.id].n_chunks_done) == (False, 3, 2)
    stored = sum(o.size_bytes for o in store.objects.list(f"{done.key.path}/activations/c"))
    assert infos[done.id].stored_bytes == stored == store.features.open(done.id).stored_bytes
    assert store.features.info(begun.id) == infos[begun.id]
    assert store.features.ids() == sorted([done.id, begun.id])
    store.features.forget(done.id)
    assert store.features.status(done.id) == "absent"
    assert [i.key.id for i in store.features.catalogue()] == [begun.id]


def test_forgetting_half_way_leaves_it_begun_not_readable(store, write_features):
    writer, values, *_ = write_features(store)

    class Killed(Exception):
        pass

    def delete(keys, objects=store.objects, left=[2]):  # noqa: B006 - a counter
        for key in keys:
            if not left[0]:
                raise Killed("killed")
            left[0] -= 1
            objects.delete([key])

    class Dying:
        def __getattr__(self, name):
            return delete if name == "delete" else getattr(store.objects, name)

    features = type(store.features)(Dying())
    with pytest.raises(Killed, match="killed"):
        features.forget(writer.id)
    assert store.features.status(writer.id) == "partial"
    assert len(writer.missing()) == 1
    for view, chunk in writer.missing():
        writer.write_chunk(view, chunk, values[view, slice(*writer.span(chunk))])
    np.testing.assert_array_equal(writer.seal().numpy(), values[0])


def test_features_of_a_newer_format_are_refused(store, write_features):
    writer, *_ = write_features(store)
    name = ledger.opened_key(writer.id)
    record = records.from_bytes(store.objects.get(name), where=name)
    store.objects.put(name, records.to_bytes({**record, "format": 2}))
    with pytest.raises(UnsupportedFormat, match="has format 2; this drfarm reads and writes features of format 1"):
        store.features.open(writer.id)
    newer = [c.problem for c in verify(store) if c.problem]
    assert [p.name for p in newer] == [name]
    with pytest.raises(UnsupportedFormat, match="Upgrade drfarm"):
        newer[0].discard()
    assert store.objects.exists(name)


def test_a_record_of_another_representation_is_refused(store, write_features):
    a, *_ = write_features(store)
    b, *_ = write_features(store, weights="other")
    store.objects.put(ledger.opened_key(a.id), store.objects.get(ledger.opened_key(b.id)))
    with pytest.raises(Corrupt, match=f"describes representation {b.id}"):
        store.features.open(a.id)


def test_an_entry_of_another_chunk_is_refused(store, write_features):
    writer, *_ = write_features(store, seal=False)
    store.objects.put(ledger.chunk_key(writer.id, 0, 0), store.objects.get(ledger.chunk_key(writer.id, 0, 1)))
    with pytest.raises(Corrupt, match=r"is the entry of 3 rows of \(view, chunk\) \(0, 1\)"):
        writer.seal()


def test_unknown_codec_names_suggest(store):
    with pytest.raises(UnknownName, match="Did you mean 'zstd'"):
        store.features.create(make_key(), width=1, labels=[0], sample_ids=["a"], classes=["a"], codec="ztsd")


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_a_view_is_written_whole_and_what_is_there_is_left_alone(store, write_features, codec):
    one_by_one, values, *_ = write_features(store, rows=70, chunk_rows=16, codec=codec, weights="one by one")
    whole, *_ = write_features(store, rows=70, chunk_rows=16, codec=codec, weights="whole", seal=False)
    store.features.discard(whole.id, [(0, c) for c in (0, 2, 3, 4)])
    assert len(whole.missing()) == 4
    whole.write_view(0, values[0])
    assert np.array_equal(whole.seal().numpy(), values[0])
    for chunk in range(whole.n_chunks):
        a, b = (store.features.open(w.id).chunk_object(0, chunk) for w in (whole, one_by_one))
        assert store.objects.get(a) == store.objects.get(b)
    with pytest.raises(InvalidRequest, match=r"a view has shape \(70, 3\), got \(69, 3\)"):
        whole.write_view(0, values[0, :69])
    for view in (-1, 1):
        with pytest.raises(InvalidRequest, match=f"there is no view {view}; views are 0 to 0"):
            whole.write_view(view, values[0])
