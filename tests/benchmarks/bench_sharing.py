"""Features in memory: kept for the next block; and one copy for all processes of a host against one each."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_store import write
from rows import Row, seconds, table
from synthetic import target

from probe import coordinates
from probe._inputs import Inputs
from probe._kept import Kept
from store import open_store

SHARED_MEMORY = Path("/dev/shm")


def bench(*, n=65_536, width=2048, n_processes=2):
    """Return rows for what a kept representation saves, and for two ways to hold it on a host."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), create=True)
        train_id = write(store, np.maximum(rng.standard_normal((n, width), dtype=np.float32), 0), "lz4", 0)
        test_id = write(store, np.maximum(rng.standard_normal((256, width), dtype=np.float32), 0), "lz4", 1)
        return [_kept(store, train_id, test_id, n, width), *_shared(store.url, train_id, n, width, n_processes)]


def _kept(store, train_id, test_id, n, width):
    """Time what comes before the training of a block: features in memory already, or read first."""
    setting = target("m", width, n, train_id, test_id).settings[0]
    kept, times = Kept(), {}
    for seed, name in ((1, "read"), (2, "kept")):
        began = time.perf_counter()
        inputs = Inputs(store, setting, kept)
        inputs.train_tensors(coordinates("random", seed, width, n_neurons=width))
        times[name] = time.perf_counter() - began
        inputs.leave()
    return Row(
        what=f"features of the next block, {n * width * 4 / 1e9:.1f} GB float32, kept in memory and put in order",
        ours=seconds(times["kept"]),
        baseline=f"read from a local store (lz4) {seconds(times['read'])}",
        ratio=times["read"] / times["kept"],
    )


_HOLD = """
import json, sys, time
from pathlib import Path
import numpy as np
how, url, train_id, scratch, number = sys.argv[1:]
from store import open_store
features = open_store(url).features.open(train_id)
order = np.random.default_rng(0).permutation(features.width)
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
if how == "each":
    x = features.numpy(neurons=order)
else:
    path, done = Path(scratch) / "x", Path(scratch) / "done"
    shape = (features.n_samples, features.width)
    if number == "0":
        shared = np.memmap(path, dtype=np.float32, mode="w+", shape=shape)
        for start, stop, block in features.blocks():
            shared[start:stop] = block
        done.touch()
    else:
        while not done.exists():
            time.sleep(0.005)
        shared = np.memmap(path, dtype=np.float32, mode="r", shape=shape)
    x = shared if how == "map" else shared[:, order]
total = float(x[::7, 0].sum()) + float(x[:, ::16].sum())
ready_s = time.perf_counter() - began
rows = np.random.default_rng(1).integers(0, len(x), (40, 256))
began = time.perf_counter()
for batch in rows:
    part = x[batch][:, order] if how == "map" else x[batch]
step_s = (time.perf_counter() - began) / len(rows)
sys.stdout.write(json.dumps({"ready_s": ready_s, "step_s": step_s}) + "\\n")
sys.stdout.flush()
sys.stdin.readline()
values = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
print(json.dumps({"pss": int(values["Pss"].split()[0]) * 1024}))
"""


def _held(how, url, train_id, n_processes):
    """Let processes of one host get the same features at once; return when the last is ready, and their memory."""
    where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as scratch:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", _HOLD, how, url, train_id, scratch, str(i)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(n_processes)
        ]

        def tell():
            for process in running:
                process.stdin.write("go\n")
                process.stdin.flush()

        for process in running:
            assert process.stdout.readline() == "ready\n"
        tell()
        found = [json.loads(process.stdout.readline()) for process in running]
        tell()
        memory = [json.loads(process.communicate()[0])["pss"] for process in running]
    return max(f["ready_s"] for f in found), max(f["step_s"] for f in found), sum(memory)


def _shared(url, train_id, n, width, n_processes):
    size = n * width * 4
    each_s, each_step, each_bytes = _held("each", url, train_id, n_processes)
    rows = []
    for how, what in (
        ("map", "one map, columns picked out of each mini-batch"),
        ("copy", "one map, an ordered copy each"),
    ):
        ready_s, step_s, held = _held(how, url, train_id, n_processes)
        rows.append(
            Row(
                what=f"{n_processes} processes hold {size / 1e9:.1f} GB: {what}; a mini-batch {seconds(step_s)}",
                ours=f"{seconds(ready_s)}, {held / 2**20:,.0f} MiB",
                baseline=f"a copy each {seconds(each_s)}, {each_bytes / 2**20:,.0f} MiB; {seconds(each_step)}",
                ratio=each_s / ready_s,
            )
        )
    return rows


if __name__ == "__main__":
    print(table(bench()))
