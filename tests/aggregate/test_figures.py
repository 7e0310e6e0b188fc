import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from aggregate import InvalidOption, accuracy_figure, cka_figure, methods_figure, save_figure


def probes(make, models=("m",), datasets=("c",), seeds=3, sizes=(1, 10, 50, 100), **other):
    return make.probes(
        [
            make.probe(k, 0.9 * (1 - np.exp(-k / 20)) + 0.01 * s, s, model=model, dataset=dataset, **other)
            for model in models
            for dataset in datasets
            for k in sizes
            for s in range(seeds)
        ]
    )


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.axison]


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_lines_bands_and_whole_layer(make):
    figure = accuracy_figure(probes(make))
    (ax,) = figure.axes
    curve = next(line for line in ax.lines if len(line.get_xdata()) == 4)
    np.testing.assert_allclose(curve.get_xdata(), [0.01, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(curve.get_ydata(), 0.9 * (1 - np.exp(-np.array([1, 10, 50, 100]) / 20)) + 0.01)
    whole = next(line for line in ax.lines if line.get_linestyle() == ":")
    assert whole.get_ydata()[0] == pytest.approx(curve.get_ydata()[-1])
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(curve.get_ydata()[-1] + np.std([0, 0.01, 0.02]))
    assert ax.get_xscale() == "log"
    assert "± 1 standard deviation (ddof 0)" in figure.legends[0].get_title().get_text().replace("\n", " ")


def test_one_panel_per_dataset_one_label_per_model(make):
    figure = accuracy_figure(probes(make, models=("a", "b"), datasets=("p", "q", "r", "s")))
    assert titles(figure) == ["p", "q", "r", "s"]
    assert labels(figure) == ["a/l (100)", "b/l (100)", "whole layer"]


def test_many_lines_never_look_the_same(make):
    figure = accuracy_figure(probes(make, models=[f"m{i:02d}" for i in range(30)], sizes=(10, 100)))
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() != ":"]
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == 30


def test_one_point_and_one_seed(make, tmp_path):
    for table in (
        probes(make, sizes=(50,)),
        probes(make, seeds=1),
        probes(make, sizes=(100,), seeds=1),
        probes(make, ()),
    ):
        assert len(save_figure(accuracy_figure(table), tmp_path / "f")) == 2


def test_cka_panels_by_kind_and_nulls_left_out(make):
    rows = [make.similarity(k, k / 100, s) for k in (10, 50, 100) for s in (1, 2)]
    rows += [make.similarity(5, None, 1), make.similarity(5, 0.3, 2)]
    rows += [make.similarity(k, k / 200, 1, 2) for k in (10, 50)]
    figure = cka_figure(make.cka(rows))
    assert titles(figure) == ["c: part and whole", "c: two parts"]
    assert min(line.get_xdata()[0] for line in figure.axes[0].lines if len(line.get_xdata()) == 3) == pytest.approx(0.1)


def test_names_with_several_ids_or_protocols_are_told_apart(make):
    import pyarrow as pa

    two = pa.concat_tables(
        [probes(make, test_id="1" * 64), probes(make, test_id="2" * 64), probes(make, protocol="p2")]
    )
    figure = accuracy_figure(two)
    assert titles(figure) == ["c: p2", "c: paper"]
    assert labels(figure)[:-1] == ["m/l (100)", "m/l (100), test 11111111", "m/l (100), test 22222222"]
    assert titles(methods_figure(two)) == [
        "m/l (100)\nc, p2",
        "m/l (100)\nc, paper, test 11111111",
        "m/l (100)\nc, paper, test 22222222",
    ]


METHODS = (
    "random", "first", "ranked:variance", "ranked:weight", "random_independent", "pca", "pca_least",
    "random_projection", "random_projection_uniform", "of_tomorrow",
)  # fmt: skip


def of_methods(make, *methods, **other):
    import pyarrow as pa

    return pa.concat_tables([probes(make, method=method, **other) for method in methods])


def test_methods_have_a_panel_per_model_and_dataset_and_a_line_each(make):
    figure = methods_figure(of_methods(make, *reversed(METHODS), models=("a", "b"), datasets=("p", "q")))
    assert titles(figure) == ["a/l (100)\np", "a/l (100)\nq", "b/l (100)\np", "b/l (100)\nq"]
    assert labels(figure) == [*METHODS, "whole layer"]
    for ax in figure.axes:
        lines = [line for line in ax.lines if line.get_linestyle() != ":"]
        assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == len(METHODS)
        assert len([line for line in ax.lines if line.get_linestyle() == ":"]) == 1
        assert len(ax.collections) == len(METHODS)


def test_a_method_looks_the_same_in_every_figure(make):
    def look(*methods):
        figure = methods_figure(of_methods(make, *methods))
        handle = next(h for h in figure.legends[0].legend_handles if h.get_label() == "pca")
        return handle.get_color(), handle.get_linestyle(), handle.get_marker()

    assert look("pca") == look("random", "pca", "pca_least") == look("first", "pca")


def test_pca_without_all_components_has_the_line_of_the_whole_layer(make):
    import pyarrow as pa

    table = pa.concat_tables([probes(make), probes(make, method="pca", sizes=(1, 10, 50))])
    (ax,) = methods_figure(table).axes
    (whole,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert whole.get_ydata()[0] == pytest.approx(0.9 * (1 - np.exp(-5)) + 0.01)


def test_several_methods_leave_the_accuracy_figure_readable(make):
    figure = accuracy_figure(of_methods(make, *METHODS, models=("a", "b")))
    assert labels(figure) == ["a/l (100)", "b/l (100)", "whole layer"]
    assert "Method: random." in figure.legends[0].get_title().get_text().replace("\n", " ")
    (ax,) = figure.axes
    assert len([line for line in ax.lines if line.get_linestyle() != ":"]) == 2


def test_controls_are_not_drawn(make):
    import pyarrow as pa

    table = pa.concat_tables([probes(make), probes(make, protocol="paper+random-labels")])
    assert labels(accuracy_figure(table)) == ["m/l (100)", "whole layer"]


@pytest.mark.parametrize("measure", ["cka", "cka_pair"])
def test_methods_by_cka_and_its_estimators(make, measure):
    import pyarrow as pa

    b = None if measure == "cka" else 9
    rows = [make.similarity(k, k / 100, s, b, method=m) for k in (10, 90) for s in (1, 2) for m in ("random", "pca")]
    tables = [make.cka(rows).append_column("estimator", pa.repeat(name, len(rows))) for name in ("biased", "debiased")]
    figure = methods_figure(pa.concat_tables(tables), measure=measure)
    assert titles(figure) == ["m/l (100)\nc", "m/l (100)\nc, debiased"]
    assert labels(figure) == ["random", "pca", "whole layer"]
    assert labels(cka_figure(pa.concat_tables(tables))) == ["m/l (100)", "m/l (100), debiased", "whole layer"]


def test_files_are_the_same_every_time(make, tmp_path):
    table = probes(make, models=("a", "b"))
    figure = accuracy_figure(table)
    first = [path.read_bytes() for path in save_figure(figure, tmp_path / "one.v1")]
    again = [path.read_bytes() for path in save_figure(figure, tmp_path / "two")]
    anew = [path.read_bytes() for path in save_figure(accuracy_figure(table), str(tmp_path / "three"))]
    assert first == again == anew
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{stem}.{suffix}" for stem in ("one.v1", "three", "two") for suffix in ("pdf", "png")
    ]
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")
    assert b"CreationDate" not in first[1]


def test_a_failed_write_leaves_the_old_file(make, tmp_path):
    class Broken(Figure):
        def savefig(self, *args, **kwargs):
            raise OSError("disk full")

    (tmp_path / "f.png").write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"):
        save_figure(Broken(), tmp_path / "f")
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]
    assert (tmp_path / "f.png").read_bytes() == b"old"


def test_the_folder_must_exist(make, tmp_path):
    with pytest.raises(InvalidOption, match="the folder of a figure must exist"):
        save_figure(accuracy_figure(probes(make)), tmp_path / "absent" / "f")


def test_pyplot_is_not_touched():
    code = (
        "import aggregate, sys, aggregate.figures; import matplotlib.figure; print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
