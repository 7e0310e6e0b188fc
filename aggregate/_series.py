"""The lines of a figure: one per cell, labelled so that no two of a panel share a name. Pure (no I/O)."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from aggregate._curves import curves
from aggregate._labels import IdPair, id_label, id_pair, shorten, varying
from aggregate._runs import Floats, Integers, Measure, read_runs

PanelBy: TypeAlias = Literal["dataset", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve: mean and spread over seeds against the fraction of neurons."""

    panel: str
    """Title of the panel that the curve belongs to."""
    label: str
    """Name of the curve in the legend."""
    method: str
    """How its subsets were chosen."""
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
    shares_whole: bool
    """Whether all curves of the panel are of one layer, whose value is then drawn once for all."""


def read_series(table: pa.Table, *, measure: Measure, panel_by: PanelBy, panel_suffix: str = "") -> list[Series]:
    """Read the curves of one measure from the view `probes` or `cka`, in the order of their names.

    A size at which any value is undefined is left out. Cells without a measured size are left out.

    Parameters
    ----------
    panel_by
        `dataset`: panels of datasets, a curve is a model and layer. `model`: panels of model, layer and dataset, a
        curve is a method. What else differs goes where it keeps panels small: solver and protocol to the panel, an
        estimator of CKA to the curve in panels of datasets.
    """
    runs = read_runs(table, measure=measure)
    curve = curves(runs, whole_is_one=measure != "accuracy")
    keys = runs.keys.to_pylist()
    names = [_name(key, varying(keys, ("solver", "protocol")), measure, panel_by, panel_suffix) for key in keys]
    short = shorten(identity for key in keys for identity in id_pair(key))
    rivals: dict[tuple[str, ...], set[IdPair]] = defaultdict(set)
    for key, name in zip(keys, names, strict=True):
        rivals[_rival(key, name, panel_by)].add(id_pair(key))
    bounds = curve.cell.searchsorted(range(len(keys) + 1))
    series = []
    for cell, (key, (panel, label)) in enumerate(zip(keys, names, strict=True)):
        part = slice(bounds[cell], bounds[cell + 1])
        if part.start == part.stop:
            continue
        identity = id_label(id_pair(key), rivals[_rival(key, (panel, label), panel_by)], short)
        if panel_by == "model":
            panel = ", ".join(filter(None, [panel, identity]))
        else:
            label = ", ".join(filter(None, [label, identity]))
        series.append(
            Series(
                panel=panel,
                label=label,
                method=str(key["method"]),
                fraction=curve.size[part] / key["width"],
                mean=curve.mean[part],
                std=curve.std[part],
                n_seeds=curve.n_seeds[part],
                whole=float(curve.whole[cell]),
                shares_whole=panel_by == "model",
            )
        )
    return sorted(series, key=lambda line: line.panel)


def _name(
    key: dict[str, Any], named: tuple[str, ...], measure: Measure, panel_by: PanelBy, suffix: str
) -> tuple[str, str]:
    """Return the panel and the label of a curve."""
    model, method = f"{key['model']}/{key['layer']} ({key['width']})", str(key["method"])
    variant = "/".join(str(key[name]) for name in named) if measure == "accuracy" else key["protocol"] or ""
    if panel_by == "model":
        return "\n".join([model, ", ".join(filter(None, [f"{key['dataset']}{suffix}", variant]))]), method
    if measure == "accuracy":
        return ": ".join(filter(None, [f"{key['dataset']}{suffix}", variant])), model
    return f"{key['dataset']}{suffix}", ", ".join(filter(None, [model, variant]))


def _rival(key: dict[str, Any], name: tuple[str, str], panel_by: PanelBy) -> tuple[str, ...]:
    """Return what an id has to be told apart within: a panel of one model, or one name of a line and its method."""
    return name[:1] if panel_by == "model" else (*name, str(key["method"]))
