"""``drfarm store ls``: which representations are listed, how, and what is said where none is."""

import csv
import io
import json

import numpy as np
import pytest
from bad_input import check_words

from store import open_store
from store.testing import make_key


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Two models, two layers, one of them not complete, one gathered."""
    store = open_store(tmp_path_factory.mktemp("catalogue") / "store", create=True)
    for model in ("net-a", "net-b"):
        for layer in ("layer1", "penultimate"):
            _write(store, seal=(model, layer) != ("net-b", "layer1"), model=model, layer=layer, weights=model)
    kept = np.array([1, 5, 9])
    digest = store.neuron_sets.put(kept, 12)
    _write(store, model="net-a", layer="huge", neurons=digest, kept=kept)
    return store.url


def _write(store, *, seal=True, kept=None, **key):
    writer = store.features.create(
        make_key(**key),
        width=3,
        labels=np.arange(6) % 2,
        sample_ids=[str(i) for i in range(6)],
        classes=["a", "b"],
        rows_per_chunk=2,
        neurons=kept,
        layer_width=None if kept is None else 12,
    )
    cells = writer.missing()
    for view, chunk in cells if seal else cells[:1]:
        writer.write_chunk(view, chunk, np.ones((2, 3), np.float32))
    if seal:
        writer.seal()


def _listed(drfarm, url, *options):
    done = drfarm("store", "ls", "--store", url, "--format", "csv", *options)
    assert (done.code, done.err) == (0, "")
    return [(r["model"], r["layer"]) for r in csv.DictReader(io.StringIO(done.out))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--model", "net-a"), [("net-a", "huge"), ("net-a", "layer1"), ("net-a", "penultimate")]),
        (("--layer", "layer*"), [("net-a", "layer1"), ("net-b", "layer1")]),
        (("--layer", "huge", "--layer", "pen*", "--model", "net-a"), [("net-a", "huge"), ("net-a", "penultimate")]),
        (("--incomplete",), [("net-b", "layer1")]),
        (("--gathered",), [("net-a", "huge")]),
        (("--gathered", "--model", "net-b"), []),
        (("--dataset", "digits", "--split", "tr*", "--model", "*-b", "--layer", "[p]*"), [("net-b", "penultimate")]),
    ],
)
def test_filters(options, expected, url, drfarm):
    assert _listed(drfarm, url, *options) == expected


def test_totals_and_states(url, drfarm):
    done = drfarm("store", "ls", "--store", url)
    assert done.code == 0
    *lines, total = done.out.splitlines()
    assert len(lines) == 6
    assert "1 of 3 chunks" in next(line for line in lines if "net-b" in line and "layer1" in line)
    assert "1 x 6 x 3 of 12" in next(line for line in lines if "huge" in line)
    stored = sum(r["bytes"] for r in json.loads(drfarm("store", "ls", "--store", url, "--format", "json").out))
    assert total == f"(5 representations, 1 not complete, 2 models, 1 data set, {stored} B stored)"
    done = drfarm("store", "ls", "--store", url, "--model", "net-a")
    assert "(3 of 5 representations, all complete, 1 model, 1 data set" in done.out
    assert drfarm("store", "ls", "--store", url, "--gathered", "--model", "net-b").out == (
        "none of the 5 representations matches.\n"
    )


def test_a_name_that_nothing_has(url, drfarm):
    done = drfarm("store", "ls", "--store", url, "--layer", "layr1")
    assert (done.code, done.out) == (2, "")
    check_words(done.err, ("there is no layer in this store's representations 'layr1'", "Did you mean 'layer1'?"))


def test_a_store_of_results_only_says_so(tmp_path, drfarm):
    file = tmp_path / "r.csv"
    file.write_text("model,layer,dataset,solver,method,seed,n_neurons,width,accuracy\nm,l,d,sgd,random,1,3,3,0.5\n")
    assert drfarm("import", "results", file, "--store", tmp_path / "s").code == 0
    done = drfarm("store", "ls", "--store", tmp_path / "s")
    assert (done.code, done.out) == (0, "there are no representations.\n")
    check_words(done.err, ("its results were measured elsewhere",))
