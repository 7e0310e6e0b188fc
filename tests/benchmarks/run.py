"""Run every benchmark and print one table: `make bench`, or `make bench ONLY=cka`."""

# ruff: noqa: E402

import platform
import sys

from drfarm.openmp import wait_briefly

wait_briefly()  # as the command does, before anything loads torch

import bench_cka
import bench_extract
import bench_extract_gpu
import bench_farm
import bench_logistic
import bench_paper_grid
import bench_probes
import bench_redundancy
import bench_report
import bench_ridge
import bench_scale
import bench_sharing
import bench_store
import torch
from rows import table

BENCHES = {
    "extract": bench_extract,
    "extract_gpu": bench_extract_gpu,
    "probes": bench_probes,
    "ridge": bench_ridge,
    "logistic": bench_logistic,
    "cka": bench_cka,
    "store": bench_store,
    "farm": bench_farm,
    "scale": bench_scale,
    "sharing": bench_sharing,
    "redundancy": bench_redundancy,
    "report": bench_report,
    "paper": bench_paper_grid,
}


def main() -> None:
    """Run those that are named, or all."""
    rows = []
    for name in sys.argv[1:] or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += BENCHES[name].bench()
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print(table(rows))
    held = [r for r in rows if r.bar is not None]
    missed = [r.what for r in held if not r.holds]
    print(
        f"\n{len(held) - len(missed)} of {len(held)} bars hold." + (f" Missed: {'; '.join(missed)}" if missed else "")
    )


if __name__ == "__main__":
    main()
