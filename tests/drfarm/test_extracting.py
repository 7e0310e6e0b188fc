"""The stage extract in one process: groups, shards, a network that fails, values beyond float16, what a plan tells."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from drfarm import space
from drfarm._show_plan import flop_text
from store import grid, open_store


@pytest.fixture(scope="module")
def nodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("nodes")


@pytest.fixture(autouse=True)
def _small(monkeypatch, nodes):
    monkeypatch.setattr(grid, "TARGET_CHUNK_BYTES", nodes.CHUNK_BYTES)


def write(nodes, folder: Path, *models, **changes) -> Path:
    found = {"models": list(models)} if models else {}
    return nodes.write_study(folder, n_train=300, n_test=100, **found, **changes)


def ids(store: Path) -> dict[tuple[str, str, str], tuple[str, bool]]:
    """Return dtype and completeness by model, layer and split."""
    catalogue = open_store(str(store)).features.catalogue()
    return {(i.key.model, i.key.layer, i.key.split): (i.key.dtype, i.complete) for i in catalogue}


def test_networks_that_see_the_same_images_run_together_and_each_group_is_told(nodes, tmp_path, drfarm):
    done = drfarm("extract", write(nodes, tmp_path), "--device", "cpu", "--decode-workers", 2, "--batch-size", 50)
    assert done.code == 0, done.text
    assert re.search(r"ash, birch / noise / train: 600 images at [\d,]+/s in .*batches of 50 on cpu", done.err)
    assert re.search(r"ash, birch / noise / test: 200 images at ", done.err)
    assert "extract: 800 of 800 images" in done.err
    quiet = drfarm("extract", tmp_path / "study.yaml", "--store", tmp_path / "other", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")


def test_a_network_that_fails_takes_no_other_with_it(nodes, tmp_path, drfarm):
    study = write(nodes, tmp_path, nodes.model("ash", 0), nodes.model("sick", 1, sick=True), nodes.model("oak", 2))
    done = drfarm("extract", study, "--batch-size", 64)
    assert done.code == 1
    assert "ash, sick, oak / noise / train failed together, so each is run by itself" in done.err
    assert done.err.count("failed: extract sick / noise / train: ") == 1
    assert "2 jobs failed; the rest is done." in done.err
    made = ids(tmp_path / "store")
    for model in ("ash", "oak"):
        for layer in ("low_act", "penultimate"):
            assert all(made[model, found, split][1] for *_, found, split in made if found == layer)
    assert not any(complete for (model, layer, _), (_, complete) in made.items() if (model, layer) == ("sick", "fc"))
    failures = open_store(str(tmp_path / "store")).results.failures()
    assert sorted(f["what"] for f in failures) == ["sick / noise / test", "sick / noise / train"]
    status = drfarm("status", study)
    assert "8 of 12 representations done, 2 failed" in status.out

    healed = write(nodes, tmp_path, nodes.model("ash", 0), nodes.model("oak", 2))
    assert "nothing was left to do" in drfarm("extract", healed).err


def test_values_beyond_float16_are_stored_in_float32_and_probed_and_a_rerun_does_nothing(nodes, tmp_path, drfarm):
    study = write(nodes, tmp_path, nodes.model("tall", 0, scale=1e6), nodes.model("ash", 1), dtype="float16")
    done = drfarm("run", study, "--workers", 1)
    assert done.code == 0, done.text
    assert "1 layer with values beyond float16, stored in float32" in done.err
    made = ids(tmp_path / "store")
    assert {(m, layer): dtype for (m, layer, _), (dtype, _) in made.items()} == {
        ("tall", next(la for m, la, _ in made if m == "tall" and la != "low_act")): "float32",
        ("tall", "low_act"): "float16",
        ("ash", "low_act"): "float16",
        ("ash", next(la for m, la, _ in made if m == "ash" and la != "low_act")): "float16",
    }
    assert all(complete for _, complete in made.values())
    store = open_store(str(tmp_path / "store"))
    tall = next(i for i in store.features.catalogue() if i.key.dtype == "float32")
    values = store.features.open(tall.key.id).numpy()
    assert values.max() > 65504
    assert np.isfinite(values).all()
    named = set(store.studies()[0]["representations"])
    assert named == {i.key.id for i in store.features.catalogue()}  # what gc keeps
    rows = store.results.dataset("cka").to_table().to_pylist()
    assert tall.key.id in {r["test_id"] for r in rows}

    again = drfarm("run", study, "--workers", 1)
    assert again.code == 0
    assert "nothing was left to do" in again.err
    assert "nothing is left to do" in drfarm("plan", study).out
    assert drfarm("store", "verify", "--store", tmp_path / "store").code == 0


def test_a_shard_says_what_is_complete_and_what_others_have_to_do(nodes, tmp_path, drfarm):
    study = write(nodes, tmp_path)
    first = drfarm("extract", study, "--shard", "1/2")
    assert first.code == 0, first.text
    left = int(re.search(r"shard 1/2: its part is done\. (\d+) chunks are still to be written by other", first.out)[1])
    assert "no representation is complete yet" in first.out
    n_all = 2 * 2 * (5 + 2)
    assert 0 < nodes.n_chunks(tmp_path / "store") == n_all - left < n_all
    assert drfarm("extract", study, "--shard", "1/2").code == 0
    assert nodes.n_chunks(tmp_path / "store") == n_all - left

    second = drfarm("extract", study, "--shard", "2/2")
    assert second.code == 0, second.text
    assert "shard 2/2: its part is done. No chunk of what it ran is left to other shards." in second.out
    assert second.out.count("\ncomplete: ") == 8
    assert "complete: ash / noise / train / low_act" in second.out
    assert nodes.n_chunks(tmp_path / "store") == n_all
    whole = drfarm("extract", study, "--store", tmp_path / "whole")
    assert whole.code == 0
    assert nodes.files(tmp_path / "store") == nodes.files(tmp_path / "whole")


def test_shards_of_a_representation_that_falls_back_end_like_one_run(nodes, tmp_path, drfarm):
    """The first shard writes float16 before the second finds out; then the first has a part of the float32 to write."""
    study = write(nodes, tmp_path, nodes.model("tall", 0, scale=1e6), dtype="float16")
    for shard in ("1/2", "2/2", "1/2", "2/2"):
        done = drfarm("extract", study, "--shard", shard)
        assert done.code == 0, done.text
    assert "nothing was left to do" in done.err
    assert drfarm("extract", study, "--store", tmp_path / "whole").code == 0
    got, expected = (
        {k: v for k, v in nodes.files(tmp_path / name).items() if "/float16/" not in k} for name in ("store", "whole")
    )
    assert ids(tmp_path / "store") == ids(tmp_path / "whole")
    assert {k: v for k, v in got.items() if k in expected} == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("extract", "--shard", "3"), "a shard has the form 3/16"),
        (("extract", "--shard", "3/2"), "shards of 2 are 1/2 to 2/2"),
        (("extract", "--shard", "0/2"), "shards of 2 are 1/2 to 2/2"),
        (("extract", "--shard", "1/2", "--scheduler", "tcp://127.0.0.1:1"), "Give one of them"),
        (("extract", "--shard", "1/2", "--gpus", "2"), "--gpus shares the work out by itself"),
        (("extract", "--scheduler", "tcp://127.0.0.1:1", "--gpus", "2"), "go to `drfarm worker`"),
        (("probe", "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"), "go to `drfarm worker`"),
        (("probe", "--scheduler", "tcp://127.0.0.1:1", "--probe-device", "cuda"), "--probe-device cuda is for a GPU"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words, message, nodes, tmp_path, drfarm):
    done = drfarm(words[0], write(nodes, tmp_path), *words[1:])
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "store").exists()


def test_a_plan_tells_work_chunks_and_time(nodes, tmp_path, drfarm):
    study = write(nodes, tmp_path)
    done = drfarm("plan", study)
    assert done.code == 0
    assert "extract  8 of 8 representations to make: 800 images to run" in done.out
    flop = 2 * (192 * 512 + 512 * 512 + 512 * 10) * 800
    assert (
        f"{flop_text(flop)}, {2 * 2 * (5 + 2)} chunks, 2 passes over images; predicted time: not known yet" in done.out
    )
    assert "warning" not in done.out

    assert drfarm("extract", study, "--device", "cpu").code == 0
    done = drfarm("plan", study)
    assert "extract  0 of 8 representations to make" in done.out
    assert "predicted time" not in done.out
    other = yaml.safe_load(study.read_text())
    other["models"][0]["weights"] = "random:7"
    study.write_text(yaml.safe_dump(other))
    done = drfarm("plan", study)
    assert "extract  4 of 8 representations to make: 400 images to run" in done.out
    assert re.search(r"14 chunks, 2 passes over images; predicted time: \d.* on one cpu", done.out)


def test_a_plan_warns_of_a_disk_that_would_fill(nodes, tmp_path, drfarm, monkeypatch):
    study = write(nodes, tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    done = drfarm("plan", study)
    assert done.code == 0
    assert "warning: " in done.out
    assert "0.00 GiB free, and the features need up to" in done.out
    refused = drfarm("extract", study)
    assert refused.code == 2
    assert "choose another store with --store" in refused.err


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 FLOP"), (999, "999 FLOP"), (1.234e15, "1.23 PFLOP"), (5e9, "5 GFLOP"), (3e30, "3e+09 ZFLOP")]
)
def test_operations_are_said_as_people_say_them(n, text):
    assert flop_text(n) == text


def test_gc_shows_first_and_removes_only_when_told(nodes, tmp_path, drfarm):
    study = write(nodes, tmp_path)
    assert drfarm("extract", study).code == 0
    raw = yaml.safe_load(study.read_text())
    raw["models"] = raw["models"][1:]
    study.write_text(yaml.safe_dump(raw))
    assert drfarm("extract", study).code == 0  # the same name: the study is another one now
    before = nodes.files(tmp_path / "store")
    shown = drfarm("store", "gc", "--store", tmp_path / "store")
    assert shown.code == 0, shown.text
    assert "ash" in shown.out
    assert nodes.files(tmp_path / "store") == before
    done = drfarm("store", "gc", "--store", tmp_path / "store", "--yes")
    assert done.code == 0, done.text
    assert re.search(r"\d+ removed, .* are free", done.out)
    assert {m for m, _, _ in ids(tmp_path / "store")} == {"birch"}
    assert "nothing is left to do" in drfarm("plan", study).out or "0 of 4 representations" in drfarm("plan", study).out


def test_models_and_datasets_list_what_can_be_named(tmp_path, drfarm):
    models = drfarm("models", "--weights-folder", tmp_path)
    assert (models.code, models.err) == (0, "")
    assert "wide_resnet50_2" in models.out
    assert str(tmp_path) in models.out
    datasets = drfarm("datasets", "--root", tmp_path)
    assert (datasets.code, datasets.err) == (0, "")
    assert "cifar10" in datasets.out
