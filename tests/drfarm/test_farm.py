"""The farm: what is in flight, what workers are like, what is tried again, and that none of it shows in results."""

import contextlib
import importlib
import json
import os
import pickle
import shutil
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from drfarm import blocks, running
from drfarm.errors import FarmFailed
from drfarm.farm import ATTEMPTS, FarmOptions, run_tasks
from probe import Names, ProbeSetting, ProbeTask, StatisticsTask, SubsetGroup, sgd_protocol
from store import InvalidRequest, grid, open_store

pytestmark = pytest.mark.slow

PER_RUN = ("study", "elapsed_s", "batch_id")
"""Columns that tell of the run, not of the result."""


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def work():
    return importlib.import_module("farm_work")


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("small_study")


def tasks_named(folder: Path, *names: str) -> list[ProbeTask]:
    """Make tasks that name no representation: what is done with them is up to ``work``."""
    setting = ProbeSetting(train_id="a" * 64, test_id="b" * 64, protocol=sgd_protocol("paper"), validation=None)
    return [
        ProbeTask(
            store_url=str(folder / "store"),
            names=Names(study=str(folder), model=name, layer="penultimate", dataset="d"),
            setting=setting,
            groups=(SubsetGroup(method="random", seed=1, sizes=(k,)),),
            predicted_s=1.0,
            predicted_bytes=1,
        )
        for k, name in enumerate(names, start=1)
    ]


class Told:
    """What the farm told."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failed: dict[str, tuple[str, int]] = {}
        self.retried: list[str] = []

    def run(self, tasks, work, n_workers: int = 2, more=None) -> "Told":
        run_tasks(
            tasks,
            FarmOptions(n_workers=n_workers),
            done=lambda t: self.done.append(t.batch_id),
            failed=lambda f: self.failed.update({f.task.names.model: (f.error, f.attempts)}),
            retried=lambda t, why: self.retried.append(f"{t.names.model}: {why}"),
            work=work,
            more=more,
        )
        return self


def tries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "tries.jsonl").read_text().splitlines()]


def workers_of_ours() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.ppid() != os.getpid():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("n_workers", [1, 2])
def test_each_worker_has_at_most_one_task_and_each_task_runs_once(tmp_path, work, n_workers):
    tasks = tasks_named(tmp_path, *["fine"] * 12)
    told = Told().run(tasks, work.note, n_workers)
    assert sorted(told.done) == sorted(t.batch_id for t in tasks)
    assert (told.failed, told.retried) == ({}, [])
    ran = sorted(tries(tmp_path), key=lambda t: t["began"])
    assert Counter(t["batch"] for t in ran) == Counter(told.done)
    assert 1 <= len({t["pid"] for t in ran}) <= n_workers
    assert os.getpid() not in {t["pid"] for t in ran}
    for pid in {t["pid"] for t in ran}:
        mine = [t for t in ran if t["pid"] == pid]
        assert all(a["ended"] <= b["began"] for a, b in pairwise(mine))


def test_tasks_start_in_the_order_in_which_they_are_given(tmp_path, work):
    tasks = tasks_named(tmp_path, *["fine"] * 6)
    Told().run(tasks, work.note, 1)
    assert [t["batch"] for t in tries(tmp_path)] == [t.batch_id for t in tasks]


def test_no_worker_outlives_the_farm(tmp_path, work):
    Told().run(tasks_named(tmp_path, "fine", "fine"), work.note)
    assert psutil.wait_procs(workers_of_ours(), timeout=20)[1] == []


def test_workers_have_one_thread_each_and_a_safe_path_whatever_the_shell_says(tmp_path, work, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    told = Told().run(tasks_named(tmp_path, "fine", "fine"), work.settings)
    assert len(told.done) == 2  # although each returned 50 MB: that stays where it is
    for found in tries(tmp_path):
        assert found["environment"] == dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
        )
        assert found["torch"] == 1
        assert found["safe"] == ["1", False]
    assert dict(os.environ) == before


def test_a_batch_that_kills_its_worker_is_tried_again_then_named_and_blames_no_other(tmp_path, work, capfd):
    tasks = tasks_named(tmp_path, "poison", *["fine"] * 8)
    told = Told().run(tasks, work.trouble)
    error, attempts = told.failed["poison"]
    assert attempts == ATTEMPTS
    assert "its worker process died" in error
    assert "--workers" in error
    assert list(told.failed) == ["poison"]
    assert [r.partition(":")[0] for r in told.retried] == ["poison"] * (ATTEMPTS - 1)
    assert sorted(told.done) == sorted(t.batch_id for t in tasks[1:])
    counted = Counter(t["batch"] for t in tries(tmp_path))
    assert counted == {tasks[0].batch_id: ATTEMPTS} | {t.batch_id: 1 for t in tasks[1:]}
    assert capfd.readouterr().err == ""


def test_what_may_pass_is_tried_again_and_what_can_t_is_given_up_at_once(tmp_path, work, capfd):
    tasks = tasks_named(tmp_path, "corrupt", "flaky", "bug", "wide", "fine")
    told = Told().run(tasks, work.trouble)
    assert told.failed["corrupt"] == ("the object c/0/1/0 is not what was written.", 1)
    assert told.failed["bug"] == ("ZeroDivisionError: division by zero", ATTEMPTS)
    assert set(told.failed) == {"corrupt", "bug", "wide"}
    assert sorted(told.done) == sorted([tasks[1].batch_id, tasks[4].batch_id])
    assert told.retried.count("flaky: the disk is full.") == 2
    counted = Counter(t["batch"] for t in tries(tmp_path))
    assert [counted[t.batch_id] for t in tasks] == [1, 3, ATTEMPTS, ATTEMPTS, 1]
    assert len(told.failed["wide"][0]) < 100_000
    assert capfd.readouterr().err == ""


def test_what_a_callback_raises_ends_the_farm_and_its_workers(tmp_path, work):
    def stop(task):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(
            tasks_named(tmp_path, *["fine"] * 4),
            FarmOptions(n_workers=2),
            done=stop,
            failed=print,
            retried=print,
            work=work.note,
        )
    assert len(tries(tmp_path)) < 4
    assert psutil.wait_procs(workers_of_ours(), timeout=20)[1] == []


def test_a_farm_without_a_living_worker_gives_up_and_says_so(tmp_path, work, monkeypatch):
    monkeypatch.setattr("drfarm.farm._local.PATIENCE_S", 0.0)
    with pytest.raises(FarmFailed, match=r"no worker process could be started.*run again"):
        Told().run(tasks_named(tmp_path, "fine"), work.note)


def test_workers_that_are_killed_as_they_start_are_replaced(tmp_path, work, capfd):
    killed: set[int] = set()

    def kill_the_first_four() -> None:
        until = time.monotonic() + 60
        while len(killed) < 4 and time.monotonic() < until:
            for worker in workers_of_ours()[: 4 - len(killed)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
                    killed.add(worker.pid)

    killer = threading.Thread(target=kill_the_first_four)
    killer.start()
    tasks = tasks_named(tmp_path, *["fine"] * 4)
    told = Told().run(tasks, work.note)
    killer.join()
    assert len(killed) == 4
    assert sorted(told.done) == sorted(t.batch_id for t in tasks)
    assert told.failed == {}
    assert capfd.readouterr().err == ""


def with_statistics(tasks) -> list[Any]:
    """Put before the tasks one that counts what they all read."""
    setting = tasks[0].setting
    counts = StatisticsTask(
        store_url=tasks[0].store_url,
        names=replace(tasks[0].names, model="slow"),
        representation_id=setting.train_id,
        validation=None,
        predicted_s=1.0,
        predicted_bytes=1,
    )
    need = (setting.train_id, "all")
    return [counts, *(replace(t, statistics=(need,)) for t in tasks)]


def test_a_task_starts_when_its_statistics_are_counted_and_others_do_not_wait(tmp_path, work):
    counts, *readers = with_statistics(tasks_named(tmp_path, "fine", "fine", "fine"))
    (other,) = [replace(t, statistics=()) for t in tasks_named(tmp_path, *["fine"] * 4)[3:]]
    told = Told().run([counts, *readers, other], work.note)
    assert sorted(told.done) == sorted(t.batch_id for t in (counts, *readers, other))
    ran = {t["batch"]: t for t in tries(tmp_path)}
    assert all(ran[r.batch_id]["began"] >= ran[counts.batch_id]["ended"] for r in readers)
    assert ran[other.batch_id]["began"] < ran[counts.batch_id]["ended"]


@pytest.mark.parametrize("trouble", ["corrupt", "poison", "flaky"])
def test_tasks_are_not_lost_where_their_statistics_fail(tmp_path, work, trouble):
    counts, *readers = with_statistics(tasks_named(tmp_path, "fine", "fine"))
    counts = replace(counts, names=replace(counts.names, model=trouble))
    told = Told().run([counts, *readers], work.trouble)
    assert {r.batch_id for r in readers} <= set(told.done)
    assert set(told.failed) == (set() if trouble == "flaky" else {trouble})
    ran = [t["batch"] for t in tries(tmp_path)]
    assert ran.index(readers[0].batch_id) >= ran.count(counts.batch_id)


def test_rounds_go_on_until_there_is_nothing_more(tmp_path, work):
    tasks = tasks_named(tmp_path, *["fine"] * 6)
    rounds = [tasks[:2], tasks[2:5], tasks[5:], []]
    left = iter(rounds[1:])
    told = Told().run(rounds[0], work.note, more=lambda: next(left))
    assert sorted(told.done) == sorted(t.batch_id for t in tasks)
    assert list(left) == []
    ended = {t["batch"]: i for i, t in enumerate(tries(tmp_path))}
    of_round = [{ended[t.batch_id] for t in r} for r in rounds if r]
    assert all(max(a) < min(b) for a, b in pairwise(of_round))


def test_no_task_no_farm():
    Told().run([], None)
    with pytest.raises(InvalidRequest, match="MiB"):
        run_tasks(
            tasks_named(Path(), "fine"), FarmOptions(memory_limit_bytes=0), done=print, failed=print, retried=print
        )


# What follows runs the command in this process, and its workers in theirs.


@pytest.fixture(scope="module")
def extracted(small, tmp_path_factory, drfarm) -> Path:
    """A folder with a study whose features are there, in several chunks, and no results."""
    folder = tmp_path_factory.mktemp("extracted")
    file = small.write_study(folder, n_train=1500, subsets={"n_neurons": [8, 64, 512], "seeds": [1, 2, 3]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "TARGET_CHUNK_BYTES", small.CHUNK_BYTES)
        ran = drfarm("extract", file)
    assert ran.code == 0, ran.text
    return folder


@pytest.fixture
def study(extracted, tmp_path, monkeypatch, small) -> Path:
    """The file of a fresh copy of it, whose blocks are small."""
    monkeypatch.setattr(blocks, "TARGET_S", small.BLOCK_S)
    return shutil.copytree(extracted, tmp_path / "copy") / "study.yaml"


def variant(study: Path, name: str, **changes: Any) -> Path:
    """Write another study beside this one, of another name and with other keys."""
    file = study.with_name(f"{name}.yaml")
    file.write_text(yaml.safe_dump({**yaml.safe_load(study.read_text()), "study": name, **changes}))
    return file


def rows(folder: Path) -> list[dict[str, Any]]:
    results = open_store(str(folder / "store")).results
    found = [row for kind in ("probes", "cka") for row in results.dataset(kind).to_table().to_pylist()]
    return sorted(({k: v for k, v in r.items() if k not in PER_RUN} for r in found), key=lambda r: r["job_id"])


@pytest.fixture(scope="module")
def expected(extracted, tmp_path_factory, drfarm) -> list[dict[str, Any]]:
    """The rows of one worker with blocks of the usual size."""
    folder = shutil.copytree(extracted, tmp_path_factory.mktemp("expected") / "copy")
    ran = drfarm("probe", folder / "study.yaml", "--workers", 1)
    assert ran.code == 0, ran.text
    assert len(list(folder.glob("store/results/probes/*.parquet"))) == 2
    found = rows(folder)
    assert len(found) == 2 * (3 * 3 + 3 * 3 + 3 * 3)
    assert any(0.15 < r["accuracy"] < 0.95 for r in found if "accuracy" in r)
    return found


def test_results_are_the_same_bits_for_any_workers_and_blocks(study, expected, drfarm, monkeypatch):
    monkeypatch.setattr(blocks, "MOST_S", 0.05)
    ran = drfarm("probe", study, "--workers", 2)
    assert ran.code == 0, ran.text
    assert len(list(study.parent.glob("store/results/probes/*.parquet"))) > 6
    assert rows(study.parent) == expected


def test_results_are_the_same_bits_for_a_study_measured_in_two_halves(study, expected, drfarm, small):
    half = variant(study, "half", subsets={"n_neurons": [64], "seeds": [1, 3]})
    assert drfarm("probe", half, "--workers", 2).code == 0
    first = rows(study.parent)
    assert 0 < len(first) < len(expected)
    ran = drfarm("probe", study, "--workers", 2)
    assert ran.code == 0, ran.text
    assert f"{len(expected) - len(first)} results were measured" in ran.err
    assert rows(study.parent) == expected


def test_two_studies_share_what_is_done(study, expected, drfarm):
    first = variant(study, "first", measures=[{"measure": "accuracy"}, {"measure": "cka_pair"}])
    assert drfarm("probe", first, "--workers", 2).code == 0
    n_first = len(rows(study.parent))
    before = {p: p.stat().st_mtime_ns for p in study.parent.glob("store/results/*/*")}
    ran = drfarm("run", study, "--workers", 2)
    assert ran.code == 0, ran.text
    assert f"{len(expected) - n_first} results were measured" in ran.err
    assert "\n0 images went through a network" in ran.err
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert rows(study.parent) == expected


def test_a_poisoned_batch_is_quarantined_named_and_cleared_once_it_is_healed(
    study, expected, drfarm, work, monkeypatch
):
    monkeypatch.setattr(running, "run_task", work.poisoned)
    cause = study.parent / "cause"
    cause.touch()
    ran = drfarm("probe", study, "--workers", 2)
    assert ran.code == 1
    assert "2 jobs failed; the rest is done." in ran.err
    for model in ("ash", "birch"):
        assert (
            f"failed after 3 attempts: 3 sgd probes of {model}/penultimate on noise, random, seeds 2: its worker"
            in ran.err
        )
    assert sorted(Counter((study.parent / "tries").read_text().split()).values()) == [ATTEMPTS, ATTEMPTS]
    assert len(rows(study.parent)) == len(expected) - 2 * 3
    status = drfarm("status", study)
    assert status.code == 0
    assert "2 failed" in status.out
    assert "failed: 3 sgd probes of ash/penultimate on noise, random, seeds 2: its worker process died" in status.out

    assert drfarm("probe", study, "--workers", 2).code == 1  # tried again, and counted anew
    assert sorted(Counter((study.parent / "tries").read_text().split()).values()) == [2 * ATTEMPTS] * 2

    cause.unlink()
    ran = drfarm("probe", study, "--workers", 2)
    assert ran.code == 0, ran.text
    assert "6 results were measured" in ran.err
    assert "failed" not in drfarm("status", study).out
    assert rows(study.parent) == expected


def test_a_flipped_bit_fails_its_jobs_at_once_by_name_and_is_healed(study, expected, drfarm):
    chunk = min(study.parent.glob("store/features/birch/noise/train/penultimate/*/activations/c/0/2/0"))
    good = chunk.read_bytes()
    chunk.write_bytes(good[:999] + bytes([good[999] ^ 1]) + good[1000:])
    ran = drfarm("probe", study, "--workers", 2)
    assert ran.code == 1
    assert sum(line.startswith("failed: ") for line in ran.err.splitlines()) == 3
    assert "attempts" not in ran.err
    assert "trying again" not in ran.err
    assert str(chunk.relative_to(study.parent / "store")) in ran.err
    assert len(rows(study.parent)) == len(expected) - 3 * 3
    status = drfarm("status", study)
    assert "3 failed" in status.out
    assert "is not what was written" in status.out

    assert drfarm("store", "verify", "--store", study.parent / "store", "--discard").code == 1
    ran = drfarm("run", study, "--workers", 2)
    assert ran.code == 0, ran.text
    assert chunk.read_bytes() == good
    assert "failed" not in drfarm("status", study).out
    assert rows(study.parent) == expected


def test_what_goes_to_a_worker_and_what_comes_back_are_small(study, drfarm, monkeypatch):
    sent = []

    def watched(tasks, options, **callbacks):
        sent.extend(tasks)
        return run_tasks(tasks, options, **callbacks)

    monkeypatch.setattr(running, "run_tasks", watched)
    assert drfarm("probe", study, "--workers", 2).code == 0
    assert len(sent) >= 6
    assert max(len(pickle.dumps(t)) for t in sent) < 64 * 1024
