"""Everything that a report says and shows of the results, in the order to be read."""

from importlib.resources import files

import pyarrow as pa

from aggregate._runs import Measure
from aggregate.report._alternative import lines_table, points_table
from aggregate.report._class_plot import chosen_maps, map_controls, map_plot, map_table
from aggregate.report._content import Findings, Paragraphs, Part, Plot, ReportInput, Section
from aggregate.report._delta_lines import delta_lines
from aggregate.report._dr_table import dr_table
from aggregate.report._findings import findings
from aggregate.report._line_plot import Axes, line_controls, line_plot
from aggregate.report._measured_lines import Panels, measured_lines
from aggregate.report._pool import Pool

_BAND = "Line: mean over seeds. Band: ± 1 standard deviation over seeds (ddof 0)."
_LEGEND = "A click on a line's name hides it."
_DELTAS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.94, 0.98)
_CURVE_TITLES: dict[Measure, str] = {
    "accuracy": "Accuracy of a part of the neurons",
    "cka": "CKA of a part of the neurons with the whole layer",
    "cka_pair": "CKA of two parts of equal size",
}
_PANELS = {"dataset": "Data set", "layer": "Layer"}


def content(report: ReportInput) -> tuple[Section, ...]:
    """Return what a report shows of its results: findings, DR table, curves, methods, thresholds, classes.

    A section without anything to show is left out; the summary is always there and says so where nothing was measured.

    Parameters
    ----------
    report
        Tables as in the views of a store. `probes` needs `class_accuracy` for the maps of classes only.

    Raises
    ------
    InvalidTable, ConflictingResults
        As `redundancy`.
    """
    sections = [
        Section(id="summary", title="Summary", parts=(Findings(findings=findings(report)),)),
        Section(id="redundancy", title="Diffused redundancy", parts=_redundancy(report)),
        Section(id="curves", title="Curves", parts=_curves(report)),
        Section(id="methods", title="Random neurons against other choices", parts=_methods(report)),
        Section(id="thresholds", title="Redundancy at every threshold", parts=_thresholds(report)),
        Section(id="classes", title="Classes", parts=_classes(report.probes)),
    ]
    return tuple(section for section in sections if section.parts)


def plots_script() -> str:
    """Return the script that answers the choices above the plots; it has to run after Bokeh's own."""
    return files("aggregate.report").joinpath("plots.js").read_text(encoding="utf-8")


def _redundancy(report: ReportInput) -> tuple[Part, ...]:
    if not report.redundancy.num_rows:
        return ()
    what = (
        "DR = 1 - k*/d: the share of a layer's d neurons that can be left out at random while the rest keeps δ of what "
        "the whole layer reaches. The table sorts by any column and filters by words and choices."
    )
    return Paragraphs(texts=(what,)), dr_table(report.redundancy)


def _curves(report: ReportInput) -> tuple[Part, ...]:
    parts: list[Part] = []
    for measure in _CURVE_TITLES:
        table = report.probes if measure == "accuracy" else report.cka
        if table is not None and table.num_rows:
            pool = measured_lines(table, measure=measure, panels="dataset")
            if pool.lines:
                parts.append(_curve(pool, measure, "dataset"))
    return tuple(parts)


def _methods(report: ReportInput) -> tuple[Part, ...]:
    parts: list[Part] = []
    measures: tuple[Measure, ...] = ("accuracy", "cka")
    for measure in measures:
        table = report.probes if measure == "accuracy" else report.cka
        if table is not None and table.num_rows:
            pool = measured_lines(table, measure=measure, panels="layer")
            if pool.lines:
                parts.append(_curve(pool, measure, "layer"))
    return tuple(parts)


def _curve(pool: Pool, measure: Measure, panels: Panels) -> Plot:
    panel = _PANELS[panels]
    name = f"{_CURVE_TITLES[measure]}, by {'method' if panels == 'layer' else panel.lower()}"
    axes = Axes(y="accuracy" if measure == "accuracy" else "linear CKA", value="mean", spread=" ± @std{0.0000}")
    what = {
        "accuracy": f"{_BAND} Dotted: the whole layer.",
        "cka": _BAND,
        "cka_pair": "Line: mean over pairs of seeds. Band: ± 1 standard deviation over pairs (ddof 0).",
    }[measure]
    dots = " Dots: single seeds." if pool.dots else ""
    thinned = (
        " Where more sizes were measured than can be told apart, some are drawn (the paper's grid among them, exact)."
        if pool.thinned
        else ""
    )
    id_ = f"{'methods' if panels == 'layer' else 'curves'}-{measure.replace('_', '-')}"
    return Plot(
        id=id_,
        model=line_plot(pool, axes, id=id_),
        label=name,
        caption=f"{name}. {what}{dots}{thinned} Widths d in parentheses. {_LEGEND}",
        data=lines_table(pool, caption=f"{name}: mean ± standard deviation", panel=panel),
        controls=line_controls(pool, axes, panel=panel),
    )


def _thresholds(report: ReportInput) -> tuple[Part, ...]:
    parts: list[Part] = []
    measures: tuple[Measure, ...] = ("accuracy", "cka")
    for measure in measures:
        table = report.probes if measure == "accuracy" else report.cka
        if table is None or not table.num_rows:
            continue
        pool = delta_lines(table, measure=measure)
        if not pool.lines:
            continue
        of_what = "accuracy" if measure == "accuracy" else "CKA"
        name = f"DR against δ, by {of_what}"
        axes = Axes(y="DR", value="DR", spread=" (@low{0.00}–@high{0.00})", x="δ")
        parts.append(
            Plot(
                id=f"thresholds-{measure}",
                model=line_plot(pool, axes, id=f"thresholds-{measure}"),
                label=name,
                caption=(
                    f"{name}: DR by Eq. 1 on the measured sizes at every threshold. Band: 95 % interval over seeds. "
                    f"No point: no measured size reaches δ. {_LEGEND}"
                ),
                data=points_table(pool, caption=name, panel="Data set", at=_DELTAS, x="δ ="),
                controls=line_controls(pool, axes, panel="Data set"),
            )
        )
    return tuple(parts)


def _classes(probes: pa.Table | None) -> tuple[Part, ...]:
    if probes is None or "class_accuracy" not in probes.column_names:
        return ()
    maps, n_all = chosen_maps(probes)
    if not maps:
        return ()
    some = f" {len(maps)} of {n_all} curves are here; `drfarm figure` draws all." if len(maps) < n_all else ""
    method = str(maps[0].key.method)
    return (
        Plot(
            id="classes",
            model=map_plot(maps, id="classes"),
            label="Accuracy of every class at every subset size",
            caption=(
                f"Accuracy of each class (row) at each subset size (column), mean over seeds; method {method}. Classes "
                f"in order of their accuracy at the largest size, best above.{some}"
            ),
            data=map_table(maps),
            controls=map_controls(maps),
        ),
    )
