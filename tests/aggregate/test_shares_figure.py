"""Inequality of the classes against accuracy: marks against pandas, the enlarged range, what is drawn."""

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from aggregate import InvalidOption, class_shares, share_marks, shares_figure
from aggregate._style import line_style
from aggregate.shares_figure import PAPER_ZOOMS, ShareMarks, shares_axes, zoom_range

SIZES = (1, 2, 5, 10, 20, 50, 80, 100)


def probes(make, models=("a", "b"), datasets=("p", "q"), seeds=(1, 2, 3), sizes=SIZES, **other):
    rng = np.random.default_rng(7)
    rows = []
    for m in models:
        for d in datasets:
            for k in sizes:
                for s in seeds:
                    classes = np.clip(0.8 * (1 - np.exp(-k / 8)) + 0.1 * rng.standard_normal(6), 0, 1)
                    rows.append(
                        make.probe(
                            k, float(classes.mean()), s, model=m, dataset=d, class_accuracy=list(classes), **other
                        )
                    )
    return make.probes(rows)


def marks_of(make, table, **options):
    return share_marks(class_shares(table), **options)


@pytest.mark.parametrize("index", ["gini", "cv"])
def test_marks_against_pandas(make, index):
    table = probes(make)
    marks = marks_of(make, table, index=index)
    frame = table.to_pandas()
    assert len(marks) == 4
    for one in marks:
        mine = frame[(frame.model == one.key.model) & (frame.dataset == one.key.dataset)]
        np.testing.assert_allclose(one.fraction, np.array(SIZES) / 100)
        for position, k in enumerate(SIZES):
            rows = mine[mine.n_neurons == k]
            values = np.mean(np.stack(rows.class_accuracy.to_list()), axis=0) + 1e-7
            differences = np.abs(values[:, None] - values[None, :]).sum()
            expected = differences / (2 * values.size**2 * values.mean())
            if index == "cv":
                expected = np.std(values) / np.mean(values)
            assert one.inequality[position] == pytest.approx(expected, rel=1e-9)
            assert one.accuracy[position] == pytest.approx(rows.accuracy.mean())
        assert one.inequality.max() > one.inequality.min() > 0
        assert set(one.n_seeds) == {3}


def test_one_marker_per_size_and_no_lines(make):
    marks = [one for one in marks_of(make, probes(make)) if one.panel == "p"]
    style = {one.label: line_style(i) for i, one in enumerate(marks)}
    ax = Figure().subplots()
    shares_axes(ax, marks, style=style, zoom=None)
    assert [line.get_linestyle() for line in ax.lines] == ["None", "None"]
    for line, one in zip(ax.lines, marks, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), one.accuracy)
        np.testing.assert_array_equal(line.get_ydata(), one.inequality)
    assert not ax.child_axes
    joined = Figure().subplots()
    shares_axes(joined, marks, style=style, zoom=None, connect=True)
    assert len(joined.lines) == 4


def test_the_inset_shows_the_range_that_was_asked_for(make):
    marks = [one for one in marks_of(make, probes(make)) if one.panel == "p"]
    style = {one.label: line_style(i) for i, one in enumerate(marks)}
    ax = Figure().subplots()
    shares_axes(ax, marks, style=style, zoom=(0.5, 0.9))
    (inset,) = ax.child_axes
    assert inset.get_xlim() == (0.5, 0.9)
    low, high = inset.get_ylim()
    inside = np.concatenate([one.inequality[(one.accuracy >= 0.5) & (one.accuracy <= 0.9)] for one in marks])
    assert low <= inside.min()
    assert inside.max() <= high
    empty = Figure().subplots()
    shares_axes(empty, marks, style=style, zoom=(0.97, 0.99))
    assert not empty.child_axes
    assert PAPER_ZOOMS["cifar10"] == (0.4, 0.8)


def marks_at(accuracy):
    accuracy = np.array(accuracy)
    return ShareMarks(
        panel="p", label="m", key=None, fraction=accuracy, accuracy=accuracy, inequality=1 - accuracy,
        n_seeds=np.ones(accuracy.size, dtype=np.int64),
    )  # fmt: skip


def test_the_range_is_where_half_of_the_marks_crowd():
    low, high = zoom_range([marks_at([0.1, 0.2, 0.4, 0.6, 0.80, 0.81, 0.82, 0.83, 0.84, 0.85])])
    assert 0.79 < low < 0.80
    assert 0.84 < high < 0.85
    assert zoom_range([marks_at(np.linspace(0.1, 0.9, 20))]) is None  # no crowd
    assert zoom_range([marks_at([0.1, 0.8, 0.81, 0.82])]) is None  # few
    assert zoom_range([marks_at([0.5] * 20)]) is None
    assert zoom_range([]) is None


def test_the_figure(make):
    table = pa.concat_tables([probes(make), probes(make, method="pca"), probes(make, protocol="p+random-labels")])
    figure = shares_figure(table, zooms={"p": None, "q": (0.4, 0.9)})
    assert [ax.get_title() for ax in figure.axes] == ["p", "q"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a/l (100)", "b/l (100)"]
    assert [len(ax.child_axes) for ax in figure.axes] == [0, 1]
    words = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "Gini index" in words
    assert "Seeds per mark: 3. Method: random." in words
    assert figure.axes[0].get_ylabel() == "Gini index of classes"
    assert "coefficient" in shares_figure(table, index="cv", panel_by="model").axes[0].get_ylabel()


def test_nothing_to_draw_and_wrong_options(make):
    assert [ax.get_title() for ax in shares_figure(probes(make, ())).axes] == ["no results"]
    with pytest.raises(InvalidOption, match="index must be among gini, cv, got 'theil'"):
        shares_figure(probes(make, ()), index="theil")
