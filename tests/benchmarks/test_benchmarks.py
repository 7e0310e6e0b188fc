"""Every benchmark runs, at a small size; figures are for `make bench`, never for a test."""

import bench_cka
import bench_farm
import bench_probes
import bench_redundancy
import bench_store
import pytest
from rows import Row, table


@pytest.mark.parametrize(
    ("bench", "sizes", "n_rows"),
    [
        (bench_probes.bench, {"width": 64, "n": 1024, "n_seeds": 1, "classes": (3, 100), "loop_steps": 1}, 8),
        (bench_cka.bench, {"n": 200, "width": 64, "n_seeds": 2}, 3),
        (bench_store.bench, {"n": 300, "width": 32}, 4),
        (bench_farm.bench, {"n": 300, "width": 32, "n_probes": 40, "n_planned": 1000}, 2),
        (bench_redundancy.bench, {"n_cells": 20}, 2),
    ],
)
def test_a_benchmark_runs(bench, sizes, n_rows):
    rows = bench(**sizes)
    assert len(rows) == n_rows
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
