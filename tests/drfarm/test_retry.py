"""`drfarm retry`: what is in quarantine is tried again, nothing else; and it is let out when it is done, however."""

import importlib
import shutil
from pathlib import Path

import pytest
import yaml

from drfarm import blocks, extracting, running
from drfarm.farm import Failure
from extract import ExtractError
from store import open_store

PER_RUN = ("study", "elapsed_s", "batch_id")


def in_this_process(tasks, options, *, work, done, failed, **more):
    """Stand in for the farm: what has seed 3 fails for good where the cause is there."""
    for task in tasks:
        folder = Path(task.store_url).parent
        if (folder / "cause").exists() and 3 in {g.seed for g in getattr(task, "groups", ())}:
            failed(Failure(task=task, error="its worker process died.", attempts=3, log="last words"))
        else:
            work(task)
            done(task)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory, drfarm) -> Path:
    """A folder with a study of one network whose features are there, and no results."""
    folder = tmp_path_factory.mktemp("extracted")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        small = importlib.import_module("small_study")
        file = small.write_study(folder, n_train=300, subsets={"n_neurons": [8, 512], "seeds": [1, 2, 3]})
        study = yaml.safe_load(file.read_text())
        study["models"], study["measures"] = study["models"][:1], [{"measure": "accuracy", "solver": "ridge"}]
        file.write_text(yaml.safe_dump(study))
        ran = drfarm("extract", file)
    assert ran.code == 0, ran.text
    return folder


@pytest.fixture
def study(extracted, tmp_path, monkeypatch) -> Path:
    """The file of a fresh copy, each seed a batch of its own; those of seed 3 fail."""
    monkeypatch.setattr(blocks, "TARGET_S", 0.01)
    monkeypatch.setattr(running, "run_tasks", in_this_process)
    file = shutil.copytree(extracted, tmp_path / "copy") / "study.yaml"
    (file.parent / "cause").touch()
    return file


def rows(study):
    found = open_store(str(study.parent / "store")).results.dataset("probes").to_table().to_pylist()
    return sorted((r["seed"], r["n_neurons"], r["accuracy"]) for r in found)


def failures(study):
    return open_store(str(study.parent / "store")).results.failures()


def test_only_what_is_in_quarantine_is_tried_again_and_let_out_when_done(study, drfarm):
    ran = drfarm("probe", study)
    assert ran.code == 1, ran.text
    (kept,) = failures(study)
    assert (kept["attempts"], kept["stage"], kept["study"]) == (3, "probe", "study")
    assert (kept["error"], kept["log"]) == ("its worker process died.", "last words")
    assert kept["at"].endswith("+00:00")
    done = rows(study)
    assert {seed for seed, *_ in done} == {1, 2}

    again = drfarm("retry", study)
    assert again.code == 1
    assert "failed after 3 attempts: 2 ridge probes" in again.err
    assert len(failures(study)) == 1

    (study.parent / "cause").unlink()
    wrong = drfarm("retry", study, "--what", "oak")
    assert wrong.code == 2
    assert "no quarantined job like 'oak'" in wrong.err
    assert rows(study) == done

    healed = drfarm("retry", study, "--what", "*seeds 3")
    assert healed.code == 0, healed.text
    assert "2 results were measured" in healed.err
    assert failures(study) == []
    assert {seed for seed, *_ in rows(study)} == {1, 2, 3}
    nothing = drfarm("retry", study)
    assert nothing.code == 0
    assert "nothing is in quarantine" in nothing.err


def test_what_never_ran_is_left_to_run_and_what_another_batch_made_is_let_out(study, drfarm, monkeypatch):
    assert drfarm("probe", study).code == 1
    results = study.parent / "store/results/probes"
    first = min(results.glob("*.parquet"))
    lost = {r["seed"] for r in open_store(str(study.parent / "store")).results.dataset("probes").to_table().to_pylist()}
    first.unlink()
    lost -= {seed for seed, *_ in rows(study)}
    assert len(lost) == 1
    (study.parent / "cause").unlink()
    assert drfarm("retry", study).code == 0
    assert {seed for seed, *_ in rows(study)} == {1, 2, 3} - lost

    # Now the seed that is left fails beside one that is missing too; the next plan puts both into one batch.
    for file in results.glob("*.parquet"):
        file.unlink()
    (study.parent / "cause").touch()
    assert drfarm("probe", study).code == 1
    assert len(failures(study)) == 1
    for file in results.glob("*.parquet"):
        file.unlink()
    (study.parent / "cause").unlink()
    monkeypatch.setattr(blocks, "TARGET_S", 1000.0)
    assert drfarm("probe", study).code == 0
    assert len(list(results.glob("*.parquet"))) < 3
    assert len(rows(study)) == 6
    assert failures(study) == []


def test_where_there_is_no_store_nothing_is_made(study, drfarm, tmp_path):
    ran = drfarm("retry", study, "--store", tmp_path / "none")
    assert ran.code == 2
    assert not (tmp_path / "none").exists()


def test_an_extraction_that_failed_is_tried_again_alone(extracted, tmp_path, drfarm, monkeypatch):
    study = shutil.copytree(extracted, tmp_path / "copy", ignore=shutil.ignore_patterns("store")) / "study.yaml"
    ran, whole = [], extracting.run_extraction

    def broken(group, *given, **more):
        raise ExtractError(f"{group[0].name}: no such kernel.")

    def counted(group, *given, **more):
        ran.extend(j.name for j in group)
        return whole(group, *given, **more)

    monkeypatch.setattr(extracting, "run_extraction", broken)
    assert drfarm("run", study).code == 1
    assert sorted(f["what"].split()[-1] for f in failures(study)) == ["test", "train"]
    monkeypatch.setattr(extracting, "run_extraction", counted)
    retried = drfarm("retry", study, "--what", "train")
    assert retried.code == 0, retried.text
    assert "0 results were measured" in retried.err
    assert [name.split()[-1] for name in ran] == ["train"]
    assert [f["what"].split()[-1] for f in failures(study)] == ["test"]
    assert drfarm("extract", study).code == 0
    assert failures(study) == []
