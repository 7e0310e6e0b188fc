"""Figures after the paper's: accuracy, or CKA, against the fraction of neurons kept.

What a line is and what a panel is differ: `accuracy_figure` and `cka_figure` compare models (Fig. 1), for one method;
`methods_figure` compares methods (Fig. 3), for one model. Each keeps a panel to a handful of lines.
"""

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from aggregate._panels import draw_panels
from aggregate._runs import Measure
from aggregate._series import Series, read_series
from aggregate._style import LineStyle, line_style, method_style
from aggregate._whole import method_rank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAND: Final = "band: ± 1 standard deviation (ddof 0); dotted: whole layer."
_PAIRS: Final = "seeds (pairs of seeds, for two parts)"


def accuracy_figure(probes: pa.Table) -> "Figure":
    """Draw accuracy against the fraction of neurons, one panel per dataset, one line per model and layer.

    x is k / d on a log scale (the paper's grid runs from 0.0005 to 1); y the mean over seeds, with a band of one
    standard deviation (ddof 0) on both sides; the dotted line is the whole layer. Where there are several solvers or
    protocols, each has a panel of its own. Where there are several methods, the first of `random`, `first`, `ranked`,
    `random_independent`, PCA and projections is drawn, and the legend says which: `methods_figure` has them all. Where
    one name stands for several ids, each has a line of its own.

    Parameters
    ----------
    probes
        View `probes`. Controls (random labels) are left out.

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    series, method = _of_one_method(read_series(probes, measure="accuracy", panel_by="dataset"))
    return draw_panels(series, style=_by_name(series), y_label="accuracy", caption=f"Mean over seeds; {_BAND}{method}")


def cka_figure(cka: pa.Table) -> "Figure":
    """Draw linear CKA against the fraction of neurons; part-whole and pairs in panels of their own per dataset.

    Axes, band and dotted line as in `accuracy_figure`, and one method as there; the whole layer has CKA 1. The band of
    pairs is over pairs. Estimators other than the biased one have lines of their own.

    Parameters
    ----------
    cka
        View `cka`.

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    series, method = _of_one_method(
        [
            *read_series(cka, measure="cka", panel_by="dataset", panel_suffix=": part and whole"),
            *read_series(cka, measure="cka_pair", panel_by="dataset", panel_suffix=": two parts"),
        ]
    )
    return draw_panels(
        series, style=_by_name(series), y_label="linear CKA", caption=f"Mean over {_PAIRS}; {_BAND}{method}"
    )


def methods_figure(table: pa.Table, *, measure: Measure = "accuracy") -> "Figure":
    """Draw accuracy or CKA against the fraction of neurons, a panel per model, layer and dataset, a line per method.

    Axes, band and dotted line as in `accuracy_figure`. A method looks the same in every figure. Where there are several
    solvers or protocols (or estimators of CKA), or one name stands for several ids, each has a panel of its own.

    Parameters
    ----------
    table
        View `probes` (for `accuracy`) or `cka` (for `cka` and `cka_pair`).
    measure
        What is drawn.

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    series = read_series(table, measure=measure, panel_by="model")
    methods = sorted({line.label for line in series}, key=method_rank)
    name = {"accuracy": "accuracy", "cka": "linear CKA, part and whole", "cka_pair": "linear CKA of two parts"}[measure]
    spread = "pairs of seeds" if measure == "cka_pair" else "seeds"
    return draw_panels(series, style=method_style(methods), y_label=name, caption=f"Mean over {spread}; {_BAND}")


def _of_one_method(series: list[Series]) -> tuple[list[Series], str]:
    """Keep the series of the first method; return them with what the caption has to say of it."""
    methods = sorted({line.method for line in series}, key=method_rank)
    if len(methods) < 2:
        return series, ""
    return [line for line in series if line.method == methods[0]], f" Method: {methods[0]}."


def _by_name(series: list[Series]) -> dict[str, LineStyle]:
    return {label: line_style(index) for index, label in enumerate(sorted({line.label for line in series}))}
