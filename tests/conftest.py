"""Settings of all tests, and the command in this process."""

import contextlib
import io
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings

from drfarm.cli import main

# No property has a deadline: machines are shared and noisy.
settings.register_profile("drfarm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("drfarm")

# A shell that runs the tests in the background has them ignore Ctrl-C, and with them the commands that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files of slow tests first: processes that take whole files then end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


def run_command(*words: object) -> Finished:
    """Run the command in this process, as its entry point does."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["drfarm", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
            main()
    finally:
        sys.argv = before
        print(out.getvalue(), err.getvalue(), sep="\n")
    return Finished(left.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def drfarm() -> Callable[..., Finished]:
    return run_command
