"""Hosts over TLS: strangers get nothing, a host that is cut off costs seconds, and a scheduler may be killed.

Run by hand as root: ``pytest tests/faults/network.py``.
"""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "drfarm"))

import small_study
from network_hosts import ADDRESSES, Hosts, missing

from drfarm.certificates import make_certificates
from store import open_store, verify
from store.schema import KINDS

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

PORT = 18786
ADDRESS = f"tls://{ADDRESSES['s']}:{PORT}"
PAUSE_S = 2.0
"""What each task takes at least: the machine's own load does not matter then."""
AGAIN_S = 15.0
"""Lost work is running again within so long."""
DRIVER = [sys.executable, small_study.__file__]
COMMAND = [sys.executable, "-m", "drfarm"]

_SITE = """
import os

if "STARTS" in os.environ:
    import json
    import time

    import probe
    from probe import tasks

    _real = tasks.run_task

    def run_task(task, **how):
        line = {"batch": task.batch_id, "host": os.environ["HOST"], "pid": os.getpid(), "at": time.time()}
        with open(os.environ["STARTS"], "a") as file:
            file.write(json.dumps(line) + "\\n")
        time.sleep(float(os.environ["PAUSE_S"]))
        return _real(task, **how)

    run_task.__module__, run_task.__qualname__ = tasks.__name__, "run_task"
    probe.run_task = tasks.run_task = run_task
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A study with its features extracted, and its results in a store of their own."""
    folder = tmp_path_factory.mktemp("network")
    study = small_study.write_study(folder, n_train=1000)
    for words in (("extract", study), ("probe", study, "--store", folder / "right")):
        if "right" in str(words[-1]):
            subprocess.run(["cp", "-r", folder / "store", folder / "right"], check=True)
        done = subprocess.run([*DRIVER, *map(str, words)], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(_SITE)
    make_certificates(folder / "tls", hosts=list(ADDRESSES.values()))
    make_certificates(folder / "other", hosts=list(ADDRESSES.values()))
    return folder


@pytest.fixture(scope="module")
def hosts():
    made = Hosts()
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Cluster:
    """A scheduler, a worker on each of the other hosts, and drivers beside the scheduler."""

    def __init__(self, hosts: Hosts, undisturbed: Path, folder: Path) -> None:
        self._hosts, self.origin, self.folder = hosts, undisturbed, folder
        self._starts = folder / "starts.jsonl"
        self._n = 0
        self._drivers: list[subprocess.Popen] = []
        subprocess.run(["cp", "-r", undisturbed / "store", folder / "store"], check=True)
        self.scheduler = self.start_scheduler()
        self.workers = {host: self.start_worker(host) for host in ("w1", "w2")}
        for host in self.workers:
            self.wait(lambda host=host: "1 worker for" in self.said(host), f"a worker on {host}")

    def start_scheduler(self) -> subprocess.Popen:
        words = ["scheduler", "--host", ADDRESSES["s"], "--port", PORT, "--dashboard", "127.0.0.1:18787"]
        process = self.command("s", "scheduler", *words)
        self.wait(lambda: f"scheduler at {ADDRESS}" in self.said("scheduler"), "the scheduler")
        return process

    def start_worker(self, host: str, *, tls: str = "tls") -> subprocess.Popen:
        own = {"STARTS": str(self._starts), "PAUSE_S": str(PAUSE_S), "HOST": host}
        own["PYTHONPATH"] = str(self.origin / "site")
        return self.command(host, host, "worker", ADDRESS, "--workers", 1, "--patience", 120, tls=tls, **own)

    def drive(self, *, patience: int = 120) -> subprocess.Popen:
        self._n += 1
        words = ["probe", self.origin / "study.yaml", "--store", self.folder / "store", "--scheduler", ADDRESS]
        words += ["--tls", self.origin / "tls", "--patience", patience]
        log = self.folder / f"driver{self._n}.log"
        self._drivers.append(self._hosts.run("s", [*DRIVER, *words], log, PYTHONFAULTHANDLER="1"))
        return self._drivers[-1]

    def command(self, host: str, name: str, *words: object, tls: str = "tls", **own: str) -> subprocess.Popen:
        return self._hosts.run(host, [*COMMAND, *words, "--tls", self.origin / tls], self.folder / f"{name}.log", **own)

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def starts(self) -> list[dict]:
        return [json.loads(line) for line in self._starts.read_text().splitlines()] if self._starts.exists() else []

    def n_batches(self) -> int:
        return len(list((self.folder / "store" / "results").rglob("*.parquet")))

    def wait(self, condition, what: str, within_s: float = 120) -> float:
        """Wait until something holds; return when it first did."""
        until = time.time() + within_s
        while not condition():
            if time.time() > until:
                self.end_drivers()
                raise AssertionError(f"{what} did not come about; " + self.everything())
            time.sleep(0.1)
        return time.time()

    def end_drivers(self) -> None:
        """End drivers that still run; each writes into its log where its threads are."""
        for driver in self._drivers:
            if driver.poll() is None:
                driver.send_signal(signal.SIGABRT)
                driver.wait(30)

    def everything(self) -> str:
        return "\n".join(f"--- {p.name}\n{p.read_text()[-6000:]}" for p in sorted(self.folder.glob("*.log")))

    def assert_complete(self, driver: subprocess.Popen, *, within_s: float = 300) -> str:
        assert driver.wait(within_s) == 0, self.everything()
        said = self.said(f"driver{self._n}")
        assert "Traceback" not in said, said
        for kind in KINDS:
            right, found = (measured(folder, kind) for folder in (self.origin / "right", self.folder / "store"))
            assert right, kind
            assert found == right
        assert [c.problem for c in verify(open_store(self.folder / "store")) if c.problem] == []
        return said

    def end(self) -> None:
        self._hosts.mend("w2")
        for process in (*self.workers.values(), self.scheduler):
            self._hosts.kill(process)


def measured(folder: Path, kind: str) -> dict[str, float]:
    """Return what was measured of each job; each is there once."""
    table = open_store(folder).results.dataset(kind).to_table()
    ids = table["job_id"].to_pylist()
    assert len(ids) == len(set(ids))
    return dict(zip(ids, table[{"probes": "accuracy", "cka": "value"}[kind]].to_pylist(), strict=True))


@pytest.fixture
def cluster(hosts, undisturbed, tmp_path):
    made = Cluster(hosts, undisturbed, tmp_path)
    yield made
    made.end()


def test_strangers_get_nothing(cluster, hosts, undisturbed):
    plan = ["plan", undisturbed / "study.yaml"]
    asked = {
        "right": ([*plan, "--scheduler", ADDRESS, "--tls", undisturbed / "tls"], 0, "cluster  2 workers"),
        "none": ([*plan, "--scheduler", ADDRESS], 2, "needs certificates"),
        "other": ([*plan, "--scheduler", ADDRESS, "--tls", undisturbed / "other"], 2, "do not accept each other's"),
        "plain": ([*plan, "--scheduler", ADDRESS.replace("tls", "tcp")], 2, "say --insecure"),
        "open": ([*plan, "--scheduler", ADDRESS.replace("tls", "tcp"), "--insecure"], 2, "no scheduler answers"),
        "worker": (["worker", ADDRESS, "--tls", undisturbed / "other", "--workers", 1], 2, "do not accept each"),
    }
    for name, (words, code, told) in asked.items():
        process = hosts.run("w1", [*COMMAND, *words], cluster.folder / f"{name}.log")
        assert process.wait(120) == code, cluster.said(name)
        assert told in cluster.said(name), cluster.said(name)
        assert "Traceback" not in cluster.said(name)
        assert name == "right" or cluster.said(name).count("\n") == 1, cluster.said(name)
    assert cluster.said("w1").count("for tls") == 1  # and the others work on, untouched


_RAW = """
import socket, ssl, sys, urllib.request
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as plain:
    try:
        with context.wrap_socket(plain) as secret:
            print("got", len(secret.recv(1)))
    except OSError as e:
        print("refused", type(e).__name__)
try:
    urllib.request.urlopen(f"http://{sys.argv[1]}:18787/metrics", timeout=5)
    print("dashboard open")
except OSError as e:
    print("dashboard shut")
"""


def test_a_bare_connection_and_the_dashboard_are_shut(cluster, hosts):
    process = hosts.run("w1", [sys.executable, "-c", _RAW, ADDRESSES["s"], PORT], cluster.folder / "raw.log")
    assert process.wait(60) == 0, cluster.said("raw")
    assert re.fullmatch(r"(refused \w+|got 0)\ndashboard shut\n", cluster.said("raw"))


def test_a_host_that_is_cut_off_for_30_s_comes_back(cluster, hosts):
    driver = cluster.drive()
    cluster.wait(lambda: {s["host"] for s in cluster.starts()} == {"w1", "w2"}, "work on both hosts")
    before = {s["pid"] for s in cluster.starts() if s["host"] == "w2"}
    began = time.time()
    hosts.cut("w2")
    lost = [s["batch"] for s in cluster.starts() if s["host"] == "w2"][-1]
    told = cluster.wait(lambda: "trying again" in cluster.said("driver1"), "that it is lost", AGAIN_S)
    print(f"\ncut for 30 s: the batch was taken back {told - began:.1f} s after the cut")
    time.sleep(max(0.0, began + 30 - time.time()))
    hosts.mend("w2")
    mended = time.time()
    cluster.wait(
        lambda: any(s["host"] == "w2" and s["at"] > mended and s["pid"] not in before for s in cluster.starts()),
        "work on the host that was cut off",
        60,
    )
    print(f"its worker had work again {time.time() - mended:.1f} s after the link was back")
    cluster.assert_complete(driver)
    assert [s["host"] for s in cluster.starts() if s["batch"] == lost][-1] in ("w1", "w2")
    assert len([s for s in cluster.starts() if s["batch"] == lost]) >= 2


def test_the_work_of_a_host_that_is_cut_off_for_good_is_running_again_within_15_s(cluster, hosts):
    driver = cluster.drive()
    n_tasks = 0

    def all_in_flight() -> bool:
        nonlocal n_tasks
        found = re.search(r"farm +(\d+) tasks", plan) if n_tasks == 0 else None
        n_tasks = int(found[1]) if found else n_tasks
        return len({s["batch"] for s in cluster.starts()}) >= n_tasks

    plan = subprocess.run(
        [*DRIVER, "plan", str(cluster.origin / "study.yaml"), "--store", str(cluster.folder / "store")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    cluster.wait(all_in_flight, "the last task's start", 300)
    (last,) = [s for s in cluster.starts() if s["host"] == "w2"][-1:]
    began = time.time()
    hosts.cut("w2")
    hosts.kill(cluster.workers["w2"])  # nothing of it writes what it was at
    assert last["at"] > began - PAUSE_S, "it had nothing to lose"
    again = cluster.wait(
        lambda: any(s["batch"] == last["batch"] and s["host"] == "w1" for s in cluster.starts()),
        "that the lost batch runs again",
        AGAIN_S,
    )
    print(f"\ncut for good: the lost batch was running again after {again - began:.1f} s")
    cluster.assert_complete(driver)


def test_a_scheduler_that_is_killed_and_started_again_costs_time_only(cluster, hosts):
    driver = cluster.drive()
    cluster.wait(lambda: len(cluster.starts()) >= 4, "work")
    hosts.kill(cluster.scheduler)
    killed = time.time()
    cluster.wait(lambda: "does not answer: waiting" in cluster.said("driver1"), "that the driver says so", 30)
    for host in ("w1", "w2"):
        cluster.wait(lambda host=host: "does not answer: waiting" in cluster.said(host), "that workers say so", 60)
    cluster.scheduler = cluster.start_scheduler()
    back = time.time()
    cluster.wait(
        lambda: {s["host"] for s in cluster.starts() if s["at"] > back} == {"w1", "w2"}, "work on both hosts again", 60
    )
    print(
        f"\nscheduler away for {back - killed:.1f} s: both hosts had work {time.time() - back:.1f} s after its return"
    )
    said = cluster.assert_complete(driver)
    assert "is there again" in said


def test_a_scheduler_that_stays_away_is_told_and_nothing_is_lost(cluster, hosts):
    driver = cluster.drive(patience=5)
    cluster.wait(lambda: cluster.n_batches() >= 2, "results")
    hosts.kill(cluster.scheduler)
    assert driver.wait(120) == 1
    assert f"the scheduler at {ADDRESS} does not answer any more" in cluster.said("driver1")
    assert "Traceback" not in cluster.said("driver1")
    cluster.scheduler = cluster.start_scheduler()
    for host in ("w1", "w2"):
        cluster.wait(lambda host=host: "are there again" in cluster.said(host), "its workers", 90)
    cluster.assert_complete(cluster.drive())
