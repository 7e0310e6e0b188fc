"""Recipes as data: they cover the paper, roles find their networks, and what is missing is counted."""

from pathlib import Path

import pyarrow as pa
import pytest

from aggregate import RECIPES, InvalidOption, missing
from aggregate.published import published_datasets, published_models
from aggregate.recipes import DATASETS, FIGURES, MODELS, Choice, MeasuredCells, match_variant, missing_text, variants
from aggregate.recipes import grids as paper
from aggregate.recipes.grids import wanted_values
from aggregate.recipes.listing import recipes_markdown
from aggregate.recipes.wanted import wanted_lines
from extract.zoo import ZOO
from extract.zoo_datasets import ZOO as ZOO_DATASETS
from store.errors import UnknownName

# Networks (with methods), data sets, layers and forms of each figure, counted by hand in the paper's captions.
COUNTS = {
    "fig1": (6, 4, 1, {"fraction", "delta"}),
    "fig2": (8, 4, 1, {"fraction"}),
    "fig3": (4, 4, 1, {"fraction"}),
    "fig4": (10, 4, 1, {"fraction"}),
    "fig5": (4, 4, 1, {"fraction"}),
    "fig6": (9, 4, 1, {"fraction"}),
    "fig7": (4, 4, 1, {"fraction"}),
    "fig8": (3, 4, 1, {"gini"}),
    "fig9": (4, 4, 1, {"fraction"}),
    "fig10": (3, 4, 1, {"cv"}),
    "fig11": (1, 4, 1, {"heatmap"}),
    "fig12": (1, 4, 1, {"heatmap"}),
    "fig13": (2, 4, 1, {"heatmap"}),
    "fig14": (6, 4, 1, {"fraction", "delta"}),
    "fig15": (10, 4, 1, {"delta"}),
    "fig16": (4, 4, 1, {"delta"}),
    "fig17": (4, 4, 1, {"delta"}),
    "fig18": (10, 4, 1, {"neurons"}),
    "fig19": (1, 4, 17, {"fraction"}),
    "fig20": (4, 3, 1, {"fraction"}),
    "fig21": (9, 4, 1, {"fraction"}),
    "fig22": (9, 4, 1, {"delta"}),
    "table1": (6, 4, 1, {"table"}),
}


def lines_of(name, probes=None, cka=None, **choice):
    cells = MeasuredCells(probes, cka)
    chosen = Choice(**choice).checked(cells)
    (variant,) = variants(RECIPES[name], cells, chosen) or (None,)
    return match_variant(RECIPES[name], cells, chosen, variant).found


def a_probe(make, k=10, seed=1, **other):
    return make.probe(k, 0.5 + k / 10_000, seed, **{"layer": "penultimate", "width": 2048, **other})


def test_every_figure_of_the_paper_is_there():
    assert list(RECIPES) == [*(f"fig{i}" for i in range(1, 23)), "table1"] == [*FIGURES, "table1"]
    for name, recipe in RECIPES.items():
        lines = wanted_lines(recipe, MeasuredCells(None, None), Choice())
        entries = sum(len(block.entries) for block in recipe.blocks)
        layers = {line.layer for line in lines}
        found = (entries, len({line.dataset.role for line in lines}), len(layers), {line.form for line in lines})
        assert found == COUNTS[name], name
        assert recipe.deviations
        assert recipe.title


def test_roles_have_the_names_of_the_zoo_and_of_the_published_numbers():
    for role, model in MODELS.items():
        assert model.role == role == model.names[0]
        assert ZOO[model.zoo].width == model.width
        assert model.zoo in model.names
    assert {model.zoo for model in DATASETS.values()} == set(ZOO_DATASETS)
    for published in published_models():
        if published.name in MODELS:
            assert MODELS[published.name].zoo == published.zoo
            assert MODELS[published.name].width == published.width
    assert {m.name for m in published_models()} - set(MODELS) <= {"resnet50-ff2048", "wrn50_4", "wrn50_4-AT"}
    assert {d.name for d in published_datasets()} == set(DATASETS)
    names = [name.casefold() for role in (*MODELS.values(), *DATASETS.values()) for name in role.names]
    assert len(names) == len(set(names)), "a name that stands for two roles"


def test_sizes_are_those_of_the_paper():
    # paper_protocol.md, section 3: k per fraction.
    assert paper.WIDE.sizes(2048) == (1, 2, 4, 6, 8, 10, 20, 102, 204, 409, 614, 1024, 1638, 1843, 2048)
    assert paper.MIDDLE.sizes(384) == (1, 3, 19, 38, 76, 115, 192, 307, 345, 384)
    assert paper.MIDDLE.sizes(4096) == (2, 4, 20, 40, 204, 409, 819, 1228, 2048, 3276, 3686, 4096)
    assert paper.NARROW.sizes(512) == (2, 5, 25, 51, 102, 153, 256, 409, 460, 512)
    assert paper.FIXED[8].sizes(8) == (1, 2, 4, 6, 8)
    # The whole layer is one run; its CKA is none; pairs of five seeds are ten.
    assert wanted_values(paper.NARROW, 512, n_seeds=5, measure="accuracy") == {
        **dict.fromkeys((2, 5, 25, 51, 102, 153, 256, 409, 460), 5),
        512: 1,
    }
    assert set(wanted_values(paper.NARROW, 512, n_seeds=5, measure="cka_pair").values()) == {10}
    assert 512 not in wanted_values(paper.NARROW, 512, n_seeds=5, measure="cka")


@pytest.mark.parametrize("model", ["resnet50-AT", "resnet50-l2-eps3", "ResNet50_robustl2eps3"])
@pytest.mark.parametrize("dataset", ["flowers", "flowers102"])
def test_a_role_is_found_under_any_of_its_names(make, model, dataset):
    (line,) = lines_of("fig7", make.probes([a_probe(make, model=model, dataset=dataset)]))
    assert (line.label, line.panel) == ("ResNet50 AT", "Flowers")


def test_another_model_plays_a_role_where_it_is_told_to(make):
    rows = [a_probe(make, model=model, dataset="own") for model in ("mine", "resnet50")]
    assert lines_of("fig7", make.probes(rows)) == ()
    found = lines_of("fig7", make.probes(rows), roles={"resnet50": "mine", "pets": "own"})
    assert [(line.label, line.panel, line.curve.key.model) for line in found] == [
        ("ResNet50", "Oxford-IIIT-Pets", "mine")
    ]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"roles": {"resnet5": "resnet50"}}, "no role 'resnet5'. Did you mean 'resnet50'"),
        ({"roles": {"resnet50": "resnet"}}, "role resnet50: there is no model with results 'resnet'"),
        ({"roles": {"pets": "cifar"}}, "role pets: there is no data set with results 'cifar'. Did you mean 'cifar10'"),
        ({"models": ("resnet5",)}, "no model with results 'resnet5'"),
        ({"datasets": ("cifar",)}, "no data set with results 'cifar'"),
        ({"layers": ("layer4",)}, "no layer with results 'layer4'. Known: penultimate"),
    ],
)
def test_a_name_that_is_not_there_is_refused(make, choice, message):
    probes = make.probes([a_probe(make, model="resnet50", dataset="cifar10")])
    with pytest.raises(UnknownName, match=message.replace(".", r"\.")):
        missing("fig7", probes, **choice)


def test_a_recipe_that_is_not_there_is_refused(make):
    with pytest.raises(UnknownName, match="no figure 'fig23'"):
        missing("fig23")


def test_solvers_and_protocols_are_never_mixed(make):
    rows = [
        a_probe(make, model="resnet50", dataset="cifar10", solver=solver, protocol=protocol)
        for solver, protocol in (("sgd", "paper"), ("sgd", "as-released"), ("ridge", "default"))
    ]
    probes = make.probes(rows)
    listed = "solver ridge, protocol default; solver sgd, protocol as-released; solver sgd, protocol paper"
    with pytest.raises(InvalidOption, match=f"fig4 is drawn for one solver and protocol at a time.*3: {listed}"):
        missing("fig4", probes)
    with pytest.raises(InvalidOption, match="have 2"):
        missing("fig4", probes, solver="sgd")
    assert missing("fig4", probes, solver="sgd", protocol="paper").n_there == 1
    assert missing("fig4", probes, solver="ridge").n_there == 1


def test_ids_under_one_name_are_lines_of_their_own(make):
    rows = [a_probe(make, model="resnet50", dataset="cifar10", test_id=c * 64) for c in "12"]
    rows += [a_probe(make, model="resnet50", dataset="pets")]
    assert [(line.panel, line.label) for line in lines_of("fig4", make.probes(rows))] == [
        ("CIFAR10", "ResNet50, test 11111111"),
        ("CIFAR10", "ResNet50, test 22222222"),
        ("Oxford-IIIT-Pets", "ResNet50"),
    ]


def test_controls_and_other_layers_play_no_role(make):
    kind = {"model": "resnet50", "dataset": "cifar10"}
    rows = [a_probe(make, protocol="paper+random-labels", **kind), a_probe(make, layer="layer4", **kind)]
    (only,) = lines_of("fig4", make.probes(rows))
    assert only.label == "ResNet50/layer4", "the one layer that is there, by its name"
    (line,) = lines_of("fig4", make.probes([*rows, a_probe(make, **kind)]))
    assert line.label == "ResNet50"
    assert line.curve.key.layer == "penultimate"


def test_the_stores_own_models_take_the_same_form(make):
    rows = [
        a_probe(make, model=model, dataset=dataset, method=method, width=200)
        for model in ("a", "b")
        for dataset in ("p", "q")
        for method in ("random", "first", "pca")
    ]
    probes = make.probes(rows)
    found = lines_of("fig7", probes, models=("all",))
    assert [(line.panel, line.label) for line in found] == [
        (dataset, f"{model}, {method} neurons")
        for model in ("a", "b")
        for method in ("random", "first")
        for dataset in ("p", "q")
    ]
    found = lines_of("fig2", probes, models=("b",), datasets=("q",))
    assert [(line.panel, line.label, line.style) for line in found] == [
        ("b", "q", "random neurons"),
        ("b", "q", "top principal components"),
    ]


def test_what_is_missing_is_counted_as_by_hand(make):
    # Fig. 7 needs, on each of four data sets: two networks at 14 parts with 5 seeds and the whole layer once; the third
    # at 8 parts with 5 seeds (random) and 1 (first), and the whole layer once each: 71 + 71 + 41 + 9.
    assert missing("fig7").n_wanted == 4 * (71 + 71 + 41 + 9)
    assert missing("fig7").n_there == 0
    assert missing("fig7").state == "nothing"
    kind = {"model": "resnet50", "dataset": "cifar10"}
    rows = [a_probe(make, k, s, **kind) for k in (20, 102, 2048) for s in (1, 2, 3)]
    # 20 and 102 are on the grid: 3 of 5 seeds each. The whole layer counts once, 21 not at all.
    rows += [a_probe(make, 21, s, **kind) for s in (1, 2)]
    lack = missing("fig7", make.probes(rows))
    assert lack.n_there == 3 + 3 + 1
    assert lack.state == "partly"
    (cell,) = [cell for cell in lack.cells if cell.found]
    assert (cell.n_wanted, cell.n_missing, cell.measure) == (71, 64, "accuracy")
    assert len(lack.cells) == 16
    text = missing_text(lack)
    assert "7 of the 768 jobs of the paper's grid are there." in text
    row = next(line for line in text.splitlines() if line.startswith("ResNet50  ") and "CIFAR10 " in line)
    assert row.split()[:6] == ["ResNet50", "CIFAR10", "random", "penultimate", "accuracy", "sgd"]
    assert row.endswith("7 of 71  64 jobs")
    assert "models: [zoo:resnet50, zoo:resnet50-l2-eps3]" in text
    assert "subsets: {methods: [first], n_neurons: [8, 16, 32, 64, 128, 256, 512, 1024, 2048], seeds: 1}" in text


def test_a_figure_can_be_complete(make):
    rows = [
        a_probe(make, k, s, model=model, dataset=dataset, class_accuracy=[0.5, 0.6])
        for model in ("resnet50", "resnet50-AT")
        for dataset in ("imagenet", "imagenetv2", "places365")
        for k in sorted({*paper.IMAGENET.sizes(2048), *paper.WIDE.sizes(2048)})
        for s in range(1, 6)
    ]
    lack = missing("fig20", make.probes(rows))
    assert (lack.state, lack.n_there) == ("complete", lack.n_wanted)
    # Two networks, each: two data sets at 9 parts with 5 seeds and once whole, and Places at 15 sizes with one seed.
    assert lack.n_wanted == 2 * (2 * 46 + 15)
    assert missing_text(lack).endswith("Nothing is missing.")


def test_class_figures_need_class_lists(make):
    kind = {"model": "resnet50", "dataset": "cifar10"}
    with_lists = [a_probe(make, 20, s, class_accuracy=[0.4, 0.6], **kind) for s in (1, 2)]
    without = [a_probe(make, 102, s, **kind) for s in (1, 2)]
    assert missing("fig11", make.probes(without)).state == "nothing"
    assert missing("fig11", make.probes([*with_lists, *without])).n_there == 2
    narrow = make.probes(with_lists).drop_columns(["class_accuracy"])
    assert missing("fig11", narrow).state == "nothing"


def test_cka_and_its_estimators(make):
    kind = {"model": "resnet50", "dataset": "cifar10", "layer": "penultimate", "width": 2048}
    rows = [make.similarity(k, 0.5, s, **kind) for k in (8, 16, 2048) for s in (1, 2)]
    table = make.cka(rows)
    tables = [table.append_column("estimator", pa.repeat(name, len(rows))) for name in ("biased", "debiased")]
    assert missing("fig9", cka=table).n_there == 4, "the whole layer is not counted: its CKA is 1"
    (line,) = lines_of("fig9", cka=pa.concat_tables(tables))
    assert line.curve.key.protocol is None
    (line,) = lines_of("fig9", cka=tables[1])
    assert line.curve.key.protocol == "debiased"


def test_layers_in_natural_order(make):
    rows = [a_probe(make, model="m", dataset="d", layer=name) for name in ("penultimate", "layer10.0", "layer2.0")]
    cells = MeasuredCells(make.probes(rows), None)
    assert cells.layers("m") == ("layer2.0", "layer10.0", "penultimate")
    found = lines_of("fig19", make.probes(rows), models=("all",))
    assert [line.panel for line in found] == ["m/layer2.0", "m/layer10.0", "m/penultimate"]
    rows = [a_probe(make, model="resnet50", dataset="pets", layer=name) for name in ("layer1.0", "layer4.2.act3")]
    assert [line.panel for line in lines_of("fig19", make.probes(rows))] == ["layer1.0", "layer4.2.act3"]


def test_the_guide_has_every_recipe_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")
    assert recipes_markdown() in page
