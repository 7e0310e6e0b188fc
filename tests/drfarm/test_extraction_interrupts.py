"""Ctrl-C while networks run in other processes: 130, a word of what to do, nothing left behind; and it goes on."""

import importlib
import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def nodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("nodes")


@pytest.fixture(scope="module")
def undisturbed(nodes, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = nodes.finished(nodes.start(folder, "extract", nodes.write_study(folder, pause_s=0.05)))
    assert code == 0, err
    return folder


@pytest.fixture
def twin(undisturbed, tmp_path) -> Path:
    return Path(shutil.copytree(undisturbed, tmp_path / "twin", ignore=shutil.ignore_patterns("store")))


def interrupt(nodes, command, folder: Path) -> None:
    """Press Ctrl-C when some chunks are there: a terminal sends it to the whole process group."""
    nodes.wait_until(lambda: nodes.n_chunks(folder / "store") >= 6)
    family = psutil.Process(command.pid).children(recursive=True)
    os.killpg(command.pid, signal.SIGINT)
    code, _, err = nodes.finished(command, timeout_s=60)
    assert code == 130, err
    assert "run the same command again" in err
    for unwanted in ("Traceback", "distributed", "Error", "Exception"):
        assert unwanted not in err, err
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_several_local_processes(nodes, undisturbed, twin):
    words = ("extract", "study.yaml", "--gpus", 2, "--device", "cpu")
    interrupt(nodes, nodes.start(twin, *words, apart=True), twin)
    assert 6 <= nodes.n_chunks(twin / "store") < 128
    code, _, err = nodes.finished(nodes.start(twin, *words))
    assert code == 0, err
    assert nodes.files(twin / "store") == nodes.files(undisturbed / "store")


def test_a_cluster_and_its_workers(nodes, undisturbed, twin):
    scheduler = nodes.start(twin, "scheduler", "--port", 0, apart=True)
    address = scheduler.stdout.readline().split()[-1]
    workers = nodes.start(twin, "worker", address, "--gpu", "--workers", 1, apart=True)
    assert "1 worker for" in workers.stdout.readline()
    words = ("extract", "study.yaml", "--scheduler", address, "--device", "cpu")
    interrupt(nodes, nodes.start(twin, *words, apart=True), twin)
    code, _, err = nodes.finished(nodes.start(twin, *words))
    assert code == 0, err
    assert nodes.files(twin / "store") == nodes.files(undisturbed / "store")
    for process in (workers, scheduler):
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        code, _, err = nodes.finished(process, timeout_s=60)
        assert (code, "Traceback" in err) == (130, False), err
        assert psutil.wait_procs(family, timeout=30)[1] == []
