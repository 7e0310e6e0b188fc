"""One run of a study under several random faults: hit, started again, resumed undisturbed, and checked."""

import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from _faulty_checks import UNWANTED, Expected, differences, half_made, n_made
from _faulty_commands import Command, seen, tell
from _faulty_farms import ClusterFarm, LocalFarm
from _faulty_kinds import KINDS
from _faulty_start import Reference

MOST_S = 600.0
"""A run that takes longer hangs."""
STALL_S = 8.0
"""When nothing was made for so long, the next fault comes all the same."""
LULL_S = 4.0
"""A fault waits so long for somebody whom it can hit."""
BURSTS = (1, 1, 1, 1, 2, 3)
"""How many faults come at once."""
SHARE_OF_PROBING = 0.5
"""Of the runs, so many begin with all features."""
MOST_TRIES = 4
"""So often is a study run again whose batches were given up."""
HEALED_S = 150.0
"""A cluster is whole again so soon after the last fault: a worker that hangs unseen is replaced after 90 s."""
LACKS_WORKERS = 2
"""How a driver ends, at once, whose cluster or disk is not there."""
ENDS = {0, 1, LACKS_WORKERS}
"""How a driver may end that nobody killed: done, some jobs failed, or its cluster or disk was not there."""


@dataclass
class Outcome:
    """What became of a run."""

    faults: Counter = field(default_factory=Counter)
    """How many of each kind hit."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the product, in words."""
    told: list[str] = field(default_factory=list)
    """What happened, moment by moment."""
    n_drivers: int = 0
    """Drivers that were started."""


class FaultyRun:
    """A run, and what faults need to know of it."""

    def __init__(
        self, reference: Reference, farm: LocalFarm | ClusterFarm, folder: Path, moments: random.Random
    ) -> None:
        self._reference, self._farm, self._folder = reference, farm, folder
        self.moments = moments
        self.outcome = Outcome()
        self.disk: Path | None = None
        self._store = folder / "store"
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._doomed: list[tuple[float, int]] = []
        self._drivers: list[Command] = []
        self._began = time.monotonic()

    @property
    def parts(self) -> dict[str, Command]:
        return self._farm.parts

    @property
    def driver(self) -> Command:
        return self._drivers[-1]

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + seconds, action))

    def doomed(self, pid: int, within_s: float) -> bool:
        if any(pid == known for _, known in self._doomed):
            return False
        self._doomed.append((time.monotonic() + within_s, pid))
        self._tell(f"{pid} is to take more memory than it may")
        return True

    def disturb(self, n_faults: int, kinds: Mapping[str, float]) -> Outcome:
        """Run the study under so many faults; resume; hold it against the undisturbed run."""
        self._folder.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            stack.callback(self._clean)
            if self._reference.disk_bytes is not None:
                self.disk = stack.enter_context(small_disk(self._folder / "disk", self._reference.disk_bytes))
                self._store = self.disk / "store"
            if self.moments.random() < SHARE_OF_PROBING:
                self._reference.copy_features(self._store)
            try:
                self._start()
                while self.outcome.faults.total() < n_faults:
                    self._wait_for_a_moment()
                    if self._done:
                        self._tell("done before all faults came")
                        break
                    for _ in range(self.moments.choice(BURSTS)):
                        self._throw(kinds)
                self._heal()
                self._resume()
                self._check(self._reference.expected)
            except TimeoutError as e:
                self._problem(f"it hangs: {e}")
        self.outcome.problems += self._farm.problems
        self._farm.problems = []
        return self.outcome

    def _start(self) -> None:
        self._until(self._farm.keep, "the cluster is not ready")
        out = self._folder / f"driver-{len(self._drivers):02d}.txt"
        words = self._farm.words(self._stage())
        command = (words[0], self._reference.study, "--store", self._store, *words[1:])
        self._drivers.append(self._reference.commands.start(*command, out=out, temporary=self._folder / "tmp"))
        self._tell(f"driver {len(self._drivers) - 1} starts: {words[0]}")
        self.outcome.n_drivers += 1

    def _stage(self) -> str:
        """Say which command a person would give now; ``run`` is always right, and draws figures, which takes long."""
        if self.moments.random() < 0.2:
            return "run"
        complete = len(list(self._store.glob("ledger/*/complete.json")))
        return "probe" if complete == self._reference.n_representations else self.moments.choice(["extract", "run"])

    @property
    def _done(self) -> bool:
        """Whether the whole study is done, as a driver says that ended by itself."""
        return self.driver.code == 0 and self.driver.words[0] != "extract"

    def _wait_for_a_moment(self) -> None:
        """Wait until some more is made, mostly; a little longer; and until a driver is there to be hit."""
        least = n_made(self._store) + (self.moments.randrange(1, 6) if self.moments.random() < 0.7 else 0)
        stalled = time.monotonic() + STALL_S
        self._until(
            lambda: n_made(self._store) >= least or time.monotonic() > stalled or self.driver.code is not None,
            "nothing is made",
        )
        until = time.monotonic() + self.moments.uniform(0, 0.5)
        self._until(lambda: time.monotonic() > until, "time stands still")
        if self.driver.code is not None and not self._done:
            self._look_back()
            self._start()

    def _throw(self, kinds: Mapping[str, float]) -> None:
        """Hit with one fault; where nobody is there yet for its kind, wait a while, then draw another."""
        names = [k for k in kinds if k not in self._farm.lacks]
        for _ in range(10):
            name = self.moments.choices(names, [kinds[k] for k in names])[0]
            waited = time.monotonic() + LULL_S
            hit = False

            def tried(name: str = name, waited: float = waited) -> bool:
                nonlocal hit
                hit = self.driver.code is None and KINDS[name][0](self)
                return hit or time.monotonic() > waited or self.driver.code is not None

            self._until(tried, f"no {name}")
            if hit:
                self.outcome.faults[name] += 1
                self._tell(f"{name}, with {n_made(self._store)} made")
                time.sleep(0.03)
                return
            if self.driver.code is not None:
                return

    def _heal(self) -> None:
        """End what faults last; let the driver end."""
        for _, action in self._later:
            action()
        self._later.clear()
        self._until(lambda: self.driver.code is not None, f"{self.driver} does not end after all faults are over")
        self._look_back()

    def _resume(self) -> None:
        """Run it again, undisturbed, until it is done; batches that were given up are tried again."""
        done = self._done
        if done and self.moments.random() < 0.7:
            return
        n_tries, until = 0, time.monotonic() + HEALED_S
        while n_tries < MOST_TRIES:
            self._start()
            self._until(lambda: self.driver.code is not None, f"{self.driver} does not end, undisturbed")
            self._look_back()
            if done and "nothing was left to do" not in self.driver.said:
                self._problem(f"a run that said it was done was not: {self.driver.said[-1500:]}")
            if self._done:
                return
            if self.driver.code == LACKS_WORKERS and time.monotonic() < until:
                pause = time.monotonic() + 5
                self._until(lambda pause=pause: time.monotonic() > pause, "time stands still")
            else:
                n_tries += 1
        self._problem(f"undisturbed, it still ends with {self.driver.code}: {self.driver.said[-1500:]}")

    def _check(self, expected: Expected) -> None:
        for problem in differences(self._store, expected):
            self._problem(problem)
        if half_made(self._store):
            self._run_and_expect("removed", "store", "gc", "--yes", "--store", self._store)
            self.outcome.problems += [f"{name} is left after gc" for name in half_made(self._store)]
        self._run_and_expect("0 are bad", "store", "verify", "--store", self._store)
        for driver in self._drivers:
            for alive in driver.survivors():
                self._problem(
                    f"{driver} is dead ({driver.code}), and {alive.words!r} ({alive.state}) still lives: "
                    f"{alive.where_it_is()}\n{driver.said[-3000:]}"
                )
        left = sorted(p.name for p in (self._folder / "tmp").iterdir())
        self._tell(f"left in its temporary folder: {left}")

    def _run_and_expect(self, expected: str, *words: object) -> None:
        command = self._reference.commands.start(
            *words, out=self._folder / f"{words[1]}.txt", temporary=self._folder / "tmp"
        )
        if command.finished(60) or expected not in command.said:
            self._problem(f"{command}: {command.code}, {command.said[-1500:]}")

    def _look_back(self) -> None:
        """See how a driver ended, and what it said."""
        driver, code = self.driver, self.driver.code
        self._tell(f"driver {len(self._drivers) - 1} ended with {code}")
        if code not in ENDS and not (driver.killed and code == -signal.SIGKILL):
            self._problem(f"{driver} ended with {code}: {driver.said[-1500:]}")
        unwanted = UNWANTED.search(driver.said)
        if unwanted is not None:
            start = max(0, unwanted.start() - 500)
            self._problem(f"{driver} shows what it is made of: {driver.said[start : unwanted.end() + 1500]}")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        while True:
            now = time.monotonic()
            for due in [d for d in self._later if d[0] <= now]:
                self._later.remove(due)
                due[1]()
            self._look_at_greedy(now)
            self._farm.keep()
            if condition():
                return
            if now - self._began > MOST_S:
                raise TimeoutError(what)
            time.sleep(0.05)

    def _look_at_greedy(self, now: float) -> None:
        """Hold that those that take more memory than they may are dead in time."""
        for due in list(self._doomed):
            greedy = seen(due[1])
            if greedy is None:
                self._doomed.remove(due)
                self._tell(f"{due[1]}, which was to take more memory than it may, is dead")
            elif due[0] <= now:
                self._doomed.remove(due)
                if greedy.state == "T":
                    self._tell(f"{due[1]}, which is to take more memory than it may, is stopped, and takes none")
                elif greedy.memory_bytes:  # none has one that is just ending
                    self._problem(
                        f"{greedy} has {greedy.memory_bytes:,} bytes, more than it may: {greedy.words}: "
                        f"{greedy.where_it_is()}"
                    )

    def _clean(self) -> None:
        for _, action in self._later:
            action()
        for driver in self._drivers:
            for process in driver.family():
                tell(process.pid, signal.SIGKILL)
        for driver in self._drivers:
            driver.finished(30)
            driver.survivors()

    def _tell(self, what: str) -> None:
        self.outcome.told.append(f"{time.monotonic() - self._began:6.1f} s  {what}")

    def _problem(self, what: str) -> None:
        self._tell(f"PROBLEM: {what}")
        self.outcome.problems.append(what)


@contextlib.contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[Path]:
    """Mount a small disk of its own."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remove(folder: Path) -> None:
    """Remove what a run left, where all was well."""
    shutil.rmtree(folder, ignore_errors=True)
