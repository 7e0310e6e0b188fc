"""Where a study runs: processes of its driver, or a cluster whose dead parts are started again, as services are."""

import re
import socket
import time
from pathlib import Path

from _faulty_checks import UNWANTED
from _faulty_commands import Command, Commands

MEMORY_LIMIT = "1GiB"
"""Of one worker process: about twice what it needs."""


class LocalFarm:
    """Two worker processes that the driver starts and ends itself."""

    name = "local"
    lacks = ("nanny killed", "scheduler killed")
    """Kinds of faults that nobody here can be hit by: both live in the driver."""

    def __init__(self, commands: Commands, folder: Path) -> None:
        self.parts: dict[str, Command] = {}
        """What runs beside the driver, by name."""
        self.problems: list[str] = []
        """What went wrong here that no fault explains."""

    def words(self, stage: str) -> tuple[object, ...]:
        """Return the command of a driver of a stage, and what it is told of where to run."""
        extracts = () if stage == "probe" else ("--batch-size", 64)
        return (stage, *extracts, *(() if stage == "extract" else ("--workers", 2, "--memory-limit", MEMORY_LIMIT)))

    def keep(self) -> bool:
        """Start again what has died; say whether all of it is ready."""
        return True

    def end(self) -> None:
        """End all of it."""


class ClusterFarm:
    """A scheduler, a node whose process runs networks, and two nodes that fit probes, one process each."""

    name = "cluster"
    lacks: tuple[str, ...] = ()

    def __init__(self, commands: Commands, folder: Path) -> None:
        self._commands, self._folder = commands, folder
        folder.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.parts: dict[str, Command] = {}
        self.problems: list[str] = []
        self._n_started = 0
        self._last_death: dict[str, float] = {}
        self.keep()

    @property
    def _address(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    def words(self, stage: str) -> tuple[object, ...]:
        return (stage, *(() if stage == "probe" else ("--batch-size", 64)), "--scheduler", self._address)

    def keep(self) -> bool:
        wanted = {
            "scheduler": ("scheduler", "--port", self._port),
            "gpu node": ("worker", self._address, "--gpu", "--workers", 1, "--memory-limit", MEMORY_LIMIT),
            "node 1": ("worker", self._address, "--workers", 1, "--memory-limit", MEMORY_LIMIT),
            "node 2": ("worker", self._address, "--workers", 1, "--memory-limit", MEMORY_LIMIT),
        }
        for name, words in wanted.items():
            part = self.parts.get(name)
            if part is not None:
                if part.code is None:
                    continue
                self._look_back(name, part)
                if time.monotonic() - self._last_death.setdefault(f"{name} {part.pid}", time.monotonic()) < 0.5:
                    continue
            if name != "scheduler" and "scheduler at" not in self.parts["scheduler"].said:
                continue
            self._n_started += 1
            out = self._folder / f"{self._n_started:03d} {name}.txt"
            self.parts[name] = self._commands.start(*words, out=out, temporary=self._folder / "tmp")
        return self._ready(wanted)

    def _ready(self, names) -> bool:
        return all(
            name in self.parts
            and self.parts[name].code is None
            and re.search(r"scheduler at|workers? for", self.parts[name].said)
            for name in names
        )

    def _look_back(self, name: str, part: Command) -> None:
        """Say what no fault explains of a part that has ended."""
        if not part.killed and name == "scheduler":
            self.problems.append(f"the scheduler ended by itself with {part.code}: {part.said[-1000:]}")
        unwanted = UNWANTED.search(part.said)
        if unwanted is not None:
            start = max(0, unwanted.start() - 300)
            self.problems.append(f"{part} shows what it is made of: {part.said[start : unwanted.end() + 1200]}")

    def end(self) -> None:
        for name in ("node 1", "node 2", "gpu node", "scheduler"):
            if name in self.parts:
                self.parts[name].kill(family=True)
        for name, part in self.parts.items():
            self._look_back(name, part)
            for alive in part.survivors():
                self.problems.append(f"{name} ({part}) is dead, and {alive.words!r} ({alive.state}) still lives")
