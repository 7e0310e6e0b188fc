"""Metrics as Prometheus reads them: scraped over HTTP from a run's figures, parsed, and held against the table."""

import math
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from drfarm import __version__
from drfarm.metrics import METRICS, Metrics, StoreSizes, served, store_sizes
from drfarm.progress import ViewReporter, WorkerState
from store import InvalidRequest, NotFound, open_store
from store.testing import make_probe_row


def scrape(address):
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def values(text):
    """Return every sample by name and labels."""
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def labelled(**labels):
    return tuple(sorted(labels.items()))


@pytest.fixture
def busy():
    """Metrics of a run in the middle of two stages."""
    metrics = Metrics()
    reporter = ViewReporter([metrics], study="tiny")
    with reporter.stage("extract", 52, "images") as meter:
        meter.advance(52)
    with reporter.stage("probe", 100, "results") as meter:
        meter.started("b1", "10 probes", "tcp://a", n=10)
        meter.started("b2", "20 probes", "tcp://b", n=20)
        meter.started("b3", "5 probes", "tcp://c", n=5)
        meter.advance(10, batch="b1")
        meter.retried("b3", "5 probes", "died")
        meter.failed("b4", "7 probes", "bad", attempts=3, n=7)
        meter.workers(
            [
                WorkerState(address="tcp://a", memory_bytes=1000, memory_limit_bytes=4000),
                WorkerState(address="tcp://b", memory_bytes=2000, memory_limit_bytes=0, gpu=True),
            ]
        )
        yield metrics


def test_a_scrape_has_the_figures_of_the_run(busy):
    with served(busy, port=0) as address:
        assert address.startswith("http://127.0.0.1:")
        found = values(scrape(address))
    probe = {"study": "tiny", "stage": "probe"}
    expected = {"done": 10, "running": 20, "failed": 7, "waiting": 63}
    assert {s: found["drfarm_jobs", labelled(**probe, state=s)] for s in expected} == expected
    outcomes = {"done": 10, "failed": 7, "retried": 5}
    name = "drfarm_jobs_finished_total"
    assert {o: found[name, labelled(**probe, outcome=o)] for o in outcomes} == outcomes
    assert found["drfarm_jobs", labelled(study="tiny", stage="extract", state="done")] == 52
    assert found["drfarm_images_total", labelled(study="tiny")] == 52
    assert found["drfarm_eta_seconds", labelled(study="tiny", stage="extract")] == 0
    assert found["drfarm_jobs_per_second", labelled(**probe)] > 0
    assert found["drfarm_jobs_per_second", labelled(study="tiny", stage="extract")] == 0  # it has ended
    assert 0 < found["drfarm_eta_seconds", labelled(**probe)] < math.inf
    assert found["drfarm_last_progress_timestamp_seconds", labelled(**probe)] > 1.7e9
    assert found["drfarm_batches", labelled(**probe, state="running")] == 1
    assert {p: found["drfarm_workers", labelled(pool=p)] for p in ("gpu", "cpu")} == {"gpu": 1, "cpu": 1}
    assert found["drfarm_worker_memory_bytes", labelled(worker="tcp://b")] == 2000
    assert found["drfarm_worker_memory_limit_bytes", labelled(worker="tcp://a")] == 4000
    assert ("drfarm_worker_memory_limit_bytes", labelled(worker="tcp://b")) not in found
    assert found["drfarm_build_info", labelled(version=__version__)] == 1


def test_the_table_names_every_metric_with_its_labels(busy):
    metrics = Metrics(lambda: StoreSizes(bytes_by_kind={"features": 1}, free_bytes=2))
    over = threading.Event()
    thread = threading.Thread(target=metrics.measure_until, args=(over,))
    thread.start()
    metrics.opened(busy._stages["tiny", "probe"])
    with served(metrics, port=0) as address:
        while "drfarm_store_free_bytes 2.0" not in (text := scrape(address)):
            pass
    over.set()
    thread.join()
    families = list(text_string_to_metric_families(text))
    kinds = {f.name + "_total" * (f.type == "counter"): f.type for f in families}
    assert kinds == {name: m.kind for name, m in METRICS.items()}
    for family in families:
        for sample in family.samples:
            assert set(sample.labels) == set(METRICS[sample.name].labels), sample


def test_before_anything_runs_there_are_no_stages():
    with served(Metrics(), port=0) as address:
        found = values(scrape(address))
    assert set(found) == {
        ("drfarm_workers", labelled(pool="cpu")),
        ("drfarm_workers", labelled(pool="gpu")),
        ("drfarm_build_info", labelled(version=__version__)),
    }


def test_without_a_rate_the_time_left_is_not_a_number():
    metrics = Metrics()
    with ViewReporter([metrics], study="s").stage("probe", 5, "results"), served(metrics, port=0) as address:
        found = values(scrape(address))
    assert math.isnan(found["drfarm_eta_seconds", labelled(study="s", stage="probe")])


def test_two_in_one_process_and_one_after_another():
    with served(Metrics(), port=0) as one, served(Metrics(), port=0) as other:
        assert one != other
        assert values(scrape(one)) == values(scrape(other))
    port = int(one.split(":")[2].split("/")[0])
    with served(Metrics(), port=port) as again:  # it was given back
        assert again == one


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidRequest, match=rf"can't be served at 127\.0\.0\.1:{port}.*--metrics-port"):
            served(Metrics(), port=port).__enter__()
    with pytest.raises(InvalidRequest, match=r"can't be served at 192\.0\.2\.1:"):
        served(Metrics(), port=0, host="192.0.2.1").__enter__()


def test_a_store_is_measured_by_kind(tmp_path):
    with pytest.raises(NotFound, match="store"):
        store_sizes(str(tmp_path / "store"))
    store = open_store(tmp_path / "store", create=True)
    before = store_sizes(store.url)
    assert dict(before.bytes_by_kind) == {"features": 0, "results": 0, "statistics": 0}
    store.results.write("probes", "b1", [make_probe_row("b1", "j1")])
    after = store_sizes(store.url)
    assert after.bytes_by_kind["results"] == sum(
        f.stat().st_size for f in (tmp_path / "store/results").rglob("*.parquet")
    )
    assert after.free_bytes > 0
    assert store_sizes("memory://measured" if open_store("memory://measured", create=True) else "").free_bytes is None


def test_a_store_that_is_not_there_yet_is_measured_later(tmp_path):
    asked = []
    over = threading.Event()

    def measure():
        asked.append(1)
        over.set()
        return store_sizes(str(tmp_path / "nowhere"))

    metrics = Metrics(measure)
    metrics.measure_until(over)
    assert asked == [1]
    assert metrics._sizes is None


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Prometheus")
def test_promtool_finds_nothing_to_improve(busy):
    with served(busy, port=0) as address:
        text = scrape(address)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_that_serves_no_metrics_does_not_load_the_server():
    code = "import sys, drfarm.cli; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
