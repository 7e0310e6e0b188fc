"""`drfarm compare`: how A and B are said, where they look, what is printed, what is refused."""

import csv
import io
import json

import pytest

import drfarm as face
from drfarm import InvalidRequest, compare, import_results

HEADER = "model,layer,dataset,solver,method,seed,n_neurons,width,accuracy"


def rows(model: str, crossing: int, dataset: str = "c", layer: str = "penultimate", method: str = "random"):
    """Accuracy rises to that of the whole layer at about `crossing` neurons of 100, in steps of 1."""
    for seed in range(1, 6):
        for k in (*range(1, 100, 3), 100):
            value = min(0.9, 0.3 + 0.6 * (k + seed % 3) / crossing)
            yield f"{model},{layer},{dataset},sgd,{method},{seed},{k},100,{value:.4f}"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    file = folder / "results.csv"
    lines = [HEADER, *rows("plain", 60), *rows("robust", 30), *rows("plain", 50, "d"), *rows("robust", 50, "e")]
    lines += rows("plain", 20, layer="blocks/3", method="first")
    file.write_text("\n".join(lines) + "\n")
    import_results(file, folder / "store")
    return folder / "store"


def test_two_models_have_a_table_and_a_verdict(store, drfarm):
    done = drfarm("compare", "plain/penultimate", "robust", "--store", store, "--delta", 0.9)
    assert done.code == 0, done.text
    head, row, *rest = done.out.splitlines()
    assert head.split()[:2] == ["data", "set"]
    assert row.startswith("c ")
    assert row.endswith("B is more redundant")
    text = "\n".join(rest)
    assert "A: model plain; width 100." in text
    assert "Only in A: accuracy, dataset d" in text
    assert "Only in B: accuracy, dataset e" in text


def test_forms_hold_the_same(store, drfarm):
    words = ("compare", "model=plain,layer=penultimate", "robust", "--store", store, "--delta", 0.9)
    (row,) = list(csv.DictReader(io.StringIO(drfarm(*words, "--format", "csv").out)))
    told = json.loads(drfarm(*words, "--format", "json").out)
    assert float(row["difference"]) == told["rows"][0]["difference"] < 0
    assert row["verdict"] == told["rows"][0]["verdict"] == "B is more redundant"
    assert len(told["notes"]) == 2
    assert drfarm(*words, "--format", "md").out.startswith("| data set | measure | delta |")


def test_a_file_gets_it(store, drfarm, tmp_path):
    done = drfarm("compare", "plain/penultimate", "robust", "--store", store, "-o", tmp_path / "d.md", "--format", "md")
    assert (done.code, done.out) == (0, f"{tmp_path / 'd.md'}\n")
    assert "B is more redundant" in (tmp_path / "d.md").read_text()


def test_slashes_in_layers_and_methods_are_told_apart(store):
    a, b = "plain/blocks/3,method=first", "plain/penultimate,method=random,dataset=c"
    found = compare(a, b, store=store, deltas=[0.9], rule="interpolated")
    (row,) = found.table.to_pylist()
    assert (row["layer_a"], row["method_a"], row["method_b"]) == ("blocks/3", "first", "random")


def test_values_at_equal_size(store):
    found = compare("plain/penultimate", "robust", store=store, at="k", adjust=True)
    assert found.table.num_rows == 34
    assert found.table["n_neurons_a"].to_pylist() == found.table["n_neurons_b"].to_pylist()
    assert "adjusted for all rows by Holm's method" in " ".join(found.shown().notes)


@pytest.mark.parametrize(
    "a, b, message",
    [
        ("plan", "robust", r"A: there is no model 'plan'\. Did you mean 'plain'\?"),
        (
            "plain/penultimat",
            "robust",
            r"A \(among model=plain\): there is no layer 'penultimat'\. Did you mean 'penultimate'\?",
        ),
        (
            "plain,methd=first",
            "robust",
            r"A, 'plain,methd=first': there is no name .* 'methd'\. Did you mean 'method'\?",
        ),
        ("plain,model=robust", "robust", r"A: model is said twice in 'plain,model=robust'"),
        ("plain,model=x,model=y", "robust", r"A: model is said twice"),
        ("plain,penultimate", "robust", r"A: expected a model, model/layer, names such as .* got 'plain,penultimate'"),
        ("plain/penultimate", "plain/penultimate", "the very same results on both sides"),
    ],
)
def test_what_is_not_understood_is_refused(store, drfarm, a, b, message):
    done = drfarm("compare", a, b, "--store", store)
    assert (done.code, done.out) == (2, "")
    with pytest.raises(InvalidRequest, match=message):
        compare(a, b, store=store)


def test_a_store_or_studies_are_needed(drfarm):
    done = drfarm("compare", "a", "b")
    assert (done.code, done.err) == (2, "drfarm: give a store with --store, or two study files.\n")


@pytest.mark.slow
def test_studies_are_compared_by_what_differs(finished, drfarm):
    done = drfarm("compare", finished.file, finished.file)
    assert done.code == 2
    assert "the very same results on both sides" in done.err
    done = drfarm("compare", f"{finished.file},dataset=pets", f"{finished.file},dataset=few", "--format", "json")
    assert done.code == 0, done.text
    rows = json.loads(done.out)["rows"]
    assert {(r["dataset_a"], r["dataset_b"]) for r in rows} == {("pets", "few")}
    assert {r["delta"] for r in rows} == {0.8, 0.9}  # those of the study


def test_it_is_public():
    assert face.compare is compare
