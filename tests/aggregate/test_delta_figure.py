"""DR against delta: the values against a loop over the definition, ends where nothing is known, what is drawn."""

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from aggregate import (
    HIGH_DELTAS,
    PAPER_DELTAS,
    InvalidOption,
    delta_figure,
    delta_lines,
    save_figure,
)
from aggregate._style import line_style
from aggregate.delta_figure import delta_axes

SIZES = (1, 5, 10, 20, 30, 50, 100)


def probes(make, models=("a", "b"), datasets=("p", "q"), seeds=(1, 2, 3), sizes=SIZES, **other):
    rng = np.random.default_rng(5)
    return make.probes(
        [
            make.probe(k, float(0.9 * (1 - np.exp(-k / 20)) + 0.02 * rng.random()), s, model=m, dataset=d, **other)
            for m in models
            for d in datasets
            for k in sizes
            for s in seeds
        ]
    )


def by_hand(table, key, delta, rule):
    """Eq. 1, or the authors' `estimate_dr`, for one curve by a data frame."""
    frame = table.to_pandas()
    frame = frame[(frame.model == key.model) & (frame.dataset == key.dataset) & (frame.method == key.method)]
    mean = frame.groupby("n_neurons")["accuracy"].mean()
    ratio = mean / mean[mean.index.max()]
    if rule == "nearest":
        return 1 - (ratio - delta).abs().idxmin() / key.width
    return 1 - min(ratio.index[ratio >= delta - 1e-12]) / key.width


@pytest.mark.parametrize("rules", [("strict",), ("nearest",), ("strict", "nearest")])
def test_lines_are_the_definition_at_every_delta(make, rules):
    table = probes(make)
    lines = delta_lines(table, rules=rules, deltas=HIGH_DELTAS)
    assert len(lines) == 4 * len(rules)
    assert {(line.panel, line.label) for line in lines} == {(d, f"{m}/l (100)") for d in "pq" for m in "ab"}
    for line in lines:
        expected = [by_hand(table, line.key, delta, line.rule) for delta in HIGH_DELTAS]
        np.testing.assert_allclose(line.dr, expected, rtol=0, atol=1e-12)
        assert len(set(expected)) > 2


def test_the_papers_levels():
    assert len(PAPER_DELTAS) == 29  # 0.8 is in both of its ranges
    assert (PAPER_DELTAS[0], PAPER_DELTAS[-1]) == (0, 1)
    assert 0.8 in PAPER_DELTAS
    assert (len(HIGH_DELTAS), HIGH_DELTAS[0], HIGH_DELTAS[-1]) == (10, 0.75, 1)


def test_order_and_repeats_of_deltas_do_not_matter(make):
    table = probes(make)
    one, other = (delta_lines(table, deltas=deltas) for deltas in ([0.9, 0.8], [0.8, 0.9, 0.8]))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.dr, b.dr)
        np.testing.assert_array_equal(a.delta, [0.8, 0.9])


def test_panels_by_model_and_methods_and_protocols(make):
    table = pa.concat_tables([probes(make), probes(make, protocol="p2"), probes(make, method="first")])
    lines = delta_lines(table, deltas=[0.9], panel_by="model")
    assert ("a/l (100), paper", "p, random") in {(line.panel, line.label) for line in lines}
    assert ("a/l (100), p2", "p, random") in {(line.panel, line.label) for line in lines}
    assert len({(line.panel, line.label) for line in lines}) == len(lines) == 12


def test_several_ids_under_one_name_have_lines_of_their_own(make):
    table = pa.concat_tables([probes(make, models="a", datasets="p", test_id=c * 64) for c in "12"])
    assert [line.label for line in delta_lines(table)] == [f"a/l (100), test {c * 8}" for c in "12"]


def test_a_line_ends_where_no_size_reaches_delta(make):
    table = pa.concat_tables(
        [probes(make, models="a", datasets="p"), probes(make, models="a", datasets="p", method="pca", sizes=(1, 5, 20))]
    )
    short = next(line for line in delta_lines(table) if line.key.method == "pca")
    known = np.isfinite(short.dr)
    assert known[0]
    assert not known[-1]
    ax = Figure().subplots()
    delta_axes(ax, [short], style={short.label: line_style(0)})
    line, end = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), short.dr)
    last = np.flatnonzero(known)[-1]
    assert end.get_marker() == "x"
    assert (end.get_xdata()[0], end.get_ydata()[0]) == (short.delta[last], short.dr[last])
    assert short.dr[last] > 0


def test_a_complete_line_has_no_end_mark(make):
    (line,) = delta_lines(probes(make, models="a", datasets="p"))
    ax = Figure().subplots()
    delta_axes(ax, [line], style={line.label: line_style(0)})
    assert len(ax.lines) == 1


def test_the_figure_has_a_panel_per_dataset_and_says_what_it_shows(make, tmp_path):
    table = pa.concat_tables(
        [probes(make), probes(make, method="pca"), probes(make, models="z", datasets="p", sizes=(1, 5))]
    )
    figure = delta_figure(table, rules=("strict", "nearest"), deltas=HIGH_DELTAS)
    assert [ax.get_title() for ax in figure.axes] == ["p", "q"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["a/l (100)", "b/l (100)", "rule nearest"]
    words = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "Method: random." in words
    assert "Not drawn, for the whole layer was not measured or has accuracy 0: z/l (100) (p)." in words
    assert all(len(ax.lines) == 4 for ax in figure.axes)
    first = [path.read_bytes() for path in save_figure(figure, tmp_path / "one")]
    assert first == [path.read_bytes() for path in save_figure(figure, tmp_path / "two")]


def test_cka(make):
    cka = make.cka([make.similarity(k, k / 100, s) for k in SIZES for s in (1, 2)])
    (line,) = delta_lines(cka, measure="cka", deltas=[0.5, 0.9])
    np.testing.assert_allclose(line.dr, [0.5, 0.0])
    (pair,) = delta_lines(make.cka([make.similarity(50, 0.6, 1, 2)]), measure="cka_pair", deltas=[0.5, 0.9])
    np.testing.assert_array_equal(pair.dr, [0.5, np.nan])
    figure = delta_figure(cka, measure="cka")
    assert "linear CKA, part and whole" in figure.legends[0].get_title().get_text().replace("\n", " ")


def test_nothing_to_draw(make):
    assert delta_lines(probes(make, ())) == []
    assert [ax.get_title() for ax in delta_figure(probes(make, ())).axes] == ["no results"]


def test_wrong_options_are_refused(make):
    with pytest.raises(InvalidOption, match="at least one delta"):
        delta_lines(probes(make), deltas=())
    with pytest.raises(InvalidOption, match="at least one delta"):
        delta_lines(probes(make), rules=())
    with pytest.raises(InvalidOption, match=r"must lie in \[0, 1\], got 1.2"):
        delta_lines(probes(make), deltas=(1.2,))
    with pytest.raises(InvalidOption, match="rules must be among"):
        delta_lines(probes(make), rules=("exact",))
