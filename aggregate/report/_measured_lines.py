"""The lines of accuracy or CKA against the size of the subset, ready to be drawn. Pure (no I/O)."""

from collections import defaultdict
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aggregate._curves import Curves, curves
from aggregate._labels import IdPair, id_label, id_pair, shorten, varying
from aggregate._runs import Integers, Measure, Runs, read_runs
from aggregate._whole import method_rank
from aggregate.report._ids import ids_of_runs
from aggregate.report._pool import MOST_POINTS, Line, Pool, as_float32, drawn, panels_of

Panels: TypeAlias = Literal["dataset", "layer"]

# Sizes of the paper's grid (its probe scripts) are kept where a curve is thinned: they are what others compare with.
_PAPER_PERCENT = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 80, 90, 100)
_BUDGET = 60_000
"""Points of all lines of a figure; where there are many lines, each has fewer."""
_DOTS = 60
"""Sizes at which the single seeds of a line are drawn."""


def measured_lines(table: pa.Table, *, measure: Measure, panels: Panels) -> Pool:
    """Read the lines of one measure.

    Parameters
    ----------
    table
        View `probes` or `cka`.
    panels
        `dataset`: a panel is a data set (and method, solver, protocol where there are several), a line a model and
        layer. `layer`: a panel is a layer on a data set, a line a method, and only layers with several methods are
        there; seeds are not drawn.
    """
    runs = read_runs(table, measure=measure)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    names = name_lines(runs.keys.to_pylist(), measure, panels)
    methods = [str(method) for method in runs.keys["method"].to_pylist()]
    bounds = curve.cell.searchsorted(np.arange(len(names) + 1))
    cells = [cell for cell in line_order(names, methods, panels) if bounds[cell] < bounds[cell + 1]]
    most = max(24, min(MOST_POINTS, _BUDGET // max(len(cells), 1)))
    run_starts = np.searchsorted(runs.cell * (runs.size.max(initial=0) + 1) + runs.size,
                                 curve.cell * (runs.size.max(initial=0) + 1) + curve.size)  # fmt: skip
    dots = panels == "dataset" and measure != "cka_pair"
    lines, at_points, at_dots, thinned = [], [], [], False
    n_points = n_dots = 0
    for cell in cells:
        part = np.arange(bounds[cell], bounds[cell + 1])
        width = int(runs.width[cell])
        keep = (np.array(_PAPER_PERCENT) * width / 100).astype(np.int64)
        chosen = part[drawn(curve.size[part], most, keep)]
        thinned |= chosen.size < part.size
        at_points.append(chosen)
        if dots:
            few = part[drawn(curve.size[part], min(_DOTS, most), keep)]
            at_dots.append(_runs_at(run_starts, curve, runs, few))
        seen = at_dots[-1].size if dots else 0
        panel, label, about = names[cell]
        lines.append(
            Line(
                label=label,
                about=about,
                panel=panel,
                width=width,
                whole=float(curve.whole[cell]) if measure == "accuracy" else np.nan,
                points=(n_points, n_points + chosen.size),
                dots=(n_dots, n_dots + seen),
            )
        )
        n_points, n_dots = n_points + chosen.size, n_dots + seen
    chosen = np.concatenate([np.empty(0, dtype=np.int64), *at_points])
    texts: dict[str, tuple[str, ...]] = {}
    points: dict[str, NDArray[Any]] = {
        "k": curve.size[chosen].astype(np.int32),
        "mean": as_float32(curve.mean[chosen]),
        "std": as_float32(curve.std[chosen]),
        "low": as_float32(curve.mean[chosen] - curve.std[chosen]),
        "high": as_float32(curve.mean[chosen] + curve.std[chosen]),
    }
    points["seeds"], texts["seeds"] = _seeds_of(curve, runs, chosen)
    columns: dict[str, NDArray[Any] | list[str]] = {}
    if measure != "cka_pair":
        ids = ids_of_runs(table, runs)
        texts["batch"] = ids.batches
        points["batch"] = ids.batch[run_starts[chosen]].astype(np.int32)
        if dots:
            rows = np.concatenate([np.empty(0, dtype=np.int64), *at_dots])
            columns = {
                "k": runs.size[rows].astype(np.int32),
                "value": as_float32(runs.value[rows]),
                "seed": runs.seeds[runs.seed[rows]].astype(np.int32),
                "batch": ids.batch[rows].astype(np.int32),
                "job": [ids.job[row] for row in rows],
            }
    return Pool(
        lines=tuple(lines),
        panels=panels_of([line.panel for line in lines]),
        points=points,
        dots=columns,
        texts=texts,
        thinned=thinned,
    )


def name_lines(keys: list[dict[str, Any]], measure: Measure, panels: Panels) -> list[tuple[str, str, str]]:
    """Return panel, label and the rest of each cell's names; no two lines of a panel share a label."""
    protocols = varying(keys, ("solver", "protocol")) if measure == "accuracy" else varying(keys, ("protocol",))
    methods = varying(keys, ("method",))
    short = shorten(identity for key in keys for identity in id_pair(key))
    found = []
    for key in keys:
        layer = f"{key['model']} / {key['layer']} ({key['width']})"
        variant = " ".join(str(key[name]) for name in protocols if key[name] is not None)
        method = str(key["method"])
        parts = (
            [str(key["dataset"]), variant]
            if panels == "layer"
            else [str(key["dataset"]), method * bool(methods), variant]
        )
        panel = " · ".join(filter(None, [layer if panels == "layer" else "", *parts]))
        solver = " ".join(filter(None, [key["solver"], key["protocol"]]))
        found.append((panel, method if panels == "layer" else layer, " · ".join(filter(None, [method, solver]))))
    rivals: dict[tuple[str, str], set[IdPair]] = defaultdict(set)
    for key, (panel, label, _) in zip(keys, found, strict=True):
        rivals[panel, label].add(id_pair(key))
    named = []
    for key, (panel, label, about) in zip(keys, found, strict=True):
        identity = id_label(id_pair(key), rivals[panel, label], short)
        named.append((panel, ", ".join(filter(None, [label, identity])), about))
    return named


def line_order(names: list[tuple[str, str, str]], methods: list[str], panels: Panels) -> list[int]:
    """Return the cells to draw, panel by panel: the first method's panels first."""
    if panels == "layer":
        several: dict[str, set[str]] = defaultdict(set)
        for method, (panel, _, _) in zip(methods, names, strict=True):
            several[panel].add(method)
        cells = [cell for cell, (panel, _, _) in enumerate(names) if len(several[panel]) > 1]
        return sorted(cells, key=lambda cell: (names[cell][0], method_rank(methods[cell])))
    return sorted(range(len(names)), key=lambda cell: (method_rank(methods[cell]), *names[cell][:2]))


def _runs_at(run_starts: Integers, curve: Curves, runs: Runs, chosen: Integers) -> Integers:
    """Return the runs of the chosen sizes; a size that was measured has a run in every one of them."""
    ends = np.searchsorted(
        runs.cell * (runs.size.max(initial=0) + 1) + runs.size,
        curve.cell[chosen] * (runs.size.max(initial=0) + 1) + curve.size[chosen],
        side="right",
    )
    return np.concatenate([np.empty(0, dtype=np.int64), *map(np.arange, run_starts[chosen], ends)])


def _seeds_of(curve: Curves, runs: Runs, chosen: Integers) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Name the seeds behind each chosen size: codes, and what they stand for."""
    ends = np.append(curve.starts[1:], curve.seed.size)
    codes: dict[bytes, int] = {}
    texts: list[str] = []
    code = np.empty(chosen.size, dtype=np.int32)
    for at, point in enumerate(chosen):
        seeds = curve.seed[curve.starts[point] : ends[point]]
        known = codes.setdefault(seeds.tobytes(), len(codes))
        if known == len(texts):
            texts.append(_listed(runs.seeds[seeds]))
        code[at] = known
    return code, tuple(texts)


def _listed(seeds: Integers) -> str:
    """Write seeds as people do: `1-5`, `1, 3, 7`."""
    distinct = np.unique(seeds)
    if distinct.size > 2 and distinct[-1] - distinct[0] == distinct.size - 1:
        return f"{distinct[0]}–{distinct[-1]} ({distinct.size})"
    return ", ".join(map(str, distinct)) + (f" ({distinct.size})" if distinct.size > 1 else "")
