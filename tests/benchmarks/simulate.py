"""The real planner and the real queue against simulated workers: `python tests/benchmarks/simulate.py`.

Nothing is computed and nothing stored: a heap of events stands for the workers, and durations are drawn. What is real
is which tasks there are, which worker is given which, and when; and the driver's memory.
"""

import heapq
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import plan

from drfarm.farm._waiting import Order, Waiting
from drfarm.tail import shorter
from probe import ProbeTask, kept_by

ORDER = Order(seconds=lambda t: t.predicted_s, cut=shorter)

ATTEMPTS = 3
"""As the farm: a task that failed so often is given up."""
DISPATCH_S = 1 / 400
"""The driver hands out one task after the other; `bench_scale` measures at what rate."""
READ_S = 45_000 * 2048 * 4 / 200e6
"""Reading a representation of `synthetic.plan`, at a worker's share of the store where a thousand read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What goes wrong, and how often."""

    noise: float = 0.3
    """Spread of a task's time about what was predicted: sigma of its logarithm."""
    failures: float = 0.0
    """Share of tries that fail, somewhere on the way."""
    slow_workers: float = 0.0
    """Share of workers that take three times as long for everything."""
    stragglers: float = 0.0
    """Share of tries that take five times as long for no reason."""
    preempted_every_s: float = float("inf")
    """Mean life of a worker: it goes without a word, and another comes with nothing in memory ..."""
    away_s: float = 60.0
    """... so much later."""


QUIET = Trouble()
ROUGH = Trouble(failures=0.01, slow_workers=0.02, stragglers=0.005, preempted_every_s=4 * 3600.0)
TROUBLES = {
    "durations vary": QUIET,
    "1 % failures": Trouble(failures=0.01),
    "2 % slow workers": Trouble(slow_workers=0.02),
    "0.5 % stragglers": Trouble(stragglers=0.005),
    "preempted every 4 h": Trouble(preempted_every_s=4 * 3600.0),
    "all of these": ROUGH,
}


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a simulated study came to."""

    wall_s: float = 0.0
    """From the first task handed out to the last one ended."""
    planned_s: float = 0.0
    """Computing that the plan asks for, before anything is cut, at the usual speed."""
    speed: float = 0.0
    """Usual workers that would do as much: a slow one counts as a third."""
    n_done: int = 0
    """Probes that were measured."""
    n_given_up: int = 0
    """Tasks that failed too often."""
    n_tries: int = 0
    """Tasks handed out."""
    n_reads: int = 0
    """Of those, with a representation that the worker had to read first."""
    lost_s: float = 0.0
    """Time of tries that failed or were cut off."""
    ran: dict[str, int] = field(default_factory=dict)
    """How often each batch ended well."""

    @property
    def efficiency(self) -> float:
        """Share of what the workers could have computed in that time that is computed."""
        return self.planned_s / (self.speed * self.wall_s)


@dataclass(slots=True)
class _Worker:
    """A simulated process."""

    slowness: float
    dies_at: float
    name: str
    kept: str | None = None


def simulate(tasks: Sequence[ProbeTask], n_workers: int, trouble: Trouble, *, seed: int = 0) -> Outcome:
    """Run tasks on simulated workers; each holds one representation in memory."""
    rng = np.random.default_rng(seed)
    out = Outcome(planned_s=sum(t.predicted_s for t in tasks))
    waiting = Waiting(tasks, ORDER, kept_by)
    workers = [
        _Worker(
            3.0 if i < int(trouble.slow_workers * n_workers) else 1.0,
            rng.exponential(trouble.preempted_every_s) if np.isfinite(trouble.preempted_every_s) else float("inf"),
            f"w{i}",
        )
        for i in range(n_workers)
    ]
    out.speed = sum(1 / w.slowness for w in workers)
    free_at, driver_free = [(0.0, i) for i in range(n_workers)], 0.0
    # (when, its number, worker, task, try, whether it ended well)
    ends: list[tuple[float, int, int, ProbeTask, int, bool]] = []
    idle: list[int] = []
    number = 0
    while free_at or ends:
        if ends and (not free_at or ends[0][0] <= free_at[0][0]):
            now, _, i, task, attempt, well = heapq.heappop(ends)
            worker = workers[i]
            out.wall_s = max(out.wall_s, now)
            if well:
                out.n_done += task.n_jobs
                out.ran[task.batch_id] = out.ran.get(task.batch_id, 0) + 1
            elif attempt >= ATTEMPTS:
                out.n_given_up += 1
            else:
                waiting.retry(task, attempt + 1)
            if now >= worker.dies_at:  # another takes its place
                waiting.forget(worker.name)
                back = now + trouble.away_s
                workers[i] = _Worker(
                    worker.slowness, back + rng.exponential(trouble.preempted_every_s), f"{worker.name}'"
                )
                heapq.heappush(free_at, (back, i))
            else:
                heapq.heappush(free_at, (now, i))
            for other in idle:
                heapq.heappush(free_at, (now, other))
            idle.clear()
            continue
        now, i = heapq.heappop(free_at)
        worker = workers[i]
        taken = waiting.take(worker.name)
        if taken is None:
            if len(waiting) or ends:
                idle.append(i)
            if not ends:
                break
            continue
        task, attempt = taken
        driver_free = max(driver_free, now) + DISPATCH_S
        out.n_tries += 1
        (home,) = kept_by(task) or (None,)
        reads = home is not None and home != worker.kept
        out.n_reads += reads
        worker.kept = home
        # The mean is what was predicted.
        usual = task.predicted_s * rng.lognormal(-(trouble.noise**2) / 2, trouble.noise)
        spent = usual * worker.slowness * (5.0 if rng.random() < trouble.stragglers else 1.0)
        fails = rng.random() < trouble.failures
        begins = driver_free + (READ_S if reads else 0.0)
        end = begins + (spent * rng.random() if fails else spent)
        if end >= worker.dies_at:
            end, fails = max(worker.dies_at, driver_free), True
        out.lost_s += end - driver_free if fails else 0.0
        number += 1
        heapq.heappush(ends, (end, number, i, task, attempt, not fails))
    return out


def driver_bytes(n_probes: int) -> dict[str, float]:
    """Plan and queue in a fresh process; return its peak memory in bytes, before and after, and seconds."""
    code = "import simulate; simulate._measure()"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(n_probes)], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    return json.loads(ran.stdout)


def _measure() -> None:
    before = _peak_bytes()
    began = time.perf_counter()
    tasks = plan(int(sys.argv[1]))
    planned = time.perf_counter() - began
    waiting = Waiting(tasks, ORDER, kept_by)
    peak = _peak_bytes()
    print(json.dumps({"imported": before, "peak": peak, "plan_s": planned, "n_tasks": len(waiting)}))


def _peak_bytes() -> int:
    """Return the most memory that this process had: getrusage would count what its parent had before it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """Print efficiency and driver memory of a million probes."""
    n_probes = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    driver = driver_bytes(n_probes)
    print(
        f"{n_probes:,} probes in {driver['n_tasks']:,} tasks; planned in {driver['plan_s']:.1f} s; the driver's peak "
        f"{driver['peak'] / 2**20:,.0f} MiB, of which {driver['imported'] / 2**20:,.0f} MiB are libraries\n"
    )
    tasks = plan(n_probes)
    print("| workers | what goes wrong | wall | efficiency | tries | given up | read first | lost |")
    print("|---|---|---|---|---|---|---|---|")
    for n_workers in (1, 10, 100, 1000):
        for name, trouble in TROUBLES.items():
            o = simulate(tasks, n_workers, trouble)
            print(
                f"| {n_workers:,} | {name} | {o.wall_s / 3600:,.2f} h | {o.efficiency:.1%} | {o.n_tries:,} | "
                f"{o.n_given_up} | {o.n_reads / o.n_tries:.1%} | {o.lost_s / 3600:,.1f} h |",
                flush=True,
            )


if __name__ == "__main__":
    main()
