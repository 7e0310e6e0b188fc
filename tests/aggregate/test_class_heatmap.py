"""Class heat-maps: values against pandas, orders of rows, which sizes are shown, what is drawn."""

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from aggregate import InvalidOption, InvalidTable, class_heatmap_figure, class_maps
from aggregate.class_heatmap import heatmap_axes


def probes(make, models=("a",), datasets=("p",), seeds=(1, 2), sizes=(1, 10, 100), n_classes=5, **other):
    rng = np.random.default_rng(3)
    return make.probes(
        [
            make.probe(
                k, 0.5, s, **{"model": m, "dataset": d, "class_accuracy": list(rng.random(n_classes)), **other}
            )
            for m in models
            for d in datasets
            for k in sizes
            for s in seeds
        ]
    )  # fmt: skip


def test_means_over_seeds_against_pandas(make):
    table = probes(make, models=("a", "b"), datasets=("p", "q"))
    maps = class_maps(table)
    assert len(maps) == 4
    frame = table.to_pandas()
    for one in maps:
        mine = frame[(frame.model == one.key.model) & (frame.dataset == one.key.dataset)]
        for column, k in enumerate((1, 10, 100)):
            expected = np.mean(np.stack(mine[mine.n_neurons == k].class_accuracy.to_list()), axis=0)
            np.testing.assert_allclose(one.accuracy[:, column], expected, rtol=1e-12)
        np.testing.assert_array_equal(one.n_neurons, [1, 10, 100])
        np.testing.assert_allclose(one.fraction, [0.01, 0.1, 1])
        assert one.classes == ("0", "1", "2", "3", "4")
        assert list(one.n_seeds) == [2, 2, 2]


def test_orders_of_rows(make):
    table = probes(make, sizes=(100,), seeds=(1,), class_accuracy=[0.2, 0.9, None, 0.5, 0.9])
    names = {"p": ["newt", "ant", "dog", "cat", "bee"]}
    assert class_maps(table, class_names=names)[0].classes == ("newt", "ant", "dog", "cat", "bee")
    assert class_maps(table, class_names=names, order="name")[0].classes == ("ant", "bee", "cat", "dog", "newt")
    (best,) = class_maps(table, class_names=names, order="accuracy")
    assert best.classes == ("ant", "bee", "cat", "newt", "dog")
    np.testing.assert_array_equal(best.accuracy[:, 0], [0.9, 0.9, 0.5, 0.2, np.nan])


def test_close_sizes_are_left_out(make):
    (one,) = class_maps(probes(make, sizes=(1, 10, 50, 51, 52, 53, 96, 100), seeds=(1,)))
    assert list(one.n_neurons) == [1, 10, 50, 53, 100]
    assert one.n_left_out == 3
    (every,) = class_maps(probes(make, sizes=range(1, 101), seeds=(1,)), most_sizes=8)
    assert len(every.n_neurons) == 8
    assert (every.n_neurons[0], every.n_neurons[-1]) == (1, 100)
    ratios = every.n_neurons[1:] / every.n_neurons[:-1]
    assert ratios.max() < 3
    (papers,) = class_maps(probes(make, sizes=(1, 5, 10, 20, 30, 40, 50, 80, 90, 100), seeds=(1,)))
    assert papers.n_left_out == 0


def test_few_classes_are_annotated_and_colours_run_from_0_to_1(make):
    (one,) = class_maps(probes(make, seeds=(1,), sizes=(10,), class_accuracy=[0.0, 0.5, 1.0, None]))
    ax = Figure().subplots()
    mesh = heatmap_axes(ax, one)
    assert mesh.get_clim() == (0, 1)
    assert [text.get_text() for text in ax.texts] == [".00", ".50", "1"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "1", "2", "3"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first class is on top
    assert mesh.get_array().mask.ravel().tolist() == [False, False, False, True]


def test_many_classes_have_no_numbers_and_few_ticks(make):
    (one,) = class_maps(probes(make, n_classes=150))
    ax = Figure().subplots()
    heatmap_axes(ax, one)
    assert not ax.texts
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert 10 < len(shown) < 80
    assert shown[:2] == ["0", "2"]
    written = Figure().subplots()
    heatmap_axes(written, one, annotate=True)
    assert len(written.texts) == 450


def test_the_figure_has_one_colour_bar_and_rows_of_equal_maps(make):
    table = pa.concat_tables(
        [
            probes(make, models=("a", "b"), datasets=("p",)),
            probes(make, models=("a", "b"), datasets=("q",), n_classes=60),
            probes(make, method="pca"),
        ]
    )
    figure = class_heatmap_figure(table, order="accuracy")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["a/l (100)\np", "b/l (100)\np", "a/l (100)\nq", "b/l (100)\nq"]
    assert len([ax for ax in figure.axes if ax.get_ylabel() == "accuracy of the class"]) == 1
    words = figure.get_supxlabel().replace("\n", " ")
    assert "Classes by accuracy at the largest size, best first. Seeds: 2. Method: random." in words


def test_nothing_to_draw(make):
    assert class_maps(make.probes([make.probe(10, 0.5)])) == []
    assert class_heatmap_figure(make.probes([])).axes[0].get_title() == "no class accuracies"


def test_wrong_tables_and_options_are_refused(make):
    with pytest.raises(InvalidOption, match="order must be among index, name, accuracy, got 'size'"):
        class_maps(probes(make), order="size")
    with pytest.raises(InvalidOption, match="'p' must hold 5 names, got 2"):
        class_maps(probes(make), class_names={"p": ["x", "y"]})
    with pytest.raises(InvalidTable, match="class heat-maps need the columns"):
        class_maps(probes(make).drop_columns(["class_accuracy"]))
    two = pa.concat_tables([probes(make, sizes=(1,)), probes(make, sizes=(10,), n_classes=4)])
    with pytest.raises(InvalidTable, match="the sizes of one cell must have the same classes"):
        class_maps(two)
