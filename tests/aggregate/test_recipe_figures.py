"""Each recipe drawn from a small made-up store: what is on the axes is what pandas says, and the caption is honest."""

import hashlib
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.colors import to_hex

from aggregate import RECIPES, InvalidOption, draw_recipe, save_figure
from aggregate.recipes import FIGURES, Choice, MeasuredCells
from aggregate.recipes.wanted import METHOD_LABELS, wanted_lines

SEEDS = (1, 2)


def value(*parts):
    """Return a number in (0, 1) that depends on all parts and on nothing else."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


@cache
def tables(make, name):
    """Return probes and CKA of all lines of a recipe: three sizes and the whole layer, two seeds."""
    probes, cka = {}, {}
    for line in wanted_lines(RECIPES[name], MeasuredCells(None, None), Choice()):
        width = 40 if line.layer is not None else line.model.width
        names = {"model": line.model.role, "dataset": line.dataset.role, "method": line.method, "width": width}
        names["layer"] = line.layer or "penultimate"
        for k in sorted({max(1, width // 8), max(1, width // 4), max(1, width // 2), width}):
            for seed in SEEDS:
                t = 0.8 * (k / width) ** 0.3 + 0.1 * value(*names.values(), k, seed)
                key = (*names.values(), k, seed)
                if line.measure == "accuracy":
                    lists = [t * 0.8, t * 0.9, t * 1.05]
                    probes[key] = make.probe(k, t, seed, class_accuracy=lists, **names)
                elif line.measure == "cka":
                    cka[key] = make.similarity(k, t, seed, **names)
                else:
                    cka[(*key, "pair")] = make.similarity(k, t, seed, seed + 10, **names)
    return make.probes(list(probes.values())), make.cka(list(cka.values()))


@pytest.fixture(scope="module")
def drawn(make):
    @cache
    def draw(name):
        return draw_recipe(name, *tables(make, name))

    return draw


def panels(figure):
    return [ax for ax in figure.axes if ax.axison and ax.get_title()]


def curves(ax):
    return [line for line in ax.lines if line.get_linestyle() != ":" and len(line.get_xdata()) > 1]


def words(figure):
    text = figure.legends[0].get_title().get_text() if figure.legends else figure.get_supxlabel()
    return " ".join(text.split())


# Panels, and curves in each, counted by hand.
CURVES = {
    "fig1": (6, 4), "fig3": (2, 8), "fig4": (4, 10), "fig5": (4, 4), "fig6": (4, 9), "fig7": (4, 4), "fig9": (4, 4),
    "fig14": (8, 3), "fig15": (4, 10), "fig16": (4, 4), "fig17": (4, 4), "fig18": (4, 10), "fig19": (17, 4),
    "fig20": (2, 3), "fig21": (9, 4), "fig22": (9, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_panels_and_lines_as_in_the_paper(drawn, name):
    axes = panels(drawn(name))
    assert (len(axes), {len(curves(ax)) for ax in axes}) == (CURVES[name][0], {CURVES[name][1]})
    for ax in axes:
        looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in curves(ax)}
        assert len(looks) == CURVES[name][1], "two lines of a panel look the same"


def test_pairs_above_and_principal_components_below(drawn):
    above, below = panels(drawn("fig2"))[:2], panels(drawn("fig2"))[2:]
    assert [len(curves(ax)) for ax in (*above, *below)] == [4, 4, 12, 12]
    assert [ax.get_title() for ax in above] == [ax.get_title() for ax in below] == ["ResNet50", "ResNet50 AT"]
    assert {line.get_linestyle() for line in curves(above[0])} == {"-"}
    labels = [text.get_text() for text in drawn("fig2").legends[0].get_texts()]
    assert labels[4:] == [METHOD_LABELS[m] for m in ("random", "pca", "pca_least")] + ["whole layer"]
    # The whole layer of principal components is that of the neurons: one dotted line for a data set.
    assert len([line for line in below[0].lines if line.get_linestyle() == ":"]) == 4


@pytest.mark.parametrize("name", ["fig4", "fig18", "fig6"])
def test_curves_and_bands_are_what_pandas_says(make, drawn, name):
    frame = tables(make, name)[0].to_pandas()
    titles = {"CIFAR10": "cifar10", "CIFAR100": "cifar100", "Flowers": "flowers", "Oxford-IIIT-Pets": "pets"}
    models = [entry.model for entry in RECIPES[name].blocks[0].entries]
    for ax in panels(drawn(name)):
        here = frame[frame.dataset == titles[ax.get_title()]]
        for model, line, band in zip(models, curves(ax), ax.collections, strict=True):
            mine = (
                here[here.model == model]
                .groupby("n_neurons")
                .agg(x=("fraction", "first"), mean=("accuracy", "mean"), std=("accuracy", lambda v: v.std(ddof=0)))
            )
            x = mine.index if name == "fig18" else mine.x
            np.testing.assert_allclose(line.get_xdata(), x)
            np.testing.assert_allclose(line.get_ydata(), mine["mean"])
            corners = band.get_paths()[0].vertices[:, 1]
            assert corners.max() == pytest.approx((mine["mean"] + mine["std"]).max())
            wholes = [
                w.get_ydata()[0] for w in ax.lines if w.get_linestyle() == ":" and w.get_color() == line.get_color()
            ]
            assert np.isclose(wholes, mine["mean"].iloc[-1]).any()


def test_cka_is_what_pandas_says_and_has_no_dotted_line(make, drawn):
    frame = tables(make, "fig9")[1].to_pandas()
    for ax, dataset in zip(panels(drawn("fig9")), ("cifar10", "cifar100", "flowers", "pets"), strict=True):
        here = frame[(frame.dataset == dataset) & (frame.model == "resnet50-mrl") & (frame.method == "first")]
        line = curves(ax)[-1]
        np.testing.assert_allclose(line.get_ydata(), here.groupby("n_neurons").value.mean())
        assert not [line for line in ax.lines if line.get_linestyle() == ":"]


def test_dr_is_eq_1_in_a_plain_loop(make, drawn):
    frame = tables(make, "fig15")[0].to_pandas()
    here = frame[(frame.dataset == "cifar10") & (frame.model == "vgg16_bn")]
    means = here.groupby("n_neurons").accuracy.mean()
    line = curves(panels(drawn("fig15"))[0])[0]
    for delta, dr in zip(line.get_xdata(), line.get_ydata(), strict=True):
        reached = [k for k, mean in means.items() if mean / means[4096] >= delta - 1e-12]
        assert dr == pytest.approx(1 - reached[0] / 4096)
    assert line.get_xdata()[0] == 0.75
    assert "strict (Eq. 1)" in words(drawn("fig15"))


@pytest.mark.parametrize("name", ["fig8", "fig10"])
def test_marks_of_inequality(make, drawn, name):
    frame = tables(make, name)[0].to_pandas()
    assert [ax.get_title() for ax in panels(drawn(name))] == ["CIFAR10", "CIFAR100", "Flowers", "Oxford-IIIT-Pets"]
    here = frame[(frame.dataset == "cifar10") & (frame.model == "resnet50-AT")]
    expected = []
    for _, group in here.groupby("n_neurons"):
        a = np.sort(np.mean(list(group.class_accuracy), axis=0)) + (1e-7 if name == "fig8" else 0)
        index = (
            sum((2 * i - 4) * x for i, x in enumerate(a, 1)) / (3 * a.sum()) if name == "fig8" else a.std() / a.mean()
        )
        expected.append((group.accuracy.mean(), index))
    marks = panels(drawn(name))[0].lines[1]
    np.testing.assert_allclose(np.column_stack([marks.get_xdata(), marks.get_ydata()]), expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "n"), [("fig11", 4), ("fig12", 4), ("fig13", 8)])
def test_heat_maps(make, drawn, name, n):
    axes = panels(drawn(name))
    assert len(axes) == n
    frame = tables(make, name)[0].to_pandas()
    entry = RECIPES[name].blocks[0].entries[0]
    here = frame[(frame.dataset == "cifar10") & (frame.model == entry.model) & (frame.method == entry.method)]
    expected = [np.mean(list(group.class_accuracy), axis=0) for _, group in here.groupby("n_neurons")]
    (mesh,) = [c for c in axes[0].collections if c.get_array() is not None]
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(3, -1), np.transpose(expected))


def test_twins_share_a_colour_and_differ_by_dashes(drawn):
    lines = curves(panels(drawn("fig4"))[0])
    for standard, robust in zip(lines[0:8:2], lines[1:8:2], strict=True):
        assert to_hex(standard.get_color()) == to_hex(robust.get_color())
        assert (standard.get_linestyle(), robust.get_linestyle()) == ("-", "--")


def test_the_caption_says_what_is_drawn_and_what_is_not(make):
    probes = tables(make, "fig4")[0]
    some = probes.to_pandas()
    some = some[some.dataset.isin(["cifar10", "pets"]) & ~((some.dataset == "pets") & (some.model == "resnet18"))]
    figure = draw_recipe("fig4", pa.Table.from_pandas(some, schema=probes.schema, preserve_index=False))
    assert [ax.get_title() for ax in panels(figure)] == ["CIFAR10", "Oxford-IIIT-Pets"]
    text = words(figure)
    assert text.startswith("Figure 4 of the paper. Accuracy across architectures")
    assert "Mean over seeds (2 per point); band: ± 1 standard deviation (ddof 0); dotted: whole layer." in text
    assert "Probes: solver sgd, protocol paper." in text
    assert "Test samples: 1,000 (cifar10), 1,000 (pets)." in text
    assert "Not in the store: CIFAR100 and Flowers; ResNet18 on Oxford-IIIT-Pets." in text
    assert "of the 2,320 jobs of the paper's grid are there." in text
    assert "D10" in text


def test_the_stores_own_models(make):
    rows = [make.probe(k, 0.5 + k / 300, s, model=m, dataset="p") for m in ("a", "b") for k in (10, 100) for s in SEEDS]
    figure = draw_recipe("fig4", make.probes(rows), models=("all",))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a/l", "b/l", "whole layer"]
    assert words(figure).startswith("Models of this store, in the form of Figure 4 of the paper")
    assert "paper's grid" not in words(figure)


def test_both_rules_and_a_line_that_ends(make):
    rows = [make.probe(k, v, model="resnet50", dataset="pets") for k, v in ((10, 0.5), (50, 0.9), (100, 0.8))]
    figure = draw_recipe("fig17", make.probes(rows), rules=("nearest", "strict"))
    assert "DR by the rule nearest (as the paper's code did), dotted: strict (Eq. 1)" in words(figure)
    assert "A cross ends" not in words(figure)


def test_linear_axis(make, drawn):
    assert {ax.get_xscale() for ax in panels(drawn("fig9"))} == {"log"}
    rows = [make.probe(k, k / 200, model="resnet50", dataset="pets") for k in (10, 100)]
    (ax,) = panels(draw_recipe("fig7", make.probes(rows), log_x=False))
    assert (ax.get_xscale(), ax.get_xlim()[0]) == ("linear", 0)


def test_nothing_to_draw_is_an_error_that_says_what_is_missing(make):
    with pytest.raises(
        InvalidOption, match=r"nothing of fig9 is in these results\. fig9: ResNet50 by loss(.|\n)*zoo:resnet50"
    ):
        draw_recipe("fig9", make.probes([make.probe(10, 0.5)]))
    with pytest.raises(InvalidOption, match="table1 is a table, not a figure"):
        draw_recipe("table1", make.probes([make.probe(10, 0.5, model="resnet50", dataset="pets")]))


def test_many_sizes_and_undefined_values(make):
    rows = [
        make.probe(k, None if k == 7 else k / 100, s, model="resnet50", dataset="pets")
        for k in range(1, 101)
        for s in SEEDS
    ]
    (ax,) = panels(draw_recipe("fig7", make.probes(rows)))
    (line,) = curves(ax)
    assert len(line.get_xdata()) == 99


def test_the_same_bytes_every_time_in_every_format(make, tmp_path):
    rows = [make.probe(k, k / 200, s, model="resnet50", dataset="pets") for k in (10, 100) for s in SEEDS]
    files = [
        save_figure(draw_recipe("fig1", make.probes(rows)), tmp_path / stem, ("svg", "pdf", "png")) for stem in "ab"
    ]
    assert [file.name for file in files[0]] == ["a.svg", "a.pdf", "a.png"]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert files[0][0].read_bytes().startswith(b"<?xml")
    with pytest.raises(InvalidOption, match="formats must be some of png, pdf, svg, got gif"):
        save_figure(draw_recipe("fig1", make.probes(rows)), tmp_path / "c", ("gif",))


def test_every_figure_is_drawn_in_a_test():
    assert set(FIGURES) == {*CURVES, "fig2", "fig8", "fig10", "fig11", "fig12", "fig13"}
