"""A process that has imported the command and forks one for each line of words that it gets: those start at once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


class Forker:
    """The process, seen from a test; ``script`` imports what all need and then calls `serve`."""

    def __init__(self, script: str, *, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=None if environment is None else dict(environment),
            cwd=folder,
        )

    def fork(self, *words: object, out: object = os.devnull, err: object = os.devnull, apart: bool = False) -> int:
        """Start the command; return its process id. ``apart`` is in a session of its own."""
        return self._ask({"words": list(map(str, words)), "out": str(out), "err": str(err), "apart": apart})

    def code(self, pid: int, *, wait: bool) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._ask({"pid": pid, "wait": wait})

    def end(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def _ask(self, what: dict) -> int | None:
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def serve(main: Callable[[], None]) -> None:
    """Fork a process that calls ``main`` for each line of words; tell how one ended."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "words" in asked:
            answer = os.fork()
            if not answer:
                _become(asked)
                main()
        else:
            pid, status = os.waitpid(asked["pid"], 0 if asked["wait"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)


def _become(asked: dict) -> None:
    if asked["apart"]:
        os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = ["drfarm", *asked["words"]]
