"""Real processes, killed, doubled and starved: nothing half-written is ever read, and a rerun completes."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from store import Corrupt, Incomplete, StorageFailure, open_store, verify
from store.testing import make_key

pytestmark = pytest.mark.slow

WORK = """
import os, sys
import numpy as np
import zarr, zarr.storage, zarr.codecs, pyarrow.dataset
from store import open_store
from store.testing import make_cka_row, make_key, make_probe_row

def values(view, start, stop):
    return np.random.default_rng([view, start]).standard_normal((stop - start, 64)).astype(np.float32)

def features(store, weights, codec, order=None):
    writer = store.features.create(
        make_key(weights=weights, n_views=2), width=64, labels=np.arange(2000) % 10,
        sample_ids=[str(i) for i in range(2000)], classes=[str(i) for i in range(10)], codec=codec, rows_per_chunk=300)
    cells = writer.missing() if order is None else writer.grid.cells()[order:] + writer.grid.cells()[:order]
    for view, chunk in cells:
        start, stop = writer.span(chunk)
        writer.write_chunk(view, chunk, values(view, start, stop))
    return writer

def results(store):
    for kind, make in (("probes", make_probe_row), ("cka", make_cka_row)):
        done = store.results.jobs(kind)
        for b in range(12):
            rows = [make(f"b{b}", f"{b}-{i}") for i in range(30)]
            if not all(r["job_id"] in done for r in rows):
                store.results.write(kind, f"b{b}", rows)
            if b % 4 == 3:
                store.results.compact(kind)

def work(url, todo):
    if todo == "all":
        store = open_store(url, create=True)
        for weights, codec in (("a", "lz4"), ("b", "none")):
            features(store, weights, codec).seal()
        results(store)
    else:
        features(open_store(url), "a", "lz4", int(todo))

# One process that has imported everything forks the workers: importing takes longer than the work.
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work(*line.split())
            code = 0
        finally:
            os._exit(code)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Workshop:
    """Starts workers, each a process of its own."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, url, todo="all"):
        """Return the process id of a worker that has begun."""
        self._process.stdin.write(f"{url} {todo}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def status(self):
        """Wait for the worker; return 0 where it ended well, else the signal that killed it."""
        return int(self._process.stdout.readline())

    def run(self, url, todo="all"):
        self.start(url, todo)
        assert self.status() == 0

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def workshops():
    """Two of them, so that two workers can run at once."""
    both = Workshop(), Workshop()
    for shop in both:
        assert shop._process.stdout.readline() == "ready\n"
    yield both
    for shop in both:
        shop.close()


N_KILLS = 24
JOBS = {f"{b}-{i}" for b in range(12) for i in range(30)}


def chunk_files(root):
    return {p.relative_to(root): p.read_bytes() for p in Path(root).rglob("features/**/activations/c/*/*/0")}


@pytest.fixture(scope="module")
def undisturbed(workshops, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed") / "s"
    began = time.perf_counter()
    workshops[0].run(root)
    return root, time.perf_counter() - began


def check_at_any_moment(root):
    """Whatever is readable is whole and true."""
    if not (root / "drfarm.json").exists():
        return
    store = open_store(root)
    for weights in "ab":
        rep_id = make_key(weights=weights, n_views=2).id
        if store.features.status(rep_id) == "complete":
            for view in range(2):
                assert np.isfinite(store.features.open(rep_id).numpy(view)).all()
        elif store.features.status(rep_id) == "partial":
            with pytest.raises(Incomplete, match="is not complete"):
                store.features.open(rep_id)
    assert [c.name for c in verify(store) if c.problem] == []
    for kind in ("probes", "cka"):
        jobs = store.results.table(kind)["job_id"].to_pylist()
        assert len(jobs) == len(set(jobs))
        batches = {j.split("-")[0] for j in jobs}
        assert len(jobs) == 30 * len(batches)  # whole batches only


def check_complete(root, calm):
    check_at_any_moment(root)
    assert chunk_files(root) == chunk_files(calm)
    assert len(chunk_files(root)) == 2 * 2 * 7
    for kind in ("probes", "cka"):
        table = open_store(root).results.table(kind).sort_by("job_id")
        assert set(table["job_id"].to_pylist()) == JOBS
        assert table.equals(open_store(calm).results.table(kind).sort_by("job_id"))


def test_killed_at_random_moments_nothing_finished_is_lost(workshops, undisturbed, tmp_path):
    calm, wall_s = undisturbed
    shop, rng = workshops[0], random.Random(20)
    kills = completed = runs = 0
    done = {"probes": set(), "cka": set()}
    while kills < N_KILLS or not completed:
        runs += 1
        assert runs < 10 * N_KILLS
        root = tmp_path / f"s{completed}"
        worker = shop.start(root)
        time.sleep(rng.random() * wall_s * 0.6)
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        status = shop.status()
        assert status in (0, signal.SIGKILL)
        kills += status == signal.SIGKILL
        check_at_any_moment(root)
        if (root / "drfarm.json").exists():
            for kind, before in done.items():
                now = open_store(root).results.jobs(kind)
                assert before <= now, "a finished result was lost"
                done[kind] = now
        if status == 0:
            check_complete(root, calm)
            completed += 1
            done = {"probes": set(), "cka": set()}
    shop.run(root)
    check_complete(root, calm)


@pytest.mark.parametrize("orders", [(0, 7), (0, 0)])
def test_two_writers_of_one_representation(workshops, undisturbed, tmp_path, orders):
    calm, _ = undisturbed
    store = open_store(tmp_path / "s", create=True)
    for shop, order in zip(workshops, orders, strict=True):
        shop.start(store.url, order)
    for shop in workshops:
        assert shop.status() == 0
    rep_id = make_key(weights="a", n_views=2).id
    workshops[0].run(store.url)
    expected = open_store(calm).features.open(rep_id)
    for view in range(2):
        np.testing.assert_array_equal(store.features.open(rep_id).numpy(view), expected.numpy(view))
    assert chunk_files(store.url) == chunk_files(calm)
    assert [c.name for c in verify(store) if c.problem] == []


BATCHES = """
import sys, time
from store import open_store
from store.testing import make_probe_row
store, first = open_store(sys.argv[1]), int(sys.argv[2])
for b in range(first, first + 40):
    rows = [make_probe_row(f"b{b:03d}", f"{b}-{i}") for i in range(5)]
    store.results.write("probes", f"b{b:03d}", rows)
"""
COMPACTS = """
import sys
from pathlib import Path
from store import open_store
store = open_store(sys.argv[1])
n = 0
while not Path(sys.argv[2]).exists():
    n += store.results.compact("probes") > 0
print(n)
"""


def test_writers_compactors_and_a_reader_at_once(store, python, tmp_path):
    # Two writers share half of their batches; two compactors at once are more than is asked, and lose nothing either.
    stop = tmp_path / "stop"
    writers = [python(BATCHES, store.url, first) for first in (0, 20)]
    compactors = [python(COMPACTS, store.url, stop) for _ in range(2)]
    seen, looks = set(), 0
    deadline = time.monotonic() + 60
    while any(w.poll() is None for w in writers) and time.monotonic() < deadline:
        jobs = store.results.dataset("probes").to_table(columns=["job_id"])["job_id"].to_pylist()
        assert len(jobs) == len(set(jobs)), "a batch was read twice"
        assert seen <= set(jobs), "a finished batch was gone"
        ((rows, distinct),) = store.connect().sql("SELECT count(*), count(DISTINCT job_id) FROM probes").fetchall()
        assert rows == distinct >= len(jobs)
        assert rows % 5 == 0
        seen, looks = set(jobs), looks + 1
    stop.touch()
    for process in writers:
        assert process.wait(timeout=60) == 0, process.stderr.read()
    for process in compactors:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert looks >= 3
    assert store.results.jobs("probes") == {f"{b}-{i}" for b in range(60) for i in range(5)}
    store.results.compact("probes")
    assert store.results.table("probes").num_rows == 300
    assert len(store.objects.list("results/probes")) == 2


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a tmpfs; test_objects.py has a limit on file sizes instead")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk(small_disk):
    store = open_store(small_disk / "s", create=True)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_200_000)
    values = np.random.default_rng(0).standard_normal((1000, 250)).astype(np.float32)
    writer = store.features.create(
        make_key(),
        width=250,
        labels=[0] * 1000,
        sample_ids=["x"] * 1000,
        classes=["a"],
        codec="none",
        rows_per_chunk=250,
    )

    def write():
        for view, chunk in writer.missing():
            writer.write_chunk(view, chunk, values[slice(*writer.span(chunk))])

    with pytest.raises(StorageFailure, match=r"could not write .*The disk is full: free some space, then run again"):
        write()
    missing = writer.missing()
    assert 0 < len(missing) < 4
    assert [o.size_bytes for o in store.objects.list(f"{writer.key.path}/activations/c")] == [250_000] * (
        4 - len(missing)
    )
    assert [c.name for c in verify(store) if c.problem] == []
    with pytest.raises(Incomplete, match="are not written yet"):
        writer.seal()
    ballast.unlink()
    write()
    np.testing.assert_array_equal(writer.seal().numpy(), values)


def test_a_chunk_that_shrinks_under_a_reader_is_refused(store, write_features):
    writer, *_ = write_features(store, codec="none")
    features = store.features.open(writer.id)
    path = store.objects.local_root / features.chunk_object(0, 0)
    os.truncate(path, 10)
    with pytest.raises(Corrupt, match="has fewer than 36 bytes"):
        features.numpy()
