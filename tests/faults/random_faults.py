"""Hundreds of random faults: kills, stops, full disks and memory limits, several to a run, and every run ends the same.

DRFARM_FAULT_MINUTES says for how long (60), DRFARM_FAULTS after how many faults to stop earlier, DRFARM_FAULT_SEED
which ones; DRFARM_FAULT_REPORT names a file for the counts (JSON). Two farms are hit side by side: worker processes of
the driver, and a cluster of services.
"""

import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from _faulty_farms import ClusterFarm, LocalFarm
from _faulty_kinds import KINDS
from _faulty_runs import FaultyRun, remove
from _faulty_start import Reference, counts, make_reference

MINUTES = float(os.environ.get("DRFARM_FAULT_MINUTES", "60"))
LEAST = 300
"""Faults of the full time."""

pytestmark = pytest.mark.timeout(MINUTES * 60 + 1800)


@pytest.fixture(scope="module")
def folder():
    """A folder with a short name: the temporary folders of the runs are in it, and sockets are in those."""
    made = Path(tempfile.mkdtemp(prefix="faults-"))
    yield made
    if not list(made.glob("*/run-*")):  # those of runs with problems are kept, to be looked at
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def reference(folder):
    (folder / "reference").mkdir()
    with make_reference(folder / "reference") as made:
        yield made


class Lane(threading.Thread):
    """Runs on one farm, one after the other, until the time is over."""

    def __init__(self, farm: type, reference: Reference, seed: int, folder: Path, until: float, enough: int) -> None:
        super().__init__(name=farm.name)
        self._farm, self._reference, self._seed, self._folder = farm, reference, seed, folder
        self._until, self._enough = until, enough
        self.faults: list[Counter] = []
        """Of each run."""
        self.problems: list[str] = []

    def run(self) -> None:
        try:
            self._run()
        except Exception as e:  # noqa: BLE001 - told by the thread that waits for this one
            self.problems.append(f"{self.name}: the harness itself fails: {e!r}")

    def _run(self) -> None:
        farm = self._farm(self._reference.commands, self._folder / "farm")
        try:
            while time.monotonic() < self._until and sum(map(Counter.total, self.faults)) < self._enough:
                n = len(self.faults)
                moments = random.Random(f"{self._seed} {self.name} {n}")
                folder = self._folder / f"run-{n}"
                run = FaultyRun(self._reference, farm, folder, moments)
                kinds = {name: weight for name, (_, weight) in KINDS.items()}
                outcome = run.disturb(moments.randrange(8, 17), kinds)
                self.faults.append(outcome.faults)
                self.problems += [f"{self.name} run {n} (seed {self._seed}): {p}" for p in outcome.problems]
                for line in (f"{self.name} run {n}: {outcome.faults.total()} faults", *outcome.told):
                    print(line, flush=True)
                if not outcome.problems:
                    remove(folder)
        finally:
            farm.end()
            self.problems += farm.problems


def test_every_run_ends_as_if_nothing_had_happened(reference, folder):
    seed = int(os.environ.get("DRFARM_FAULT_SEED") or random.SystemRandom().randrange(10**6))
    enough = int(os.environ.get("DRFARM_FAULTS", 10**6))
    print(f"seed {seed}; again: DRFARM_FAULT_SEED={seed}")
    began = time.monotonic()
    lanes = [
        Lane(farm, reference, seed, folder / farm.name, began + MINUTES * 60, -(-enough // 2))
        for farm in (LocalFarm, ClusterFarm)
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    told = counts([run for lane in lanes for run in lane.faults])
    problems = [p for lane in lanes for p in lane.problems]
    report = {
        "seed": seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "runs": {lane.name: len(lane.faults) for lane in lanes},
        "faults": told,
        "problems": problems,
    }
    if "DRFARM_FAULT_REPORT" in os.environ:
        Path(os.environ["DRFARM_FAULT_REPORT"]).write_text(json.dumps(report, indent=1), encoding="utf-8")
    print(f"{'kind':50} |    n | runs", *(f"{k:50} | {v['n']:4} | {v['runs']:4}" for k, v in told.items()), sep="\n")
    print(f"in {report['minutes']} minutes, {report['runs']} runs, seed {seed}")
    assert not problems, "\n\n".join(problems)
    total = sum(v["n"] for v in told.values())
    assert total >= min(LEAST * min(1.0, MINUTES / 60), enough) * 0.9
    assert all(v["n"] for v in told.values()) or MINUTES < 30
