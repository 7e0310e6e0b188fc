import uuid
import warnings

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import LocalStore

from store.codecs import CODECS, checksum, codec
from store.errors import UnknownName

DTYPES = ("float32", "float16")


def relu(rows, width, dtype, seed=0):
    return np.maximum(np.random.default_rng(seed).standard_normal((rows, width)), 0).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("rows, chunk_rows, width", [(7, 3, 5), (6, 3, 1), (1, 1, 1), (1000, 300, 257)])
def test_chunks_are_the_bytes_that_zarr_writes(store, write_features, tmp_path, name, dtype, rows, chunk_rows, width):
    writer, values, *_ = write_features(
        store, rows=rows, width=width, chunk_rows=chunk_rows, codec=name, dtype=dtype, n_views=2
    )
    ours = zarr.open_array(LocalStore(store.objects.local_root / writer.key.path / "activations"), mode="r")
    theirs = zarr.create_array(
        LocalStore(tmp_path / "theirs"),
        shape=ours.shape,
        chunks=ours.chunks,
        dtype=dtype,
        fill_value=np.nan,
        compressors=CODECS[name].zarr_compressors(np.dtype(dtype)),
        dimension_names=("view", "sample", "neuron"),
    )
    theirs[:] = values.astype(dtype)
    for view, chunk in writer.grid.cells():
        name = writer.grid.object_name(view, chunk)
        expected = (tmp_path / "theirs" / name).read_bytes()
        assert store.objects.get(f"{writer.key.path}/activations/{name}") == expected, name
    np.testing.assert_array_equal(ours[:], values.astype(dtype))


@pytest.mark.parametrize("name", CODECS)
def test_equal_chunks_give_equal_bytes_in_the_main_thread(name):
    # Blosc with several threads lays its blocks down as they finish: eight encodings were eight different objects.
    chunk = relu(1024, 1024, "float32")
    assert len({bytes(codec(name).encode(chunk)) for _ in range(6)}) == 1


@given(
    name=st.sampled_from(sorted(CODECS)),
    dtype=st.sampled_from(DTYPES),
    rows=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_decode_undoes_encode(name, dtype, rows, width, seed):
    chunk = relu(rows, width, dtype, seed)
    chunk[:, 0] = np.nan
    chunk[0] = -0.0
    out = np.empty_like(chunk)
    codec(name).decode(codec(name).encode(chunk), out)
    assert out.tobytes() == chunk.tobytes()


@pytest.mark.parametrize("name", CODECS)
def test_an_encoding_of_another_size_is_refused(name):
    data = codec(name).encode(relu(8, 8, "float32"))
    with pytest.raises(ValueError, match="expected"):
        codec(name).decode(data, np.empty((8, 9), np.float32))
    with pytest.raises(ValueError, match="expected"):
        codec(name).decode(b"", np.empty((8, 8), np.float32))


def test_views_in_other_orders_encode_as_their_values():
    chunk = relu(8, 6, "float32")
    for name in CODECS:
        assert bytes(codec(name).encode(np.asfortranarray(chunk))) == bytes(codec(name).encode(chunk))
        assert bytes(codec(name).encode(chunk.astype(">f4"))) == bytes(codec(name).encode(chunk))


def test_the_checksum_is_of_any_buffer():
    values = relu(4, 4, "float32")
    assert checksum(values) == checksum(values.tobytes()) == checksum(memoryview(values.tobytes()))
    assert checksum(b"") == "99aa06d3014798d86001c324468d497f"  # XXH3-128 of nothing, as its authors' tool prints it


def test_an_unknown_codec_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"there is no codec 'lz5'\. Did you mean 'lz4'"):
        codec("lz5")


def test_a_group_opens_in_zarr_and_xarray_without_a_warning(store, write_features):
    import xarray as xr

    writer, values, labels, sample_ids = write_features(store, n_views=2, dtype="float16")
    path = store.objects.local_root / writer.key.path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(LocalStore(path, read_only=True), mode="r")
        ds = xr.open_zarr(path, consolidated=False)
        np.testing.assert_array_equal(ds["activations"].to_numpy(), values.astype("float16"))
    assert ds["activations"].dims == ("view", "sample", "neuron")
    assert ds["activations"].dtype == "float16"
    np.testing.assert_array_equal(ds["labels"], labels)
    assert list(ds["sample_id"].to_numpy()) == sample_ids
    assert sorted(group.array_keys()) == ["activations", "labels", "sample_id"]
    assert group.attrs["id"] == writer.id
    assert group.attrs["classes"] == ["a", "b", "c"]
    assert group.attrs["weights"] == writer.key.weights


def test_a_missing_chunk_reads_as_nan_in_zarr_never_as_zero(store, write_features):
    writer, values, *_ = write_features(store, seal=False)
    store.objects.delete([f"{writer.key.path}/activations/c/0/1/0"])
    array = zarr.open_array(LocalStore(store.objects.local_root / writer.key.path / "activations"), mode="r")
    assert np.isnan(array[0, 3:6]).all()
    np.testing.assert_array_equal(array[0, :3], values[0, :3])


def test_all_labels_zero_and_names_empty(store):
    # Zarr writes no chunk whose values are all the fill value: what is absent here is no damage.
    from store.testing import make_key

    writer = store.features.create(
        make_key(weights=str(uuid.uuid4())), width=1, labels=np.zeros(3, int), sample_ids=[""] * 3, classes=["a"]
    )
    writer.write_chunk(0, 0, np.zeros((3, 1), np.float32))
    features = writer.seal()
    assert features.labels.tolist() == [0, 0, 0]
    assert features.sample_ids == ["", "", ""]
    assert (features.numpy() == 0).all()
