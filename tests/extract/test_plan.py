import pickle
from dataclasses import replace

import pytest

from extract import (
    DatasetSpec,
    ExtractOptions,
    LayerSpec,
    SplitPass,
    TransformSpec,
    combine_jobs,
    describe_model,
    describe_split,
    plan_extraction,
)
from store import InvalidRequest, UnknownName


@pytest.fixture
def described(toys, digits):
    return describe_model(toys("Plain"), [LayerSpec(), LayerSpec(layer="act")]), describe_split(digits, "test")


def test_a_job_is_a_model_and_a_split_with_all_its_layers(toys, digits):
    models = [toys("Plain"), toys("Plain", name="other", weights="random:1")]
    jobs = plan_extraction(models, [digits], [LayerSpec(), LayerSpec(layer="conv")], ExtractOptions(dtype="float16"))
    assert [j.name for j in jobs] == [f"{m} / digits / {s}" for m in ("Plain", "other") for s in ("train", "test")]
    assert [p.key.layer for p in jobs[0].layers] == ["penultimate", "conv"]
    assert [p.key.pool for p in jobs[0].layers] == ["none", "avg"]
    assert jobs[0].n_samples == 1200
    assert jobs[0].n_bytes == 1200 * (6 + 6) * 2
    assert len({i for j in jobs for i in j.ids}) == 8


def test_the_key_holds_what_decides_the_values(described):
    model, split = described
    (job,) = combine_jobs([model], [SplitPass(split=split)])
    key = job.layers[0].key
    assert (key.architecture, key.weights) == ("python:toy_networks:Plain", model.weights)
    assert (key.transform, key.transform_seed, key.n_views, key.dtype) == ("test-v1", None, 1, "float32")
    assert (key.mean, key.std, key.input_size) == ((0.5,) * 3, (0.5,) * 3, 8)
    assert key.dataset_fingerprint == split.fingerprint


def test_ids_change_with_what_decides_the_values_and_with_nothing_else(described):
    model, split = described
    base = combine_jobs([model], [SplitPass(split=split)])[0].ids

    def ids(model=model, split=split, **settings):
        return combine_jobs([model], [SplitPass(split=split)], **settings)[0].ids

    assert ids(model=replace(model, spec=replace(model.spec, name="other"))) == base
    assert ids(split=replace(split, spec=replace(split.spec, name="other"))) == base
    for other in (
        ids(model=replace(model, spec=replace(model.spec, arguments={"num_classes": 3}))),
        ids(model=replace(model, weights="0" * 64)),
        ids(model=replace(model, mean=(0.4,) * 3)),
        ids(model=replace(model, input_size=9)),
        ids(split=replace(split, fingerprint="0" * 64)),
        ids(split=replace(split, split="train")),
        ids(dtype="float16"),
    ):
        assert not set(other) & set(base)


def test_combining_is_pure_and_jobs_travel(described):
    model, split = described
    jobs = combine_jobs([model], [SplitPass(split=split)])
    assert combine_jobs([model], [SplitPass(split=split)]) == jobs
    data = pickle.dumps(jobs[0])
    assert pickle.loads(data) == jobs[0]
    assert len(data) < 4096


def test_a_split_of_two_roles_is_extracted_once(toys):
    data = DatasetSpec(name="d", source="sklearn:digits", splits={"val": "test", "test": "test"})
    assert len(plan_extraction([toys("Plain")], [data], [LayerSpec()], ExtractOptions())) == 1


def test_refusals_at_plan_time(toys, digits):
    with pytest.raises(UnknownName, match="no transform 'papre'"):
        plan_extraction(
            [toys("Plain")], [digits], [LayerSpec()], ExtractOptions(), transform=TransformSpec(name="papre")
        )
    with pytest.raises(InvalidRequest, match="no layers were asked for"):
        plan_extraction([toys("Plain")], [digits], [], ExtractOptions())
