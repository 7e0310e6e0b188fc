"""A few random faults, each time others, as `make faults` throws them by the hundred: the store ends the same."""

import importlib
import random
import tempfile
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for survivors in /proc"),
]

KINDS = {"worker killed": 3.0, "driver killed": 1.0, "worker stopped for seconds": 2.0, "fork server killed": 1.0}
"""Those that need no rights and no waiting."""


@pytest.fixture(scope="module")
def faulty():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "faults"))
        yield {name: importlib.import_module(f"_faulty_{name}") for name in ("checks", "start", "farms", "runs")}


@pytest.fixture(scope="module")
def folder():
    """A folder with a short name: the temporary folder of the runs is in it, and sockets are in that."""
    with tempfile.TemporaryDirectory(prefix="faulty-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def reference(faulty, folder):
    (folder / "reference").mkdir()
    with faulty["start"].make_reference(folder / "reference", networks=["ash"], n_seeds=2, small_disks=False) as made:
        yield made


def test_a_handful_of_random_faults_leaves_what_an_undisturbed_run_leaves(faulty, reference, folder):
    """Runs that a fast machine ended before the first fault came prove nothing: another follows."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    farm = faulty["farms"].LocalFarm(reference.commands, folder)
    n_faults = 0
    for n in range(20):
        run = faulty["runs"].FaultyRun(reference, farm, folder / f"run-{n}", random.Random(f"{seed} {n}"))
        outcome = run.disturb(5, KINDS)
        print(*outcome.told, sep="\n")
        assert outcome.problems == []
        n_faults += outcome.faults.total()
        if n_faults >= 3:
            break
    assert n_faults >= 3


def test_what_is_not_the_same_is_told(faulty, reference, tmp_path):
    store = tmp_path / "store"
    reference.copy_features(store)
    chunk = next(store.glob("features/**/c/0/0/0"))
    chunk.write_bytes(chunk.read_bytes()[::-1])
    next(store.glob("ledger/*/complete.json")).unlink()
    told = " ".join(faulty["checks"].differences(store, reference.expected))
    assert "has other bytes" in told
    assert "complete.json is missing" in told
    assert "probes differ: 0 rows" in told
