"""How extraction is split into tasks: sizes, small pickles, each chunk once; and which processes run on a machine."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drfarm import extraction_tasks
from drfarm.extraction_tasks import n_shards, one_by_one, plan_extraction_tasks
from drfarm.farm import FarmOptions, check_address, gpu_places, gpus
from drfarm.planned_chunks import n_blocks, n_chunks, planned_grid
from extract import (
    DatasetSpec,
    ExtractionJob,
    ExtractOptions,
    ModelDescription,
    ModelSpec,
    ResolvedLayer,
    Shard,
    SplitDescription,
    SplitPass,
    TransformSpec,
    combine_jobs,
)
from extract.shards import block_rows, owned_cells
from store import InvalidRequest

MOST_TASK_BYTES = 64 * 1024


def jobs(
    *, n_samples: int = 50_000, widths=(512,), n_models: int = 1, n_layers: int = 1, n_classes: int = 10, views: int = 1
) -> tuple[ExtractionJob, ...]:
    models = [
        ModelDescription(
            spec=ModelSpec(name=f"m{m}", source="timm:resnet18", weights="random:0", arguments={"number": m}),
            weights=f"{m:064x}",
            input_size=224,
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            layers=tuple(
                ResolvedLayer(name=f"block.{i}.{w}", module=f"block.{i}.{w}", side="output", pool="avg", width=w)
                for i in range(n_layers)
                for w in widths
            ),
            flop=1e9,
            n_parameters=1000,
        )
        for m in range(n_models)
    ]
    split = SplitDescription(
        spec=DatasetSpec(name="d", source="folder:/images", splits={"train": "train"}),
        split="train",
        fingerprint="a" * 64,
        manifest="b" * 64,
        n_samples=n_samples,
        n_bytes=1,
        classes=tuple(f"a class with a rather long name, number {i}" for i in range(n_classes)),
    )
    name = "test" if views == 1 else "paper"
    return combine_jobs(models, [SplitPass(split=split, transform=TransformSpec(name=name, views=views))])


def plan(*groups):
    return plan_extraction_tasks(groups, "/store", ExtractOptions())


def test_a_task_has_some_twenty_to_fifty_thousand_forwards():
    for n in (1, 5_000, 49_000, 60_000, 200_000, 1_281_167):
        count = n_shards(jobs(n_samples=n, widths=(2048,)))
        assert count >= 1
        if n >= 60_000:
            assert 20_000 <= n / count <= 50_000
    for n_models in (2, 10, 31):
        tasks = plan(jobs(n_samples=50_000, n_models=n_models))
        assert all(15_000 <= t.n_forwards <= 51_000 for t in tasks), [t.n_forwards for t in tasks]
        assert sum(t.n_forwards for t in tasks) == pytest.approx(n_models * 50_000)


def test_there_are_no_more_shards_than_blocks_of_chunks(monkeypatch):
    monkeypatch.setattr(extraction_tasks, "FORWARDS_PER_TASK", 10)
    group = jobs(n_samples=5_000, widths=(512, 2048))
    # 16 MiB: 8,192 rows of 512 float32 would fit, and all 5,000 are one chunk, which stays together
    assert (n_blocks(group), n_shards(group)) == (1, 1)
    group = jobs(n_samples=5_000, widths=(2048,))
    assert (n_blocks(group), n_shards(group)) == (3, 3)
    assert n_chunks(group) == 3


@given(
    n_samples=st.integers(1, 20_000),
    widths=st.lists(st.sampled_from([64, 512, 4096, 50_000]), min_size=1, max_size=3, unique=True),
    n_models=st.integers(1, 3),
    views=st.integers(1, 3),
    per_task=st.integers(1, 30_000),
)
def test_every_chunk_belongs_to_exactly_one_task(n_samples, widths, n_models, views, per_task):
    group = jobs(n_samples=n_samples, widths=tuple(widths), n_models=n_models, views=views)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction_tasks, "FORWARDS_PER_TASK", per_task)
        tasks = plan(group)
    for job in group:
        grids = [planned_grid(job, layer) for layer in job.layers]
        rows = block_rows(grids)
        for layer, grid in zip(job.layers, grids, strict=True):
            owned = [
                cell
                for task in tasks
                if layer.key.id in task.ids
                for cell in owned_cells(grid, task.shard, block_rows=rows, offset=7)
            ]
            assert sorted(owned) == grid.cells()
    assert sum(t.n_forwards for t in tasks) == pytest.approx(sum(j.n_forwards for j in group))
    assert len({t.batch_id for t in tasks}) == len(tasks)


@pytest.mark.parametrize(
    "given",
    [
        {"n_models": 31},
        {"n_models": 200},
        {"n_models": 31, "n_classes": 21_843},
        {"n_models": 3, "n_layers": 400},
    ],
    ids=["paper", "many networks", "many classes", "many layers"],
)
def test_a_task_is_small_and_nothing_is_left_out(given):
    group = jobs(**given)
    tasks = plan(group)
    assert max(len(pickle.dumps(t)) for t in tasks) < MOST_TASK_BYTES
    assert pickle.loads(pickle.dumps(tasks[0])) == tasks[0]
    planned = [i for t in tasks if t.shard.index == 0 for i in t.ids]
    assert sorted(planned) == sorted(i for j in group for i in j.ids)
    for task in tasks:
        for job in task.jobs:
            assert job.model.layers == tuple(p.layer for p in job.layers)


def test_networks_of_a_group_share_its_tasks_where_there_are_blocks_enough():
    tasks = plan(jobs(n_models=31, widths=(4096,)))
    assert len({t.ids for t in tasks}) == 1  # one decode for all of the paper's networks
    tasks = plan(jobs(n_models=31, n_samples=5_000))  # one block: the networks are spread instead
    assert len({t.ids for t in tasks}) == len(tasks) == 4


def test_identity_is_what_is_made_and_not_how(tmp_path):
    a, b = plan(jobs(n_samples=100))[0], plan(jobs(n_samples=100, n_models=2))[0]
    assert a.batch_id != b.batch_id
    assert a.batch_id == replace(a, store_url="/elsewhere", python_path=tmp_path).batch_id
    assert a.batch_id != replace(a, shard=Shard(index=1, count=2)).batch_id
    assert a.title == "extract m0 / d / train"
    assert replace(b, shard=Shard(index=1, count=2)).title == "extract m0, m1 / d / train, shard 2/2"
    alone = one_by_one(replace(b, shard=Shard(index=1, count=2)))
    assert [t.title for t in alone] == ["extract m0 / d / train, shard 2/2", "extract m1 / d / train, shard 2/2"]


@pytest.fixture
def _gpus(monkeypatch):
    monkeypatch.setattr(gpus, "count_gpus", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def seen(places) -> list[str | None]:
    assert all(p.resources == {"GPU": 1} for p in places)
    assert all(p.environment["PYTHONSAFEPATH"] == "1" for p in places)
    return [p.environment.get("CUDA_VISIBLE_DEVICES") for p in places]


@pytest.mark.usefixtures("_gpus")
def test_each_process_sees_one_gpu(monkeypatch):
    assert seen(gpu_places(None)) == ["0", "1", "2", "3"]
    assert seen(gpu_places(2)) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8f2a,7,2")
    assert seen(gpu_places(3)) == ["5", "GPU-8f2a", "7"]
    assert all("OMP_NUM_THREADS" not in p.environment for p in gpu_places(None))
    with pytest.raises(InvalidRequest, match="5 GPUs are asked for, and torch sees 4"):
        gpu_places(5)


@pytest.mark.usefixtures("_gpus")
def test_on_the_cpu_processes_share_the_cores(monkeypatch):
    assert gpu_places(None, device="cpu") == ()
    places = gpu_places(2, device="cpu")
    assert seen(places) == [None, None]
    from dask.system import CPU_COUNT

    assert {p.environment["OMP_NUM_THREADS"] for p in places} == {str(max(1, CPU_COUNT // 2))}
    monkeypatch.setattr(gpus, "count_gpus", lambda: 0)
    assert gpu_places(None) == ()
    assert seen(gpu_places(3, without_gpu=True)) == [None] * 3
    with pytest.raises(InvalidRequest, match="3 GPUs are asked for, and torch sees 0"):
        gpu_places(3)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "tls://node-7.cluster:1", "tcp://[::1]:65535", "tcp://node-7.cluster:1"]
)
def test_an_address_of_a_scheduler(address):
    assert check_address(address) == address
    tls = Path("certs") if address.startswith("tls") else None
    assert FarmOptions(scheduler=address, tls=tls, insecure=tls is None).scheduler == address


@pytest.mark.parametrize(
    "address", ["", "node:8786", "http://node:8786", "tcp://node", "tcp://node:0", "tcp://n:70000"]
)
def test_what_is_no_address(address):
    with pytest.raises(InvalidRequest, match=r"tcp://HOST:PORT or tls://HOST:PORT, got"):
        FarmOptions(scheduler=address)
