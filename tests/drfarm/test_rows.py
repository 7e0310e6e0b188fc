"""Results as Arrow, pandas and xarray: what is kept apart, what is refused."""

import math

import numpy as np
import pytest

from drfarm import InvalidRequest, open_store
from store import UnknownName
from store import open_store as open_plain_store
from store.schema import PROBES
from store.testing import make_cka_row, make_probe_row


@pytest.fixture
def store(tmp_path):
    return open_plain_store(tmp_path / "store", create=True)


def _fill(store, **changes):
    """Two layers of different widths, two seeds; one size of one layer is missing."""
    rows = []
    for layer, width, sizes in (("a", 4, (1, 2, 4)), ("b", 8, (1, 8))):
        for seed in (1, 2):
            for k in sizes:
                name = f"{layer}{seed}{k}{sorted(changes.items())}"
                accuracy = width / 100 + seed / 10 + k / 1000
                row = {"layer": layer, "width": width, "seed": seed, "n_neurons": k, "fraction": k / width}
                rows.append(make_probe_row("x", name, **row | {"accuracy": accuracy} | changes))
    batch = f"batch{len(store.results.jobs('probes'))}"
    store.results.write("probes", batch, [r | {"batch_id": batch} for r in rows])
    return rows


def test_the_same_rows_in_every_form(store):
    rows = _fill(store)
    found = open_store(store.url).probes()
    assert len(found) == len(rows) == 10
    assert found.arrow().schema.names == PROBES.names
    frame = found.pandas()
    assert sorted(frame["accuracy"]) == sorted(r["accuracy"] for r in rows)
    data = found.xarray()
    assert dict(data.sizes) == {"model": 1, "layer": 2, "dataset": 1, "method": 1, "seed": 2, "n_neurons": 4}
    for r in rows:
        place = {c: r[c] for c in ("model", "layer", "dataset", "method", "seed", "n_neurons")}
        assert float(data["accuracy"].sel(place)) == r["accuracy"]
        assert int(data["width"].sel(layer=r["layer"])) == r["width"]
    assert int(data["accuracy"].notnull().sum()) == 10  # and nothing where nothing was measured
    assert math.isnan(data["accuracy"].sel(layer="b", n_neurons=2, seed=1).item())
    assert data.attrs == {"solver": rows[0]["solver"], "protocol": rows[0]["protocol"]}


def test_filters(store):
    _fill(store)
    _fill(store, model="other", protocol="short", val_accuracy=None)
    opened = open_store(store.url)
    assert len(opened.probes(layer="a", seed=[1])) == 6
    assert len(opened.probes(model="oth*", layer=["a", "b"], n_neurons=1)) == 4
    assert len(opened.probes(val_accuracy=None)) == 20
    assert len(opened.probes(layer="a", n_neurons=8)) == 0  # each matches something
    with pytest.raises(UnknownName, match=r"there is no column of probes 'modle'. Did you mean 'model'\?"):
        opened.probes(modle="x")
    with pytest.raises(UnknownName, match=r"there is no model in probes 'othr'. Did you mean 'other'\?"):
        opened.probes(model="othr")
    with pytest.raises(UnknownName, match="there is no seed in probes '9'"):
        opened.probes(seed=9)
    with pytest.raises(InvalidRequest, match="it holds lists"):
        opened.probes(class_accuracy=1)


def test_what_there_are_several_of_becomes_an_axis(store):
    _fill(store)
    _fill(store, protocol="short", accuracy=0.25)
    data = open_store(store.url).probes().xarray()
    assert data.sizes["protocol"] == 2
    assert "solver" not in data.dims
    assert (data["accuracy"].sel(protocol="short").to_series().dropna() == 0.25).all()


def test_one_name_of_several_representations_is_never_mixed(store):
    _fill(store)
    _fill(store, test_id="e" * 64, train_id="f" * 64)
    opened = open_store(store.url)
    with pytest.raises(InvalidRequest, match=r"2 of the names stand for several .*/a.* test_id=.*ids='axis'"):
        opened.probes().xarray()
    data = opened.probes().xarray(ids="axis")
    assert data.sizes["representation"] == 2
    assert int(data["accuracy"].notnull().sum()) == 20
    assert int(opened.probes(test_id="e" * 64).xarray()["accuracy"].notnull().sum()) == 10


def test_rows_that_no_axis_tells_apart_are_refused(store):
    _fill(store)
    _fill(store, hyperparameter=0.5, study="again")
    with pytest.raises(InvalidRequest, match=r"several rows have one place.* they differ in .*study"):
        open_store(store.url).probes().xarray()


def test_columns_of_numbers_can_be_chosen(store):
    _fill(store)
    found = open_store(store.url).probes()
    assert set(found.xarray(values=["fraction", "n_test"]).data_vars) == {"fraction", "n_test"}
    with pytest.raises(InvalidRequest, match=r"no column of numbers 'model'; it has .*accuracy"):
        found.xarray(values=["model"])


def test_a_data_set_that_would_be_huge_is_refused(store):
    rows = [
        make_probe_row("b", f"j{i}", model=f"m{i}", layer=f"l{i}", dataset=f"d{i}", seed=i, n_neurons=i + 1, width=999)
        for i in range(60)
    ]
    store.results.write("probes", "b", rows)
    with pytest.raises(InvalidRequest, match=r"would have 777,600,000 cells .* for 60 rows"):
        open_store(store.url).probes().xarray()


def test_cka(store):
    rows = [make_cka_row("c", f"w{s}{k}", seed=s, n_neurons=k, value=k / 10) for s in (1, 2) for k in (1, 3)]
    rows += [make_cka_row("c", "p", kind="pair", seed=1, seed_b=2, n_neurons=3, value=0.5)]
    store.results.write("cka", "c", [r | {"estimator": None} for r in rows])
    opened = open_store(store.url)
    assert set(opened.cka().arrow()["estimator"].to_pylist()) == {"biased"}  # older files do not say it
    both = opened.cka().xarray()
    assert both.sizes["kind"] == 2
    whole = opened.cka(kind="part_whole").xarray()
    assert whole.attrs["kind"] == "part_whole"
    np.testing.assert_allclose(whole["value"].squeeze().transpose("seed", "n_neurons"), [[0.1, 0.3], [0.1, 0.3]])
    assert repr(opened.cka(kind="pair")).startswith("<1 cka: 1 model, ")


def test_an_empty_store_has_no_rows(store):
    found = open_store(store.url).probes()
    assert len(found) == 0
    assert found.pandas().empty
    assert found.xarray()["accuracy"].size == 0
    assert len(open_store(store.url).cka()) == 0
