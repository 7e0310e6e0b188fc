"""A scheduler and workers over TLS, as people start them: who is let in, and who comes back."""

import re
import signal
import subprocess
import sys
import time

import pytest

from drfarm.certificates import make_certificates

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "certs")
    make_certificates(made / "other")
    return made


class Commands:
    """Commands in processes of their own, with what they say in files."""

    def __init__(self, folder):
        self._folder, self._running = folder, []

    def start(self, *words):
        log = self._folder / f"{len(self._running)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "drfarm", *map(str, words)], stdout=file, stderr=subprocess.STDOUT
            )
        self._running.append(process)
        return process, log

    def says(self, log, pattern, timeout_s=60):
        """Wait until a command has said something; return what it was."""
        until = time.monotonic() + timeout_s
        while (found := re.search(pattern, log.read_text())) is None:
            assert time.monotonic() < until, f"expected {pattern!r}, got: {log.read_text()}"
            time.sleep(0.05)
        return found

    def end(self):
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait(60)


@pytest.fixture
def commands(tmp_path):
    made = Commands(tmp_path)
    yield made
    made.end()


def test_who_has_a_certificate_is_let_in_and_a_worker_waits_for_its_scheduler(commands, folder, drfarm, monkeypatch):
    tls = ("--tls", folder / "certs")
    scheduler, log = commands.start("scheduler", "--port", 0, *tls, "--dashboard", "127.0.0.1:0")
    address, port = commands.says(log, r"scheduler at (tls://127\.0\.0\.1:(\d+))").groups()
    commands.says(log, r"dashboard at http://127\.0\.0\.1:\d+/status, metrics at")
    worker, said = commands.start("worker", address, "--workers", 1, *tls, "--patience", 60)
    commands.says(said, f"1 worker for {address}, one thread each")

    refused, other = commands.start("worker", address, "--workers", 1, "--tls", folder / "other")
    assert refused.wait(60) == 2
    assert "do not accept each other's certificates" in other.read_text()

    scheduler.kill()
    scheduler.wait(60)
    commands.says(said, f"the scheduler at {address} does not answer: waiting for it")
    assert worker.poll() is None
    _, again = commands.start("scheduler", "--port", port, *tls)
    commands.says(again, f"scheduler at {address}")
    commands.says(said, f"workers for {address} are there again")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert "Traceback" not in said.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("scheduler", "--host", "0.0.0.0"), "not this machine only"),
        (("scheduler", "--host", "0.0.0.0", "--insecure", "--tls", "certs"), "exclude each other"),
        (("scheduler", "--tls", "none"), "there is no such folder"),
        (("scheduler", "--dashboard", "8787"), "expected HOST:PORT"),
        (("worker", "tcp://10.0.0.5:8786"), "--insecure"),
        (("worker", "tls://10.0.0.5:8786"), "needs certificates"),
        (("worker", "tcp://127.0.0.1:8786", "--tls", "certs"), "is not encrypted"),
        (("worker", "tls://127.0.0.1:9", "--tls", "none"), "there is no such folder"),
    ],
)
def test_what_is_refused_before_anything_starts(drfarm, folder, monkeypatch, words, told):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DRFARM_TLS", raising=False)
    done = drfarm(*words)
    assert (done.code, told in done.err) == (2, True), done.text
    assert done.err.count("\n") == 1


def test_the_environment_names_the_certificates(drfarm, folder, monkeypatch):
    monkeypatch.setenv("DRFARM_TLS", str(folder / "none"))
    done = drfarm("worker", "tls://127.0.0.1:9")
    assert (done.code, "none: there is no such folder" in done.err) == (2, True)
