"""Real faults in real processes: nothing is lost, doubled or changed, whatever is killed and whenever."""

import importlib
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from store import grid, open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PER_RUN = ("study", "elapsed_s", "batch_id")
"""Columns that tell of the run, not of the result."""


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("small_study")


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory) -> Path:
    """A study's folder, with a store that one run made from beginning to end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = small.Command("run", small.write_study(folder), "--workers", 2).finished()
    assert code == 0, err
    return folder


@pytest.fixture
def twin(undisturbed, tmp_path) -> Path:
    """A copy of the undisturbed study's folder, without its store."""
    shutil.copytree(undisturbed, tmp_path / "twin", ignore=shutil.ignore_patterns("store"))
    return tmp_path / "twin"


def files_below(folder: Path, pattern: str = "**/*") -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob(pattern) if p.is_file()}


def rows(store: Path) -> list[dict[str, Any]]:
    """Return every row of every results file, whatever is there twice, without what tells of the run."""
    results = open_store(str(store)).results
    found = [row for kind in ("probes", "cka") for row in results.dataset(kind).to_table().to_pylist()]
    return sorted(({k: v for k, v in r.items() if k not in PER_RUN} for r in found), key=lambda r: r["job_id"])


def assert_same(store: Path, reference: Path) -> None:
    """Hold a store against the undisturbed one: each byte of the features, each row of the results."""
    assert files_below(store / "features") == files_below(reference / "features")
    assert (store / "zarr.json").read_bytes() == (reference / "zarr.json").read_bytes()
    for pattern in ("*/chunks/*", "*/complete.json"):
        assert files_below(store / "ledger", pattern) == files_below(reference / "ledger", pattern)
    got, expected = rows(store), rows(reference)
    assert len({r["job_id"] for r in got}) == len(got)
    assert got == expected
    assert not open_store(str(store)).results.failures()


def assert_civil(err: str) -> None:
    """Hold that a person sees what the command says, and nothing of what it is made of."""
    for unwanted in ("Traceback", "distributed", "Warning", "Error", "asyncio", "tornado", "Exception", "leaked"):
        assert unwanted not in err, err


def n_chunks(store: Path) -> int:
    return len(list(store.glob("ledger/*/chunks/*.json")))


def n_batches(store: Path) -> int:
    return len(list(store.glob("results/*/*.parquet")))


def has(count: Callable[[Path], int], store: Path, least: float) -> Callable[[], bool]:
    return lambda: count(store) >= least


def kill_driver(command, moments: random.Random) -> None:
    """Kill the whole process group, or the driver alone; no process may outlive it."""
    command.family()
    if moments.random() < 0.5:
        os.killpg(command.pid, signal.SIGKILL)
    else:
        os.kill(command.pid, signal.SIGKILL)
    code, _, err = command.finished()
    assert code == -signal.SIGKILL
    assert_civil(err)
    assert command.orphans() == []


def kill_a_worker(command, moments: random.Random) -> bool:
    """Kill one worker at a random moment of the next half second; say whether one was there."""
    time.sleep(moments.uniform(0, 0.5))
    workers = command.workers()
    if not workers:
        return False
    try:
        moments.choice(workers).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def test_killed_at_twenty_random_moments_nothing_is_lost_doubled_or_changed(
    small, undisturbed, twin, drfarm, tmp_path, request
):
    reference = undisturbed / "store"
    all_chunks, all_batches = n_chunks(reference), n_batches(reference)
    assert all_chunks >= 4 * 4
    assert all_batches >= 6
    moments = random.Random(20)
    kills: Counter[str] = Counter()
    n_round = 0
    forker = small.forker(tmp_path)
    request.addfinalizer(forker.end)
    while kills.total() < 20 or kills["run, extracting"] < 4 or kills["run, probing"] < 2 or kills["worker"] < 8:
        n_round += 1
        folder = shutil.copytree(twin, tmp_path / f"round-{n_round}")
        store = folder / "store"

        def begin(folder: Path = folder):
            return small.Forked(forker, folder, "run", folder / "study.yaml", "--workers", 2)

        for number, share in enumerate(sorted(moments.uniform(0, 0.8) for _ in range(5))):
            # Once as a person starts it, with all imports.
            command = begin() if number else small.Command("run", folder / "study.yaml", "--workers", 2)
            assert small.wait_for(has(n_chunks, store, share * all_chunks), command)
            time.sleep(moments.uniform(0, 0.2))
            kill_driver(command, moments)
            kills["run, extracting" if len(list(store.glob("ledger/*/complete.json"))) < 4 else "run, probing"] += 1

        for share in (0.0, 0.25, 0.5):
            command = begin()
            if small.wait_for(has(n_batches, store, share * all_batches), command) and small.wait_for(
                command.workers, command
            ):
                for _ in range(3):
                    kills["worker"] += kill_a_worker(command, moments)
                time.sleep(moments.uniform(0, 0.5))
            if command.running() and n_batches(store) < all_batches:
                kill_driver(command, moments)
                kills["run, probing"] += 1
            else:
                assert command.finished()[0] in (0, 1)

        command = begin()
        small.wait_for(command.workers, command)
        while command.running() and n_batches(store) < all_batches and kills["worker"] < 14:
            kills["worker"] += kill_a_worker(command, moments)
        code, _, err = command.finished()
        assert_civil(err)
        while code == 1:  # the same batch was hit three times: it is named, and the next run tries it again
            assert "its worker process died" in err
            code, _, err = begin().finished()
        assert code == 0, err
        assert_same(store, reference)
        assert command.orphans() == []
        verified = drfarm("store", "verify", "--store", store)
        assert (verified.code, "0 are bad" in verified.out) == (0, True), verified.text
    print(f"kills: {dict(kills)} in {n_round} rounds")


def interrupt(command) -> None:
    """Press Ctrl-C: a terminal sends it to the whole process group."""
    command.family()
    os.killpg(command.pid, signal.SIGINT)
    began = time.monotonic()
    code, _, err = command.finished()
    assert code == 130
    assert time.monotonic() - began < 30
    assert_civil(err)
    assert "run the same command again" in err
    assert command.orphans() == []


def test_an_interrupted_extraction_is_civil_and_goes_on(small, undisturbed, twin, drfarm, monkeypatch):
    study, store = twin / "study.yaml", twin / "store"
    command = small.Command("extract", study)
    assert small.wait_for(has(n_chunks, store, 4), command)
    interrupt(command)
    made = files_below(store, "ledger/*/chunks/*")
    assert len(made) >= 4
    monkeypatch.setattr(grid, "TARGET_CHUNK_BYTES", small.CHUNK_BYTES)
    ran = drfarm("extract", study)
    assert ran.code == 0, ran.text
    assert int(re.search(r"([\d,]+) images went through a network", ran.err)[1].replace(",", "")) < 2 * 4000
    assert made.items() <= files_below(store, "ledger/*/chunks/*").items()
    assert files_below(store / "features") == files_below(undisturbed / "store/features")


def test_an_interrupted_farm_is_civil_and_goes_on(small, undisturbed, twin, drfarm):
    study, store = twin / "study.yaml", shutil.copytree(undisturbed / "store", twin / "store")
    for file in list(store.glob("results/*/*.parquet"))[6:]:
        file.unlink()
    command = small.Command("probe", study, "--workers", 2)
    assert small.wait_for(has(n_batches, store, 7), command)
    interrupt(command)
    before = files_below(store / "results")
    ran = drfarm("probe", study, "--workers", 2)
    assert ran.code == 0, ran.text
    assert before.items() <= files_below(store / "results").items()
    assert_same(store, undisturbed / "store")


def test_a_finished_study_starts_no_worker_and_computes_nothing(small, undisturbed, twin):
    store = shutil.copytree(undisturbed / "store", twin / "store")
    kept = [p for part in ("features", "ledger", "results") for p in (store / part).glob("**/*") if p.is_file()]
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in kept}
    command = small.Command("run", twin / "study.yaml")
    most = 0
    while command.running():
        most = max(most, len(command.family()))
        time.sleep(0.02)
    code, _, err = command.finished()
    assert (code, most) == (0, 0), err
    assert "nothing was left to do" in err
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in kept} == before
    assert n_batches(store) == n_batches(undisturbed / "store")


def test_two_runs_of_one_study_at_once_make_each_result_once(small, undisturbed, twin):
    study = twin / "study.yaml"
    both = [small.Command("run", study, "--workers", 1) for _ in range(2)]
    for command in both:
        code, _, err = command.finished()
        assert code == 0, err
        assert_civil(err)
    assert_same(twin / "store", undisturbed / "store")
