"""Accuracies that were measured elsewhere: taken in once, checked row by row; the authors' own give their Table 1."""

import json
from pathlib import Path

import pytest

import drfarm as face
from drfarm import InvalidRequest, import_results
from store import Conflict, open_store

HEADER = "model,layer,dataset,solver,method,seed,n_neurons,width,accuracy"
GOOD = "m,penultimate,c,sgd,random,1,5,10,0.7"


def write(folder, *rows, header=HEADER) -> Path:
    file = folder / "results.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_rows_become_results(tmp_path):
    file = write(
        tmp_path,
        "50,penultimate,c,sgd,random,1,5,10,0.05,0.7,100,0.6",
        "50,penultimate,c,sgd,random,1,10,10,1,1,,",
        header=HEADER.replace("accuracy", "fraction,accuracy,n_test,val_accuracy"),
    )
    assert import_results(file, tmp_path / "store") == 2
    table = open_store(tmp_path / "store").results.table("probes")
    first, second = sorted(table.to_pylist(), key=lambda r: r["n_neurons"])
    assert (first["model"], first["protocol"], first["study"]) == ("50", "imported", "imported")
    assert first["fraction"] == 0.5  # what k and d say; the file's own is a rounded one
    assert (first["accuracy"], first["n_test"], first["val_accuracy"]) == (0.7, 100, 0.6)
    assert (second["accuracy"], second["n_test"], second["val_accuracy"]) == (1.0, None, None)
    assert first["train_id"] == second["train_id"]
    assert first["job_id"] != second["job_id"]


def test_the_same_file_again_changes_nothing(tmp_path, drfarm):
    file, store = write(tmp_path, GOOD, GOOD.replace(",5,", ",10,")), tmp_path / "store"
    done = drfarm("import", "results", file, "--store", store)
    assert (done.code, done.out) == (0, f"2 new results of {file} are in {store}.\n")
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    done = drfarm("import", "results", file, "--store", store)
    assert (done.code, done.out) == (0, f"0 new results of {file} are in {store}.\n")
    assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == before


def test_only_what_is_new_is_added(tmp_path):
    import_results(write(tmp_path, GOOD), tmp_path / "store")
    assert import_results(write(tmp_path, GOOD, GOOD.replace(",1,5,", ",2,5,")), tmp_path / "store") == 1
    assert open_store(tmp_path / "store").results.table("probes").num_rows == 2


@pytest.mark.parametrize("column", range(8))
def test_whatever_names_a_probe_tells_results_apart(tmp_path, column):
    import_results(write(tmp_path, GOOD), tmp_path / "store")
    cells = GOOD.split(",")
    cells[column] = {5: "2", 6: "6", 7: "11"}.get(column, "other")
    assert import_results(write(tmp_path, ",".join([*cells[:8], "0.1"])), tmp_path / "store") == 1


def test_another_accuracy_for_the_same_probe_is_refused(tmp_path, drfarm):
    store = tmp_path / "store"
    import_results(write(tmp_path, GOOD), store)
    other = write(tmp_path, GOOD.replace(",1,5,", ",2,5,"), GOOD.replace("0.7", "0.8"))
    with pytest.raises(Conflict, match=r"line 3: the store has accuracy 0\.7 for this probe, the file 0\.8"):
        import_results(other, store)
    done = drfarm("import", "results", other, "--store", store)
    assert done.code == 2
    assert "Import it into another store, or give it another model name." in done.err
    assert open_store(store).results.table("probes", columns=["accuracy"]).to_pylist() == [{"accuracy": 0.7}]


WRONG = {
    "a column too few": (
        "m,penultimate,c,sgd,random,1,5,10",
        HEADER.removesuffix(",accuracy"),
        "these columns are needed and are not there: accuracy.",
    ),
    "an unknown column": (
        GOOD + ",1",
        HEADER + ",acuracy",
        "there is no column 'acuracy'. Did you mean 'accuracy'?",
    ),
    "accuracy above one": (GOOD.replace("0.7", "1.7"), HEADER, "line 2: accuracy lies in [0, 1], got 1.7."),
    "accuracy below zero": (GOOD.replace("0.7", "-0.1"), HEADER, "line 2: accuracy lies in [0, 1], got -0.1."),
    "no accuracy": (GOOD.replace("0.7", ""), HEADER, "line 2: accuracy is empty or NaN."),
    "accuracy of text": (GOOD.replace("0.7", "good"), HEADER, "line 2: accuracy is a number, got 'good'."),
    "accuracy that is not a number": (GOOD.replace("0.7", "nan"), HEADER, "line 2: accuracy is empty or NaN."),
    "n_neurons above the width": (
        GOOD.replace(",5,", ",11,"),
        HEADER,
        "line 2: n_neurons runs from 1 to the width 10, got 11.",
    ),
    "no neuron": (GOOD.replace(",5,", ",0,"), HEADER, "line 2: n_neurons runs from 1 to the width 10, got 0."),
    "half a seed": (GOOD.replace(",1,5", ",1.5,5"), HEADER, "line 2: seed is a whole number, got 1.5."),
    "an infinite width": (GOOD.replace(",10,", ",inf,"), HEADER, "line 2: width is a number, got inf."),
    "no model": (GOOD.replace("m,", ",", 1), HEADER, "line 2: model is empty; every row needs one."),
    "val_accuracy above one": (GOOD + ",2", HEADER + ",val_accuracy", "line 2: val_accuracy lies in [0, 1], got 2."),
    "n_test of text": (GOOD + ",many", HEADER + ",n_test", "line 2: n_test is a number, got 'many'."),
    "a row twice": (f"{GOOD}\n{GOOD}", HEADER, "line 3: this probe stands in the file twice."),
    "a ragged row": (f"{GOOD}\n1,2", HEADER, "is not a CSV file: CSV parse error"),
    "no row": ("", HEADER, "there is no row in it."),
    "nothing": ("", "", "is not a CSV file"),
}


@pytest.mark.parametrize(("rows", "header", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_refused_whole(tmp_path, drfarm, rows, header, message):
    file = write(tmp_path, rows, header=header) if rows else tmp_path / "results.csv"
    file.write_text(f"{header}\n{rows}\n" if header else "")
    done = drfarm("import", "results", file, "--store", tmp_path / "store")
    assert done.code == 2
    assert message in done.err
    assert str(file) in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidRequest, match=r"absent\.csv can't be read: No such file .* Give the path of a CSV file"):
        import_results(tmp_path / "absent.csv", tmp_path / "store")
    assert not (tmp_path / "store").exists()


# Accuracies of the authors' notebooks, and what Table 1 of the paper prints (rule nearest) and Eq. 1 gives (strict), at
# delta 0.9: (CIFAR10, CIFAR100) of nearest, then of strict. The first six models are those of Table 1.

AUTHORS = Path(__file__).parents[3] / "shared" / "reference" / "authors_accuracies.csv"
PUBLISHED = {
    "vit_s16-1k": ((0.70, 0.50), (0.50, 0.20)),
    "vit_s32-1k": ((0.70, 0.50), (0.50, 0.50)),
    "resnet18": ((0.80, 0.50), (0.70, 0.50)),
    "resnet50": ((0.90, 0.50), (0.80, 0.50)),
    "wrn50_2": ((0.95, 0.80), (0.90, 0.80)),
    "vgg16_bn": ((0.95, 0.80), (0.90, 0.80)),
    "vgg16_bn-AT": ((0.90, 0.80), (0.90, 0.80)),
    "resnet18-AT": ((0.80, 0.50), (0.70, 0.50)),
    "resnet50-AT": ((0.90, 0.80), (0.90, 0.80)),
    "wrn50_2-AT": ((0.90, 0.80), (0.90, 0.70)),
}


@pytest.mark.shared_data
@pytest.mark.skipif(
    not AUTHORS.is_file(), reason=f"the authors' accuracies ({AUTHORS.name}) are not beside the project"
)
def test_the_authors_accuracies_give_their_table(tmp_path, drfarm):
    store = tmp_path / "store"
    done = drfarm("import", "results", AUTHORS, "--store", store)
    assert (done.code, done.out) == (0, f"242 new results of {AUTHORS} are in {store}.\n")
    done = drfarm("import", "results", AUTHORS, "--store", store)
    assert (done.code, done.out.split()[0]) == (0, "0")

    sql = "SELECT model, dataset, rule, dr, protocol FROM redundancy WHERE delta = 0.9"
    done = drfarm("query", sql, "--store", store, "--format", "json")
    assert done.code == 0
    rows = json.loads(done.out)
    assert {r["protocol"] for r in rows} == {"imported"}
    found = {(r["model"], r["dataset"], r["rule"]): r["dr"] for r in rows}
    assert len(found) == len(rows) == len(PUBLISHED) * 2 * 3
    for model, by_rule in PUBLISHED.items():
        for rule, values in zip(("nearest", "strict"), by_rule, strict=True):
            for dataset, dr in zip(("cifar10", "cifar100"), values, strict=True):
                assert found[model, dataset, rule] == pytest.approx(dr, abs=0.006), (model, dataset, rule)

    done = drfarm("table", "--store", store, "--delta", 0.9, "--rule", "nearest")
    assert done.code == 0
    (row,) = (line for line in done.out.splitlines() if "resnet50/penultimate" in line)
    assert row.startswith("| resnet50/penultimate (2048) | 0.90 ")
    assert face.open_store(store).representations().num_rows == 0
