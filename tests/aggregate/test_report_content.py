"""The figures and tables of a report hold the numbers of the results: against pandas, and with hostile names."""

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aggregate import redundancy
from aggregate.report import Plot, ReportInput, Table, content, plots_script
from aggregate.report._dr_table import dr_table
from aggregate.report._html import Head, Number, html_table
from aggregate.report._line_plot import plain
from aggregate.report._measured_lines import measured_lines
from aggregate.report._pool import MOST_LINES, drawn, panels_of

HOSTILE = "<img src=x onerror=alert(1)>$$x$$"
SIZES = (1, 5, 10, 20, 50, 100)


class Cells(HTMLParser):
    """Collects the texts of a table's rows, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.tags, self._open = [], set(), False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        self._open = tag in ("td", "th")
        if self._open:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._open = False

    def handle_data(self, data):
        if self._open:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def probes(make):
    rng = np.random.default_rng(1)
    rows = []
    for model in ("a", HOSTILE):
        for dataset in ("c", "d"):
            for method in ("random", "pca"):
                for k in SIZES:
                    for seed in (1, 2, 3):
                        values = rng.uniform(0, 1, 4)
                        rows.append(
                            make.probe(k, float(values.mean()), seed, model=model, dataset=dataset, method=method)
                            | {"class_accuracy": values.tolist(), "job_id": f"{len(rows):08x}{0:024x}"}
                        )
    return make.probes(rows).append_column("batch_id", pa.array([f"batch-{i // 9:04d}" for i in range(len(rows))]))


@pytest.fixture(scope="module")
def sections(probes):
    results = redundancy(probes, None, deltas=[0.5, 0.9])
    return content(ReportInput(title="t", probes=probes, cka=None, redundancy=results))


def plots(sections):
    return {part.id: part for section in sections for part in section.parts if isinstance(part, Plot)}


def test_every_section_with_data_is_there_in_order(sections):
    assert [s.id for s in sections] == ["summary", "redundancy", "curves", "methods", "thresholds", "classes"]
    ids = [part.id for section in sections for part in section.parts if isinstance(part, Plot | Table)]
    assert len(set(ids)) == len(ids)


def test_lines_hold_the_means_and_spreads_that_pandas_finds(probes):
    pool = measured_lines(probes, measure="accuracy", panels="dataset")
    frame = probes.to_pandas()
    assert len(pool.lines) == 8
    for line in pool.lines:
        part = slice(*line.points)
        model = "a" if line.label.startswith("a /") else HOSTILE
        dataset, method = line.panel.split(" · ")
        mine = frame[(frame["model"] == model) & (frame["dataset"] == dataset) & (frame["method"] == method)]
        mine = mine.groupby("n_neurons")
        assert pool.points["k"][part].tolist() == list(SIZES)
        np.testing.assert_allclose(pool.points["mean"][part], mine["accuracy"].mean(), rtol=1e-6)
        np.testing.assert_allclose(pool.points["std"][part], mine["accuracy"].std(ddof=0), rtol=1e-5)
        assert [pool.texts["seeds"][code] for code in pool.points["seeds"][part]] == ["1–3 (3)"] * len(SIZES)


def test_dots_hold_each_probe_with_its_job_and_batch(probes):
    pool = measured_lines(probes, measure="accuracy", panels="dataset")
    assert len(pool.dots["job"]) == probes.num_rows
    by_value = {np.float32(row["accuracy"]): row for row in probes.to_pylist()}
    for at, value in enumerate(pool.dots["value"]):
        row = by_value[value]
        assert (pool.dots["k"][at], pool.dots["seed"][at]) == (row["n_neurons"], row["seed"])
        assert pool.dots["job"][at] == row["job_id"][:8]
        assert pool.texts["batch"][pool.dots["batch"][at]] == row["batch_id"][:8]


def test_methods_share_a_panel_of_their_layer(probes):
    pool = measured_lines(probes, measure="accuracy", panels="layer")
    assert len(pool.panels) == 4
    assert all([pool.lines[at].label for at in members] == ["random", "pca"] for _, members in pool.panels)
    assert not pool.dots


def test_the_figure_starts_with_the_first_panel_and_holds_all(sections):
    plot = plots(sections)["curves-accuracy"]
    (tags,) = plot.model.tags
    text = json.loads(tags["text"])
    assert [control.name for control in plot.controls] == ["panel", "x", "scale"]
    assert len(plot.controls[0].options) == len(text["panels"]) == 4
    assert len(tags["slots"]) == 2
    line = text["lines"][text["panels"][0][0]]
    start, stop = line["points"]
    data = tags["slots"][0]["points"].data
    np.testing.assert_array_equal(data["mean"], tags["points"]["mean"][start:stop])
    np.testing.assert_allclose(data["x"], np.array(SIZES) / 100)
    assert plot.model.name == plot.id


def test_a_long_curve_is_thinned_evenly_and_keeps_the_grid(make):
    table = make.cka([make.similarity(k, 1 - 1 / k, s, width=2000) for k in range(1, 2001) for s in (1, 2)])
    pool = measured_lines(table, measure="cka", panels="dataset")
    sizes = pool.points["k"]
    assert pool.thinned
    assert 300 < sizes.size < 450
    assert {1, 2000, *(int(f * 2000) for f in (0.001, 0.01, 0.05, 0.1, 0.5))} <= set(sizes.tolist())
    np.testing.assert_allclose(pool.points["mean"], 1 - 1 / sizes, rtol=1e-6)
    assert np.diff(sizes).max() <= 20


def test_drawn_keeps_short_curves_whole():
    np.testing.assert_array_equal(drawn(np.arange(5, 30), 100, np.array([7])), np.arange(25))


def test_full_panels_are_split_and_no_line_is_lost():
    panels = panels_of(["one"] * (2 * MOST_LINES + 1) + ["two"])
    assert [title for title, _ in panels] == ["one (1 of 3)", "one (2 of 3)", "one (3 of 3)", "two"]
    assert sorted(at for _, members in panels for at in members) == list(range(2 * MOST_LINES + 2))
    assert max(len(members) for _, members in panels) <= MOST_LINES


def test_thresholds_are_those_of_redundancy(sections, probes):
    (tags,) = plots(sections)["thresholds-accuracy"].model.tags
    text = json.loads(tags["text"])
    line = next(one for one in text["lines"] if one["label"].startswith("a /") and one["about"].startswith("random"))
    start, stop = line["points"]
    expected = redundancy(probes, None, deltas=tags["points"]["x"][start:stop].tolist(), rules=["strict"]).to_pandas()
    mine = expected.query("model == 'a' and dataset == 'c' and method == 'random'")
    np.testing.assert_allclose(tags["points"]["mean"][start:stop], mine["dr"], rtol=1e-6)


def test_class_maps_hold_the_means_that_pandas_finds(sections, probes):
    plot = plots(sections)["classes"]
    (tags,) = plot.model.tags
    (first, *_) = json.loads(tags["text"])["maps"]
    assert len(plot.controls[0].options) == 4
    frame = probes.to_pandas().query("method == 'random' and dataset == 'c'")
    title = plot.controls[0].options[0]
    mine = frame[frame["model"] == ("a" if title.startswith("a/") else HOSTILE)]
    lists = pd.DataFrame(np.stack(mine["class_accuracy"]), index=mine["n_neurons"]).groupby(level=0).mean()
    order = lists.loc[100].sort_values(ascending=False).index
    assert first["classes"] == [str(at) for at in order]
    np.testing.assert_allclose(tags["accuracy"][: lists.size].reshape(4, -1), lists[order].T, rtol=1e-6)
    data = tags["source"].data
    np.testing.assert_allclose(data["accuracy"][len(SIZES)], lists[order[1]].iloc[0], rtol=1e-6)
    assert data["class"][len(SIZES)] == str(order[1])


def test_the_table_has_a_row_of_each_curve_and_threshold(sections, probes):
    (table,) = [part for part in sections[1].parts if isinstance(part, Table)]
    rows = Cells(table.html).rows
    results = redundancy(probes, None, deltas=[0.5, 0.9]).to_pandas().query("rule == 'strict'")
    assert len(rows) == 1 + len(results)
    head = rows[0]
    got = pd.DataFrame(rows[1:], columns=head)
    mine = got[(got["Model"] == "a") & (got["Data set"] == "d") & (got["Method"] == "random") & (got["δ"] == "0.9")]
    row = results.query("model == 'a' and dataset == 'd' and method == 'random' and delta == 0.9").iloc[0]
    assert mine["DR"].item() == f"{row['dr']:.2f}"
    assert mine["Bracket"].item() == f"[{row['bracket_low']:.2f}, {row['bracket_high']:.2f})"
    assert mine["95 % CI"].item() == f"{row['ci_low']:.2f}–{row['ci_high']:.2f}"


def test_censored_rows_say_what_is_known_and_sort_below(make):
    cka = make.cka([make.similarity(k, 0.3, s) for k in (10, 50) for s in (1, 2)])
    unknown = make.curve({10: [0.3, 0.4], 50: [0.4, 0.5]})
    table = dr_table(redundancy(unknown, cka, deltas=[0.9]))
    rows = Cells(table.html).rows
    column = rows[0].index("DR")
    assert [row[column] for row in rows[1:]] == ["—", "< 0.50"]
    assert 'data-order="-1">—' in table.html
    assert 'data-order="0.499999">&lt; 0.50' in table.html
    assert any(note.startswith("< bound") for note in table.notes)


def test_names_with_html_are_text_everywhere(sections):
    parts = [part for section in sections for part in section.parts if isinstance(part, Plot | Table)]
    html = "".join(part.data if isinstance(part, Plot) else part.html for part in parts)
    assert "<img" not in html
    parsed = Cells(html)
    assert parsed.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert any(HOSTILE in cell for row in parsed.rows for cell in row)


def test_bokeh_does_not_read_names_as_tex():
    assert plain("a$$b$$") == "a$\u200b$b$\u200b$"
    assert plain("resnet50 / layer4") == "resnet50 / layer4"


def test_hovers_escape_what_they_show(sections):
    from bokeh.models import HoverTool

    for plot in plots(sections).values():
        tips = [tip for tool in plot.model.select(HoverTool) for tip in tool.tooltips]
        assert tips
        assert not any("safe" in value or "custom" in value for _, value in tips)


def test_numbers_sort_as_numbers_and_texts_are_escaped():
    html = html_table([Head(text="<b>"), Head(text="n", numeric=True)], [["<i>", Number("1,000", 1000.0)]], caption="&")
    assert "&lt;b&gt;" in html
    assert '<th scope="row">&lt;i&gt;</th><td class="num" data-order="1000">1,000</td>' in html
    assert "<caption>&amp;</caption>" in html


def test_the_script_needs_nothing_that_a_strict_policy_forbids():
    script = plots_script()
    assert "eval" not in script
    assert "innerHTML" not in script
    assert len(script.splitlines()) < 120
