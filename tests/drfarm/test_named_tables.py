"""`drfarm table table1` and `drfarm table rules`: the command asks for the right table and hands its options on."""

import csv
import io

import pytest

from drfarm import import_results

HEADER = "model,layer,dataset,solver,method,seed,n_neurons,width,accuracy"
CURVE = {10: 0.5, 30: 0.885, 60: 0.95, 100: 1.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    rows = [f"{m},pool,cifar10,sgd,random,1,{k},100,{v}" for m in ("resnet18", "mine") for k, v in CURVE.items()]
    (folder / "results.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    import_results(folder / "results.csv", folder / "store")
    return folder / "store"


def test_table1(store, drfarm):
    done = drfarm("table", "table1", "--store", store)
    assert (done.code, done.err) == (0, "")
    assert "| ResNet18 | 100 | 69.23 % | 0.70 |" in done.out
    assert "mine" not in done.out
    beside = drfarm("table", "table1", "--store", store, "--rule", "strict", "--delta", 0.95)
    assert "| ResNet18 | 100 | 69.23 % | 0.40 | 0.40 |" in beside.out
    assert drfarm("table", "table1", "--store", store, "--rule", "nearest").out == done.out
    own = drfarm("table", "table1", "--store", store, "--models", "all", "--format", "csv")
    assert [row["model"] for row in csv.DictReader(io.StringIO(own.out))] == ["mine", "resnet18"]


def test_another_network_plays_a_row_of_table1(store, drfarm):
    done = drfarm("table", "table1", "--store", store, "--as", "resnet50=mine")
    assert (done.code, done.err) == (0, "")
    assert "| ResNet50 (mine) | 100 | 80.07 % | 0.70 |" in done.out
    assert "Did you mean 'mine'" in drfarm("table", "table1", "--store", store, "--as", "resnet50=mime").text
    assert "ROLE=NAME" in drfarm("table", "table1", "--store", store, "--as", "resnet50").text
    assert "--as is for Table 1" in drfarm("table", "rules", "--store", store, "--as", "resnet50=mine").text
    both = drfarm("table", "table1", "--store", store, "--as", "resnet50=mine", "--models", "all")
    assert "give one of them" in both.text


def test_rules(store, drfarm):
    done = drfarm("table", "rules", "--store", store, "--delta", 0.9)
    assert (done.code, done.err) == (0, "")
    assert r"| mine/pool (100) | cifar10 | accuracy | 0.9 | 0.40 | 0.70 | 0.63 | \[0.40, 0.70) | — | 1 |" in done.out
    rows = list(csv.DictReader(io.StringIO(drfarm("table", "rules", "--store", store, "--format", "csv").out)))
    assert {row["delta"] for row in rows} == {"0.8", "0.9", "0.95"}
    assert len(rows) == 2 * 3


def test_what_is_refused(store, drfarm):
    done = drfarm("table", "table1", "--store", store, "--delta", 0.8, "--delta", 0.9)
    assert done.code == 2
    assert "Table 1 has one threshold, got 0.8, 0.9: give one --delta" in done.text
