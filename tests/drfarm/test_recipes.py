"""`drfarm figure NAME ...`: the paper's figures from a store or a study, and what is missing of them."""

import csv
from pathlib import Path

import pytest

FIELDS = ("model", "layer", "dataset", "solver", "method", "seed", "n_neurons", "width", "accuracy")


@pytest.fixture(scope="module")
def imported(tmp_path_factory, drfarm):
    """Return a store with accuracies of two networks of the paper, under two solvers for one."""
    folder = tmp_path_factory.mktemp("imported")
    with (folder / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for model, solver in (("resnet50", "sgd"), ("resnet50-AT", "sgd"), ("resnet50", "ridge")):
            for k in (20, 204, 2048):
                writer.writerow((model, "penultimate", "cifar10", solver, "random", 1, k, 2048, 0.3 + k / 4096))
    done = drfarm("import", "results", folder / "results.csv", "--store", folder / "store")
    assert done.code == 0, done.text
    return folder / "store"


def names(done):
    return [Path(line).name for line in done.out.splitlines()]


def test_figures_of_the_paper_by_name(imported, tmp_path, drfarm):
    done = drfarm("figure", "fig14", "fig18", "--store", imported, "--solver", "sgd", "-o", tmp_path / "new")
    assert done.code == 0, done.text
    assert names(done) == ["fig14.png", "fig14.pdf", "fig18.png", "fig18.pdf"]
    assert all((tmp_path / "new" / name).stat().st_size > 5000 for name in names(done))
    assert "Not complete" in done.err
    assert "fig14" in done.err
    assert "6 of 852" in done.err


def test_one_file_for_each_solver(imported, tmp_path, drfarm):
    done = drfarm("figure", "fig7", "--store", imported, "-o", tmp_path, "--format", "svg", "--linear")
    assert names(done) == ["fig7-ridge-imported.svg", "fig7-sgd-imported.svg"]


def test_list_and_missing_draw_nothing(imported, tmp_path, drfarm):
    done = drfarm("figure", "--list", "--store", imported, "-o", tmp_path)
    lines = {line.split()[0]: line.split()[1] for line in done.out.splitlines()}
    assert lines["fig4"] == "partly"
    assert lines["fig9"] == lines["fig11"] == "nothing"
    assert lines["table1"] == "partly"
    assert len(lines) == 24
    done = drfarm("figure", "fig5", "fig7", "--missing", "--store", imported, "--solver", "sgd", "-o", tmp_path)
    assert "fig5: Accuracy by upstream data" in done.out
    assert "6 of the 768 jobs of the paper's grid are there." in done.out
    assert "zoo:resnet50-mrl" in done.out
    assert list(tmp_path.iterdir()) == []


def test_roles_are_played_by_others(imported, tmp_path, drfarm):
    options = ("--store", imported, "--solver", "sgd", "-o", tmp_path, "--format", "png")
    assert drfarm("figure", "fig5", *options).code == 2
    done = drfarm("figure", "fig5", *options, "--as", "vit_s16-1k=resnet50", "--as", "pets=cifar10")
    assert names(done) == ["fig5.png"]


def test_a_study_with_its_own_models(finished, tmp_path, drfarm):
    options = ("--models", "all", "-o", tmp_path, "--format", "png")
    done = drfarm("figure", "fig2", "fig8", "fig11", "fig19", finished.file, *options)
    assert (done.code, done.err) == (0, "")
    assert names(done) == ["fig2.png", "fig8.png", "fig11.png", "fig19.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fgi4",), "neither a file nor a name: there is no figure 'fgi4'. Did you mean 'fig4'?"),
        (("table1",), "table1 is a table, not a figure: `drfarm table table1`"),
        (("fig9",), "nothing of fig9 is there. fig9: ResNet50 by loss"),
        (("fig9",), "Models with results here: resnet50, resnet50-AT; data sets: cifar10."),
        (("fig4", "--models", "resnet5"), "there is no model with results 'resnet5'. Did you mean 'resnet50'?"),
        (("fig4", "--as", "resnet50"), "--as takes ROLE=NAME, such as resnet50=my-resnet, got 'resnet50'."),
        (("fig4", "--as", "resnet18=resnet50", "--as", "resnet18=resnet50-AT"), "names role 'resnet18' twice"),
        (("fig4", "--rule", "strikt"), "rules must be some of strict, nearest, interpolated, got strikt"),
        (("fig4", "--format", "gif"), "--format: there is no format 'gif'."),
        (("--rule", "strict"), "--rule is for the figures of the paper: name some, fig1 to fig22, or all."),
        (("all", "--solver", "logistic"), "nothing of any figure of the paper is there."),
        (("one.yaml", "two.yaml"), "give one study file at most, got one.yaml, two.yaml"),
    ],
)
def test_what_can_not_be_drawn_is_refused(imported, tmp_path, drfarm, words, message):
    done = drfarm("figure", *words, "--store", imported, "-o", tmp_path)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_table_by_name(imported, drfarm):
    done = drfarm("table", "redundancy", "--store", imported)
    assert (done.code, done.out) == (0, drfarm("table", "--store", imported).out)
    done = drfarm("table", "redundnacy", "--store", imported)
    assert done.code == 2
    assert "Did you mean 'redundancy'?" in done.err
