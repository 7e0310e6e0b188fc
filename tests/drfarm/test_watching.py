"""A real run, watched as it runs: its metrics, its lines of JSON, its dashboard; and its state from the store."""

import contextlib
import json
import socket
import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from drfarm.farm import crew
from drfarm.logs import VARIABLE
from store import open_store

pytestmark = pytest.mark.slow
N_RESULTS = 6 + 2 * 96
"""Probes of three sizes and two seeds; CKA at every size for two seeds."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Watcher(threading.Thread):
    """Somebody who asks two addresses again and again while the command runs."""

    def __init__(self, metrics, dashboard):
        super().__init__(daemon=True)
        self.metrics, self.dashboard = metrics, dashboard
        self.over = threading.Event()
        self.scrapes, self.pages = [], []

    def run(self):
        while not self.over.wait(0.2):
            for address, answers in ((self.metrics, self.scrapes), (self.dashboard, self.pages)):
                with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
                    answers.append(answer.read().decode())


def samples(text):
    return [s for f in text_string_to_metric_families(text) for s in f.samples]


def test_a_run_is_seen_from_everywhere(pets, study_in, drfarm, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(crew, "EVERY_S", 0.1)  # the study is small: its worker lives for seconds
    monkeypatch.setattr(crew, "MOST_SHARE", 1.0)
    study = study_in(pets, measures=[{"measure": "accuracy"}, {"measure": "cka", "k": "every"}])
    metrics, dashboard = free_port(), free_port()
    watcher = Watcher(f"http://127.0.0.1:{metrics}/metrics", f"http://127.0.0.1:{dashboard}/status")
    watcher.start()
    done = drfarm(
        *("run", study, "--workers", 1, "--log-format", "json"),
        *("--metrics-port", metrics, "--dashboard-port", dashboard),
    )
    watcher.over.set()
    watcher.join()
    assert done.code == 0, done.text

    told = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    events = [t["event"] for t in told]
    assert [e for e in events if e.startswith("stage.") and e != "stage.progress"] == [
        "stage.started",
        "stage.ended",
    ] * 2
    started = {t["batch"]: t["worker"] for t in told if t["event"] == "batch.started"}
    finished = {t["batch"]: t["worker"] for t in told if t["event"] == "batch.done"}
    assert started == finished
    assert all(worker.startswith("tcp://127.0.0.1:") for worker in started.values())
    assert sum(t["n"] for t in told if t["event"] == "batch.done") == N_RESULTS
    assert {t["study"] for t in told} == {"tiny"}
    messages = [t["message"] for t in told if t["event"] == "message"]
    assert f"metrics at http://127.0.0.1:{metrics}/metrics" in messages
    assert f"Dask's dashboard at http://127.0.0.1:{dashboard}/status" in messages
    assert any("Dask" in page for page in watcher.pages)

    assert watcher.scrapes
    seen = [s for text in watcher.scrapes for s in samples(text)]
    workers = [s for s in seen if s.name == "drfarm_worker_memory_bytes" and s.value > 0]
    assert workers, "no scrape fell into the seconds in which the worker lived"
    assert {s.labels["worker"] for s in workers} <= set(started.values())
    states = [s for s in seen if s.name == "drfarm_jobs" and s.labels["stage"] == "probe"]
    assert {s.labels["state"] for s in states} == {"done", "running", "waiting", "failed"}
    assert any(s.value for s in states if s.labels["state"] == "running")

    timings = open_store(pets / "store").results.timings()
    assert set(timings["batch_id"].to_pylist()) <= set(finished)
    assert sum(timings["n_jobs"].to_pylist()) == N_RESULTS
    status = json.loads(drfarm("status", study, "--json").out)
    assert [(s["stage"], s["done"], s["left"]) for s in status["stages"]] == [
        ("extract", 2, 0),
        ("probe", 6, 0),
        ("cka", N_RESULTS - 6, 0),
    ]
    assert (status["done"], status["failures"]) == (True, [])
    assert drfarm("run", study, "--workers", 1).err.startswith("nothing was left to do")  # its choice was its own
    with contextlib.suppress(OSError):
        urllib.request.urlopen(watcher.metrics, timeout=5)
        pytest.fail("metrics are served after the end")


def test_a_dashboards_port_that_is_taken_is_told_before_workers_start(pets, study_in, drfarm):
    study = study_in(pets)
    drfarm("extract", study)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = drfarm("probe", study, "--workers", 1, "--dashboard-port", port)
    assert done.code == 2
    assert f"the dashboard can't be at 127.0.0.1:{port}" in done.err
    done = drfarm("probe", study, "--scheduler", "tcp://127.0.0.1:1", "--dashboard-port", port)
    assert done.code == 2
    assert "a cluster's scheduler has a dashboard of its own" in done.err
