"""Every benchmark runs, at a small size; figures are for `make bench`, never for a test."""

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
import pytest
import torch
from rows import Row, table

RIDGE = {
    "n": 300,
    "n_test": 100,
    "width": 48,
    "n_classes": 5,
    "n_seeds": 2,
    "n_refits": 3,
    "flowers": (60, 50, 32, 6),
}


@pytest.mark.parametrize(
    ("bench", "sizes", "n_rows"),
    [
        (bench_probes.bench, {"width": 64, "n": 1024, "n_seeds": 1, "classes": (3, 100), "loop_steps": 1}, 8),
        (bench_cka.bench, {"n": 200, "width": 64, "n_seeds": 2}, 3),
        (bench_store.bench, {"n": 300, "width": 32}, 4),
        (
            bench_extract.bench,
            {"n_images": 64, "n_photographs": 8, "n_long": 2000, "network": "test_resnet"},
            4 + 2 * (torch.cuda.is_available() or torch.get_num_threads() > 1),
        ),
        (
            bench_extract_gpu.bench,
            {
                "n_images": 16,
                "networks": ["test_resnet"],
                "batch_size": 8,
                "device": "cpu",
                "precision": "bfloat16",
                "n_warm": 1,
                "n_steps": 2,
            },
            2,
        ),
        (bench_farm.bench, {"n": 300, "width": 32, "n_probes": 40}, 1),
        (
            bench_scale.bench,
            {
                "n_jobs": 100,
                "n_planned": 1000,
                "n_simulated": 5000,
                "n_workers": 10,
                "second": {"n": 300, "width": 32, "n_probes": 40, "gemm": 64, "gemm_s": 0.05},
            },
            5,
        ),
        (bench_sharing.bench, {"n": 2048, "width": 64}, 3),
        (bench_redundancy.bench, {"n_cells": 20}, 3),
        (bench_report.bench, {"n_models": 2, "n_layers": 1, "n_sets": 2, "n_classes": 3}, 2),
        (
            bench_ridge.bench,
            {
                "n": 300,
                "n_test": 100,
                "width": 48,
                "n_classes": 5,
                "n_seeds": 2,
                "n_refits": 3,
                "flowers": (60, 50, 32, 6),
            },
            4,
        ),
        (bench_logistic.bench, {"problems": ((120, 3),), "width": 24, "sizes": (4, 12, 24), "n_seeds": 1}, 1),
    ],
)
def test_a_benchmark_runs(bench, sizes, n_rows):
    rows = bench(**sizes)
    assert len(rows) == n_rows
    assert all(r.ratio > 0 for r in rows)


def test_the_paper_grid_runs_in_small():
    rows = bench_paper_grid.bench(width=96, n=2000, n_test=100, n_classes=5, n_seeds=2, epochs=4, steps=3)
    assert len(rows) == 1 + torch.cuda.is_available()
    assert all(r.ratio > 0 for r in rows)


def test_the_table_tells_what_holds():
    good = Row(what="a", ours="1 s", baseline="b 20 s", ratio=20.0, bar=10)
    bad = Row(what="a", ours="1 s", baseline="b 2 s", ratio=1.2, bar=1.1, at_least=False)
    assert good.holds
    assert not bad.holds
    lines = table([good, bad]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [c.strip() for c in lines[2].split("|")[4:7]] == ["20", ">= 10", "yes"]
    assert [c.strip() for c in lines[3].split("|")[4:7]] == ["1.2", "<= 1.1", "NO"]
