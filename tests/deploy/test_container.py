"""The container recipe: what it is made of, and the health check against real processes.

`deploy/container/check.sh` builds the image and tries it; that takes minutes and no test does it.
"""

import fnmatch
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from drfarm import __version__

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container"
RECIPE = (CONTAINER / "Containerfile").read_text()
BIN = Path(sys.executable).parent
SCRIPTS = sorted(p for p in (ROOT / "deploy").rglob("*") if p.suffix in {".sh", ".sbatch"})


def load_healthcheck():
    """Load the script, which lies in no package."""
    spec = importlib.util.spec_from_file_location("healthcheck", CONTAINER / "healthcheck.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HEALTH = load_healthcheck()


def stages():
    """Return (base, name) of each stage."""
    return re.findall(r"^FROM (\S+) AS (\S+)$", RECIPE, flags=re.M)


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=f"{BIN}:{os.environ['PATH']}")
    done = subprocess.run([hadolint, CONTAINER / "Containerfile"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hadolint_would_find_something(tmp_path):
    hadolint = shutil.which("hadolint", path=f"{BIN}:{os.environ['PATH']}")
    (tmp_path / "Containerfile").write_text("FROM python:latest\nRUN pip install drfarm\n")
    done = subprocess.run([hadolint, tmp_path / "Containerfile"], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert {"DL3007", "DL3013"} <= set(re.findall(r"DL\d+", done.stdout))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_shellcheck_finds_nothing(script):
    done = subprocess.run([BIN / "shellcheck", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_there_is_a_stage_for_cpus_and_one_for_cuda_and_the_first_is_the_default():
    found = stages()
    assert {"cpu", "cuda"} <= {name for _, name in found}
    assert found[-1] == ("runtime", "cpu")
    assert ("runtime", "cuda") in found
    assert [base for base, name in found if name in {"tools", "runtime"}] == ["${BASE}"] * 2


def test_what_is_installed_is_pinned():
    (base,) = re.findall(r"^ARG BASE=(\S+)$", RECIPE, flags=re.M)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    installs = re.findall(r"(?:uv )?pip install(?:[^\n]*\\\n)*[^\n]*", RECIPE)
    assert len(installs) == 5
    for install in installs:
        assert re.search(r"--(build-)?constraints? constraints\.txt", install), install
        assert "uv pip" not in install or "--compile-bytecode" in install
    (cupy,) = re.findall(r"^ARG CUPY=(\S+)$", RECIPE, flags=re.M)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {cupy.split("==")[0]} == {re.split("[>=]", e)[0] for e in extras["gpu"]}
    assert set(re.findall(r"--extra (\w+)", RECIPE)) <= set(extras)


def test_it_runs_as_a_number_that_is_not_root():
    (user,) = re.findall(r"^USER (\S+)$", RECIPE, flags=re.M)
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    last_root = RECIPE.index("\nUSER ")
    assert "RUN" not in re.findall(r"^[A-Z]+", RECIPE[last_root:], flags=re.M)


def test_its_version_is_that_of_drfarm():
    assert re.findall(r"^ARG VERSION=(\S+)$", RECIPE, flags=re.M) == [__version__]
    assert f"-t drfarm:{__version__}-cpu" in RECIPE


def test_the_health_check_is_where_it_is_run():
    (place,) = re.findall(r"^COPY deploy/container/healthcheck.py (\S+)$", RECIPE, flags=re.M)
    (command,) = re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", RECIPE, flags=re.M)
    assert command == f'["/opt/drfarm/bin/python", "{place}"]'
    assert re.search(r'^ENTRYPOINT \["/opt/drfarm/bin/drfarm"\]$', RECIPE, flags=re.M)


def test_the_context_holds_what_the_wheel_needs_and_no_more():
    lines = (CONTAINER / "Containerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(told["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    files = {"constraints.txt", "pyproject.toml", told["project"]["readme"], *told["project"]["license-files"]}
    assert kept == packages | files | {"deploy/container/healthcheck.py"}
    assert all((ROOT / name).exists() for name in kept)
    assert fnmatch.filter(rules, "[*][*]/__pycache__") == ["**/__pycache__"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            ["/opt/drfarm/bin/python", "/opt/drfarm/bin/drfarm", "scheduler", "--port", "1"],
            ["scheduler", "--port", "1"],
        ),
        (["python", "-m", "drfarm", "run", "s.yaml"], ["run", "s.yaml"]),
        (["/sbin/docker-init", "--", "/opt/drfarm/bin/drfarm", "worker"], ["worker"]),
        (["python", "-c", "from multiprocessing.forkserver import main"], None),
        (["sleep", "5"], None),
        ([], None),
    ],
)
def test_drfarm_is_known_by_its_command_line(line, words):
    assert HEALTH.arguments(line) == words


def test_options_are_read_in_both_forms():
    words = ["scheduler", "--port=1", "--host", "h"]
    assert HEALTH.option(words, "--port") == "1"
    assert HEALTH.option(words, "--host") == "h"
    assert HEALTH.option(words, "--tls", "none") == "none"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(*words, env=None):
    """Start the command, and return it when it has said its first line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "drfarm", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
    )
    said = process.stdout.readline()
    assert said, process.communicate(timeout=20)
    return process


def stop(process):
    process.kill()
    process.communicate(timeout=60)


@pytest.mark.slow
def test_a_scheduler_and_its_worker_are_healthy_as_long_as_they_are(capsys, monkeypatch):
    monkeypatch.setattr(HEALTH, "TIMEOUT_S", 60.0)  # machines are slow at times
    port = free_port()
    scheduler = start("scheduler", "--port", port)
    try:
        assert HEALTH.main(scheduler.pid) == 0
        worker = start("worker", f"tcp://127.0.0.1:{port}", "--workers", 1)
        try:
            assert HEALTH.main(worker.pid) == 0
            scheduler.send_signal(signal.SIGSTOP)  # the kernel still accepts connections for it
            monkeypatch.setattr(HEALTH, "TIMEOUT_S", 1.0)
            assert HEALTH.main(scheduler.pid) == 1
            assert "does not answer within 1 s" in capsys.readouterr().err
            scheduler.send_signal(signal.SIGCONT)
            monkeypatch.setattr(HEALTH, "TIMEOUT_S", 60.0)
            assert HEALTH.main(scheduler.pid) == 0
        finally:
            worker.terminate()
            worker.communicate(timeout=60)
    finally:
        stop(scheduler)
    assert HEALTH.main(scheduler.pid) == 1
    assert "unhealthy: " in capsys.readouterr().err


@pytest.mark.slow
def test_a_scheduler_with_certificates_is_healthy(tmp_path, monkeypatch):
    from drfarm.certificates import make_certificates

    make_certificates(tmp_path / "tls")
    for role in ("client", "worker"):  # its container has only its own
        (tmp_path / "tls" / f"{role}.key").unlink()
    monkeypatch.setattr(HEALTH, "TIMEOUT_S", 60.0)
    port = free_port()
    scheduler = start("scheduler", "--port", port, "--tls", tmp_path / "tls")
    try:
        assert HEALTH.main(scheduler.pid) == 0
        monkeypatch.setattr(HEALTH, "TIMEOUT_S", 5.0)
        make_certificates(tmp_path / "other")
        monkeypatch.setattr(
            HEALTH,
            "option",
            lambda words, name, default="": {
                "--port": str(port),
                "--host": "127.0.0.1",
                "--tls": str(tmp_path / "other"),
            }[name],
        )
        assert HEALTH.main(scheduler.pid) == 1
    finally:
        stop(scheduler)


def test_a_worker_without_a_connection_is_not_healthy(capsys, monkeypatch):
    class Lonely:
        def children(self, *, recursive):
            return []

        def net_connections(self, *, kind):
            return []

    assert HEALTH._worker(Lonely(), ["worker", "tcp://h:1"]) == 1
    assert "connected to tcp://h:1" in capsys.readouterr().err


def test_a_driver_must_not_hang(capsys, monkeypatch):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    assert HEALTH._driver(["run", "s.yaml"]) == 0
    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        words = ["run", "s.yaml", "--metrics-host=0.0.0.0", f"--metrics-port={server.server_port}"]
        thread = Thread(target=server.handle_request)
        thread.start()
        assert HEALTH._driver(words) == 0
        thread.join()
        monkeypatch.setattr(HEALTH, "TIMEOUT_S", 0.5)
        assert HEALTH._driver(words) == 1, "it accepts connections, and nobody answers"
        assert "/metrics does not answer within 0.5 s" in capsys.readouterr().err
    assert HEALTH._driver(words) == 0, "it does not serve them now"
