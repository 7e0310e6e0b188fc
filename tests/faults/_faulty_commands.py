"""The command in processes that a test may hurt, each in a session of its own, so that whoever survives it is seen."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FORKER = Path(__file__).with_name("_faulty_forker.py")


@dataclass(frozen=True)
class Seen:
    """A process as the system shows it."""

    pid: int
    state: str
    parent: int
    session: int

    @property
    def memory_bytes(self) -> int:
        """Resident memory; 0 of the dead."""
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    @property
    def words(self) -> str:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""

    def where_it_is(self) -> str:
        """Let it write the stacks of its threads to its output, and say what else the system knows of it."""
        tell(self.pid, signal.SIGUSR1)
        time.sleep(1)
        folder = Path(f"/proc/{self.pid}")
        with contextlib.suppress(OSError):
            held = {link.name: str(link.readlink()) for link in (folder / "fd").iterdir()}
            masks = [line for line in (folder / "status").read_text().splitlines() if line.startswith("Sig")]
            return f"waits in {(folder / 'wchan').read_text()}; {masks}; {held}"
        return "it is gone now"


def processes() -> Iterator[Seen]:
    """Yield every process that lives."""
    for folder in os.listdir("/proc"):  # noqa: PTH208 - a hundred times a second
        if folder.isdigit() and (found := seen(int(folder))) is not None:
            yield found


def seen(pid: int) -> Seen | None:
    """Return a process, None where it is dead."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] not in "ZX":
            return Seen(pid, fields[0], int(fields[1]), int(fields[3]))
    return None


def tell(pid: int, number: int) -> bool:
    """Send a signal; say whether there was somebody to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Commands:
    """Starts commands; several threads may."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(FORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )

    def start(self, *words: object, out: Path, temporary: Path) -> "Command":
        """Start the command; what it says goes to the file ``out``."""
        temporary.mkdir(parents=True, exist_ok=True)
        asked = {
            "words": list(map(str, words)),
            "out": str(out),
            "folder": str(self._folder),
            "environment": {"TMPDIR": str(temporary), "DASK_CONFIG": str(temporary / "dask")},
        }
        return Command(self, self.ask(asked), asked["words"], out)

    def ask(self, what: dict) -> int | None:
        with self._lock:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, "the process that starts commands has died"
        return json.loads(answer)

    def end(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


class Command:
    """A command that runs, or has run."""

    def __init__(self, commands: Commands, pid: int, words: list[str], out: Path) -> None:
        self._commands, self.pid, self.words, self._out = commands, pid, words, out
        self._code: int | None = None
        self.killed = False
        """Whether it is dead because we wanted it."""

    def __str__(self) -> str:
        return f"drfarm {' '.join(self.words)}"

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self._code is None:
            self._code = self._commands.ask({"pid": self.pid})
        return self._code

    @property
    def said(self) -> str:
        """What it has said so far, on stdout and stderr."""
        with contextlib.suppress(OSError):
            return self._out.read_text(encoding="utf-8", errors="replace")
        return ""

    def finished(self, timeout_s: float) -> int:
        """Wait; return the exit code."""
        until = time.monotonic() + timeout_s
        while (code := self.code) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"{self} still runs after {timeout_s:.0f} s")
            time.sleep(0.05)
        return code

    def family(self) -> list[Seen]:
        """Return every process that lives of its session, itself included."""
        return [p for p in processes() if p.session == self.pid]

    def fork_servers(self) -> list[Seen]:
        """Return the processes that its workers are forked from."""
        return [p for p in self.family() if p.parent == self.pid and "forkserver" in p.words]

    def workers(self) -> list[Seen]:
        """Return its worker processes: forked from another, or spawned by itself."""
        family = self.family()
        servers = {p.pid for p in family if p.parent == self.pid and "forkserver" in p.words}
        return [p for p in family if p.parent in servers or (p.parent == self.pid and "spawn_main" in p.words)]

    def survivors(self, within_s: float = 30) -> list[Seen]:
        """Return who still lives of its session so long after its end."""
        until = time.monotonic() + within_s
        while (alive := self.family()) and time.monotonic() < until:
            time.sleep(0.1)
        return alive

    def kill(self, *, family: bool = False) -> bool:
        """Kill it as the system would, or everything of its session; say whether it lived."""
        lived = self.code is None and not self.killed
        self.killed = self.killed or lived
        for pid in [p.pid for p in self.family()] if family else [self.pid]:
            tell(pid, signal.SIGKILL)
        return lived
