"""`Features.xarray()`: named dimensions and coordinates, lazy, selected by name, equal to what any Zarr reader sees."""

import warnings

import dask
import numpy as np
import pytest


@pytest.fixture
def opened(store, write_features):
    writer, values, labels, sample_ids = write_features(store, n_views=2)
    return store.features.open(writer.id), values, labels, sample_ids


def test_it_says_what_it_is(opened):
    features, *_ = opened
    ds = features.xarray()
    about = ds["activations"].attrs
    assert (about["model"], about["layer"], about["units"]) == (features.key.model, features.key.layer, "1")
    assert ds.attrs["id"] == features.id
    assert ds.attrs["classes"] == list(features.classes)
    assert set(ds.coords) == {"labels", "sample_id"}
    assert "dask.array" in repr(ds)


def test_rows_are_selected_by_position_class_and_name(opened):
    features, values, labels, sample_ids = opened
    ds = features.xarray()
    np.testing.assert_array_equal(ds.sel(sample=slice(1, 4))["activations"].to_numpy(), values[:, 1:4])
    of_class = ds.sel(sample=ds["labels"] == labels[0])["activations"]
    np.testing.assert_array_equal(of_class.to_numpy(), values[:, labels == labels[0]])
    row = ds.sel(sample_id=sample_ids[3])["activations"]
    np.testing.assert_array_equal(row.to_numpy(), values[:, 3])
    with pytest.raises(KeyError, match="not all values found in index 'sample_id'"):
        ds.sel(sample_id="nobody")


def test_only_the_chunks_that_are_asked_for_are_read(opened, monkeypatch):
    features, values, *_ = opened
    read = []
    plain = type(features)._read_chunk

    def counted(self, view, chunk, out, scratch):
        read.append((view, chunk))
        plain(self, view, chunk, out, scratch)

    monkeypatch.setattr(type(features), "_read_chunk", counted)
    ds = features.xarray()
    start, stop = features.grid.span(1)
    part = ds["activations"].isel(view=1, sample=slice(start, stop))
    assert (read, part.chunks[0]) == ([], (stop - start,))
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(part.to_numpy(), values[1, start:stop])
    assert read == [(1, 1)]


def test_it_is_what_a_zarr_reader_sees(opened, store):
    import xarray as xr

    features, *_ = opened
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of consolidated metadata, which a group of ours has not
        plain = xr.open_zarr(str(store.objects.local_root / features.key.path))
    ours = features.xarray()
    assert set(plain.variables) == set(ours.variables)
    for name in ("activations", "labels", "sample_id"):
        assert plain[name].dims == ours[name].dims
        np.testing.assert_array_equal(plain[name].to_numpy().astype(ours[name].dtype), ours[name].to_numpy())
    assert plain.attrs["id"] == ours.attrs["id"]


def test_names_that_repeat_are_no_index(store, write_features, monkeypatch):
    writer, *_ = write_features(store)
    features = store.features.open(writer.id)
    monkeypatch.setattr(type(features), "sample_ids", ["same"] * features.n_samples)
    ds = features.xarray()
    assert ds["sample_id"].to_numpy().tolist() == ["same"] * features.n_samples
    assert "sample_id" not in ds.xindexes


def test_masked_rows_have_a_coordinate(store, write_features, monkeypatch):
    writer, *_ = write_features(store)
    features = store.features.open(writer.id)
    valid = np.arange(features.n_samples) != 2
    monkeypatch.setattr(type(features), "valid", valid)
    np.testing.assert_array_equal(features.xarray()["valid"], valid)
