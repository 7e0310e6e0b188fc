"""The lines of a figure: one per cell, labelled so that no two of a panel share a name. Pure (no I/O)."""

from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa

from aggregate._curves import curves
from aggregate._labels import IdPair, id_label, id_pair, shorten, varying
from aggregate._runs import Floats, Integers, Measure, read_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve: mean and spread over seeds against the fraction of neurons."""

    panel: str
    """Title of the panel that the curve belongs to."""
    label: str
    """Name of the curve in the legend."""
    fraction: Floats
    """k / d, ascending, shape (m,)."""
    mean: Floats
    """Shape (m,)."""
    std: Floats
    """Standard deviation, ddof 0, shape (m,)."""
    n_seeds: Integers
    """Distinct seeds, shape (m,)."""
    whole: float
    """Value of the whole layer, NaN where it was not measured."""


def read_series(table: pa.Table, *, measure: Measure, panel_suffix: str = "") -> list[Series]:
    """Read the curves of one measure from the view `probes` or `cka`, in the order of their names.

    A size at which any value is undefined is left out. Cells without a measured size are left out.
    """
    runs = read_runs(table, measure=measure)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    keys = runs.keys.to_pylist()
    named = varying(keys, ("method", "solver", "protocol"))
    short = shorten(identity for key in keys for identity in id_pair(key))
    rivals: dict[tuple[str, str], set[IdPair]] = defaultdict(set)
    names = []
    for key in keys:
        label = ", ".join([f"{key['model']}/{key['layer']} ({key['width']})", *(str(key[name]) for name in named)])
        names.append((f"{key['dataset']}{panel_suffix}", label))
        rivals[names[-1]].add(id_pair(key))
    bounds = curve.cell.searchsorted(range(len(keys) + 1))
    series = []
    for cell, (key, name) in enumerate(zip(keys, names, strict=True)):
        part = slice(bounds[cell], bounds[cell + 1])
        if part.start == part.stop:
            continue
        identity = id_label(id_pair(key), rivals[name], short)
        series.append(
            Series(
                panel=name[0],
                label=f"{name[1]}, {identity}" if identity else name[1],
                fraction=curve.size[part] / key["width"],
                mean=curve.mean[part],
                std=curve.std[part],
                n_seeds=curve.n_seeds[part],
                whole=float(curve.whole[cell]),
            )
        )
    return series
