"""Many jobs: the farm's own rate, the driver's memory, a second core, a thousand simulated workers."""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from bench_store import write
from rows import Row, seconds, table
from simulate import TROUBLES, driver_bytes, simulate
from synthetic import plan, study, target

from drfarm.farm import FarmOptions, run_tasks
from drfarm.tasks import plan_tasks
from probe import ProbeTask, SubsetGroup, run_task
from store import open_store


def bench(*, n_jobs=10_000, n_planned=100_000, n_simulated=1_000_000, n_workers=1000, second=None):
    """Return rows for the farm's rate, planning in a fresh process, two workers against one, and the simulation."""
    return [
        _tiny_jobs(n_jobs),
        *_driver(n_planned),
        _second_core(**(second or {})),
        _simulated(n_simulated, n_workers),
    ]


def _tiny_jobs(n_jobs):
    like = target("m", 64, 1000, "train", "test")
    tasks = [
        ProbeTask(
            store_url="nowhere",
            names=like.names,
            setting=like.settings[0],
            groups=(SubsetGroup(method="random", seed=seed, sizes=(1,)),),
            predicted_s=0.001,
            predicted_bytes=1,
        )
        for seed in range(n_jobs)
    ]
    times = []
    run_tasks(
        tasks,
        FarmOptions(n_workers=2),
        work=id,
        done=lambda task: times.append(time.perf_counter()),
        failed=lambda failure: (_ for _ in ()).throw(AssertionError(failure.error)),
        retried=lambda task, why: None,
    )
    assert len(times) == n_jobs
    rate = (n_jobs - 1) / (times[-1] - times[0])
    return Row(
        what=f"{n_jobs:,} tiny jobs through the farm, 2 workers",
        ours=f"{rate:,.0f} jobs/s",
        baseline="the bar, in jobs/s",
        ratio=rate,
        bar=200,
    )


def _driver(n_planned):
    measured = driver_bytes(n_planned)
    return [
        Row(
            what=f"planning {n_planned:,} probes into {measured['n_tasks']:,} tasks, in a fresh process",
            ours=seconds(measured["plan_s"]),
            baseline="the bar, in seconds",
            ratio=measured["plan_s"],
            bar=5,
            at_least=False,
        ),
        Row(
            what="the driver's peak memory then, all tasks queued",
            ours=f"{measured['peak'] / 2**20:,.0f} MiB",
            baseline=f"libraries alone {measured['imported'] / 2**20:,.0f} MiB; the bar, in MiB",
            ratio=measured["peak"] / 2**20,
            bar=500,
            at_least=False,
        ),
    ]


def _simulated(n_probes, n_workers):
    trouble = "1 % failures"
    outcome = simulate(plan(n_probes), n_workers, TROUBLES[trouble])
    assert outcome.n_done == n_probes or outcome.n_given_up  # three failures in a row
    return Row(
        what=f"simulation: {n_probes:,} probes on {n_workers:,} workers, {trouble}: efficiency",
        ours=f"{outcome.wall_s / 3600:,.2f} h",
        baseline=f"work / workers {outcome.planned_s / n_workers / 3600:,.2f} h",
        ratio=outcome.efficiency,
        bar=0.9,
    )


def _second_core(n=20_000, width=1024, n_probes=100, gemm=1024, gemm_s=2.0):
    """Time probes on one and on two workers, and beside each the machine's own product in as many processes."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), create=True)
        train_id = write(store, np.maximum(rng.standard_normal((n, width), dtype=np.float32), 0), "lz4", 0)
        test_id = write(store, np.maximum(rng.standard_normal((1000, width), dtype=np.float32), 0), "lz4", 1)
        like = target("m", width, n, train_id, test_id)
        farms, products = {}, {}
        for n_workers in (1, 2):
            # Products before and after: what else the machine does falls on both.
            before = _products_per_s(n_workers, gemm, gemm_s)
            farms[n_workers] = _probes_per_s(store, like, n_probes, n_workers)
            products[n_workers] = (before + _products_per_s(n_workers, gemm, gemm_s)) / 2
    gained, possible = farms[2] / farms[1], products[2] / products[1]
    return Row(
        what=f"{n_probes} probes: what a second worker gains, of what a second core can",
        ours=f"{gained:.2f} x the rate of one",
        baseline=f"two processes' {gemm} x {gemm} products {possible:.2f} x one's",
        ratio=gained / possible,
        bar=0.9,
    )


def _probes_per_s(store, like, n_probes, n_workers):
    """Return the rate once the workers are there: a first small task for each is not counted."""
    fractions = [i / 20 for i in range(1, 21)]
    n_seeds = n_probes // len(fractions)

    def planned(fractions, seeds):
        return plan_tasks(study(fractions, seeds), store.url, (like,), store, [])[0]

    # Seeds of its own: what the other farm measured is done.
    first = [t for i in range(n_workers) for t in planned([0.01], [90_000 + 100 * n_workers + i])]
    timed = [planned(fractions, [1000 * n_workers + i for i in range(n_seeds)])]
    began, n_done = [], 0

    def more():
        began.append(time.perf_counter())
        return timed.pop() if timed else []

    def done(task):
        nonlocal n_done
        n_done += task.n_jobs

    run_tasks(
        first,
        FarmOptions(n_workers=n_workers),
        work=partial(run_task, keep=True),
        more=more,
        done=done,
        failed=lambda failure: (_ for _ in ()).throw(AssertionError(failure.error)),
        retried=lambda task, why: None,
    )
    assert n_done == sum(t.n_jobs for t in first) + n_probes
    return n_probes / (began[1] - began[0])


_PRODUCTS = """
import sys, time
import torch
torch.set_num_threads(1)
a = torch.randn(int(sys.argv[1]), int(sys.argv[1]))
a @ a
print("ready", flush=True)
sys.stdin.readline()
n, end = 0, time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < end:
    a @ a
    n += 1
print(n)
"""


def _products_per_s(n_processes, size, duration_s):
    """Return how many square products so many processes of one thread form in a second, together."""
    command = [sys.executable, "-c", _PRODUCTS, str(size), str(duration_s)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(n_processes)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(int(process.communicate()[0]) for process in running) / duration_s


if __name__ == "__main__":
    # One part alone: `python tests/benchmarks/bench_scale.py tiny`.
    parts = {
        "tiny": lambda: [_tiny_jobs(10_000)],
        "driver": lambda: _driver(100_000),
        "second": lambda: [_second_core()],
        "simulated": lambda: [_simulated(1_000_000, 1000)],
    }
    print(table([row for name in sys.argv[1:] or parts for row in parts[name]()]))
