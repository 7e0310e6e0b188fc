"""One study with every method, solver, measure and estimator, refined: what is in its tables, and a second run."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from drfarm.planning import plan_study
from drfarm.study import load_study
from probe import METHODS
from store import open_store

pytestmark = pytest.mark.slow

TO, WIDTH = 0.05, 96
DELTAS = (0.8, 0.9)
SGD = {"measure": "accuracy", "protocol": "as-released:dropout"}
RIDGE = {"measure": "accuracy", "solver": "ridge"}
PER_RUN = ("elapsed_s", "batch_id")
"""Columns that tell of the run, not of the result."""

STUDY: dict[str, Any] = {
    "study": "everything",
    "models": [{"name": "resnet", "source": "timm:test_resnet", "weights": "random:0", "input_size": 32}],
    "datasets": [{"name": "digits", "source": "sklearn:digits", "splits": {"val_fraction": 0.1}}],
    "subsets": {
        "methods": [*METHODS, "ranked:by-weight", "pca:uncentred"],
        "n_neurons": [4, 32],
        "seeds": 2,
        "refine": {"to": TO},
    },
    "measures": [
        SGD,
        {**SGD, "average": "class", "methods": ["random"]},
        {**SGD, "learning_rates": [0.1, 0.01], "normalisation": "standardised", "methods": ["first"]},
        RIDGE,
        {**RIDGE, "control": "random-labels", "methods": ["random"]},
        {**RIDGE, "protocol": "validated", "k": "every", "methods": ["random", "pca"]},
        {"measure": "accuracy", "solver": "logistic"},
        {"measure": "cka"},
        {"measure": "cka_pair"},
        {"measure": "cka", "k": "every", "methods": ["random", "pca"]},
        {"measure": "cka", "estimator": "debiased", "methods": ["random", "random_projection"]},
        {"measure": "cka_pair", "estimator": "minibatch", "methods": ["random"]},
    ],
    "deltas": list(DELTAS),
}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory, drfarm) -> Path:
    folder = tmp_path_factory.mktemp("everything")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    ran = drfarm("extract", folder / "study.yaml")
    assert ran.code == 0, ran.text
    return folder


@pytest.fixture(scope="module")
def everything(extracted, tmp_path_factory, drfarm):
    folder = shutil.copytree(extracted, tmp_path_factory.mktemp("ran") / "copy")
    ran = drfarm("run", folder / "study.yaml", "--workers", 2)
    assert ran.code == 0, ran.text
    return folder, ran


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return open_store(str(folder / "store")).results.table(kind).to_pylist()


def results(folder: Path) -> list[dict[str, Any]]:
    """Return all results without what tells of the run."""
    found = [r for kind in ("probes", "cka") for r in rows(folder, kind)]
    return sorted(({k: v for k, v in r.items() if k not in PER_RUN} for r in found), key=lambda r: r["job_id"])


def test_every_method_solver_and_estimator_is_in_the_tables(everything):
    folder, ran = everything
    probes, cka = rows(folder, "probes"), rows(folder, "cka")
    for solver in ("sgd", "ridge", "logistic"):
        assert {r["method"] for r in probes if r["solver"] == solver} == set(STUDY["subsets"]["methods"])
    assert {(r["kind"], r["estimator"]) for r in cka} == {
        ("part_whole", "biased"), ("part_whole", "debiased"), ("pair", "biased"), ("pair", "minibatch"),
    }  # fmt: skip
    assert {r["n_neurons"] for r in probes if r["protocol"].startswith("validated")} == set(range(1, WIDTH + 1))
    assert all(r["hyperparameter"] is not None for r in probes)
    assert all(r["converged"] and r["gradient_norm"] <= 1e-6 for r in probes if r["solver"] == "logistic")
    assert any(r["accuracy"] > 0.8 for r in probes)
    (whole,) = {r["accuracy"] for r in probes if "random-labels" in r["protocol"] and r["n_neurons"] == WIDTH}
    assert whole < 0.4
    assert "1,797" not in ran.err  # no image went through the network again


def test_nothing_is_nan(everything, drfarm):
    folder, _ = everything
    for view in ("probes", "cka", "redundancy"):
        asked = drfarm("query", "--store", folder / "store", "--format", "csv", f"SELECT * FROM {view}")
        assert asked.code == 0, asked.text
        assert len(asked.out.splitlines()) > 20
        assert not {"nan", "inf", "-inf"} & set(asked.out.lower().replace("\n", ",").split(","))
    for r in results(folder):
        assert not [k for k, v in r.items() if isinstance(v, float) and not math.isfinite(v)], r


def test_every_bracket_that_refinement_looks_at_is_narrow(everything, drfarm):
    from drfarm import open_store as open_public_store

    folder, _ = everything
    asked = f"SELECT * FROM redundancy WHERE measure = 'accuracy' AND rule = 'strict' AND delta IN {DELTAS}"
    cells = open_public_store(folder / "store").query(asked).to_pylist()
    assert len(cells) == len(DELTAS) * (3 * len(STUDY["subsets"]["methods"]) + 1 + 1 + 2)
    reached = [c for c in cells if not c["censored"]]
    assert len(reached) > 50
    for cell in reached:
        assert cell["bracket_high"] - cell["bracket_low"] <= TO + 1e-12, cell
    plan = plan_study(load_study(folder / "study.yaml"))
    assert not plan.grows
    assert plan.n_probes > 3 * 3 * len(STUDY["subsets"]["methods"])


def test_a_second_run_does_nothing(everything, drfarm):
    folder, _ = everything
    before = results(folder)
    ran = drfarm("run", folder / "study.yaml", "--workers", 2)
    assert ran.code == 0, ran.text
    assert "nothing was left to do" in ran.err
    assert results(folder) == before
    said = drfarm("plan", folder / "study.yaml").out
    assert "nothing is left to do" in said
    assert "refine " not in said
    assert "refine " not in drfarm("status", folder / "study.yaml").out
    for rule in ("strict", "interpolated"):
        table = drfarm("table", folder / "study.yaml", "--rule", rule)
        assert table.code == 0, table.text
        assert "nan" not in table.out.lower()


def test_what_is_to_come_is_said_not_to_be_known(extracted, drfarm):
    for command in ("plan", "status"):
        said = drfarm(command, extracted / "study.yaml")
        assert said.code == 0
        assert "refine   sizes will be added where DR is decided, round by round" in said.out


def test_a_study_that_was_interrupted_ends_with_the_same_rows(everything, tmp_path, drfarm):
    folder, expected = shutil.copytree(everything[0], tmp_path / "copy"), results(everything[0])
    # Batches of the first round and of later ones are gone: the first have to be there before refinement goes on.
    files = sorted((folder / "store/results").glob("*/*.parquet"), key=lambda f: f.stat().st_mtime_ns)
    for file in files[1::3]:
        file.unlink()
    assert 0 < len(results(folder)) < len(expected)
    assert plan_study(load_study(folder / "study.yaml")).grows
    ran = drfarm("run", folder / "study.yaml", "--workers", 2)
    assert ran.code == 0, ran.text
    assert results(folder) == expected
