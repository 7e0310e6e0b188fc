"""Augmented views in a study: what is extracted, what validates, and that results follow from the file alone."""

import pytest

from drfarm import open_store, plan, run
from drfarm.errors import InvalidStudy
from drfarm.study import study_from_dict


def study_of(tmp_path, **changed):
    raw = {
        "study": "views",
        "store": str(tmp_path / "store"),
        "models": [{"name": "net", "source": "timm:test_resnet", "weights": "random:0", "input_size": 32}],
        "datasets": [
            {"name": "digits", "source": "sklearn:digits", "classes": [0, 1], "splits": {"val_fraction": 0.1}}
        ],
        "transform": {"train": "as-released", "views": 2, "seed": 3},
        "subsets": {"fractions": [0.1, 1.0], "seeds": 1},
        "measures": [{"measure": "accuracy"}, {"measure": "accuracy", "solver": "ridge"}, {"measure": "cka"}],
    }
    return study_from_dict(raw | changed, base=tmp_path)


def jobs(planned):
    return sorted((j.split.split, j.transform, j.n_views) for j in planned.jobs)


def test_held_out_rows_are_validated_on_clean_images_or_as_released(tmp_path):
    clean = plan(study_of(tmp_path))
    assert jobs(clean) == [("test", "test-v1", 1), ("train", "as-released-v1", 2), ("train", "test-v1", 1)]
    (target,) = clean.targets
    assert target.n_views == 2
    assert target.validation.clean_id in {i for j in clean.jobs for i in j.ids if j.split.split == "train"}
    released = plan(study_of(tmp_path, transform={"train": "as-released", "views": 2, "val": "train"}))
    assert jobs(released) == [("test", "test-v1", 1), ("train", "as-released-v1", 2)]
    assert released.targets[0].validation.clean_id is None
    plain = plan(study_of(tmp_path, transform={}))
    assert jobs(plain) == [("test", "test-v1", 1), ("train", "test-v1", 1)]
    assert plain.targets[0].validation.clean_id is None


def test_a_validation_split_of_its_own_is_clean_unless_it_is_asked_as_the_training_rows(tmp_path):
    data = [{"name": "digits", "source": "sklearn:digits", "splits": {"train": "train", "test": "test", "val": "test"}}]
    measures = [{"measure": "accuracy"}]
    other = plan(study_of(tmp_path, datasets=data, measures=measures, transform={"train": "paper", "val": "train"}))
    assert jobs(other) == [("test", "paper-v1", 1), ("test", "test-v1", 1), ("train", "paper-v1", 1)]
    assert other.targets[0].validation.split_id is not None


def test_a_study_with_views_runs_and_reruns(tmp_path):
    study = study_of(tmp_path)
    assert run(study).ok
    rows = open_store(study.store).query("SELECT solver, protocol, n_neurons, accuracy FROM probes").to_pylist()
    assert len(rows) == 4
    assert all("clean" in r["protocol"] for r in rows if r["solver"] == "sgd")
    assert {r["solver"]: r["accuracy"] for r in rows if r["n_neurons"] == 96}["ridge"] > 0.9
    views = open_store(study.store).query("SELECT split, n_views FROM representations ORDER BY ALL").to_pylist()
    assert [(v["split"], v["n_views"]) for v in views] == [("test", 1), ("train", 1), ("train", 2)]
    assert run(study).n_results == 0


def test_views_of_a_transform_without_randomness_are_refused(tmp_path):
    with pytest.raises(InvalidStudy, match="no randomness"):
        study_of(tmp_path, transform={"views": 3})
