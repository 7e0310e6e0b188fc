"""The carried data are what the note on the paper's protocol prints, and the authors' accuracies, number by number."""

import fnmatch
import re
from pathlib import Path

import pytest

from aggregate.published import (
    dataset_named,
    deviations,
    deviations_of,
    model_named,
    published_accuracies,
    published_cka,
    published_datasets,
    published_models,
    published_read_off,
    published_redundancy,
    published_spread,
    published_table1,
    published_top1,
    sources,
)
from extract.zoo import zoo_network

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
NOTE = REFERENCE / "paper_protocol.md"
ACCURACIES = REFERENCE / "authors_accuracies.csv"
FOUR = ("cifar10", "cifar100", "flowers", "pets")

needs_note = pytest.mark.skipif(not NOTE.exists(), reason=f"needs the note on the paper's protocol at {NOTE.name}")
needs_csv = pytest.mark.skipif(not ACCURACIES.exists(), reason=f"needs the authors' accuracies at {ACCURACIES.name}")


def section(title, end):
    text = NOTE.read_text()
    return text.split(title, 1)[1].split(end, 1)[0]


def pairs(text):
    """Return {fraction: value} of `0.05:.598 0.1:.651`."""
    return {float(f): float(v) for f, v in (word.split(":") for word in text.split())}


def curves(table, value, *names):
    """Return {names: {fraction: value}}."""
    found = {}
    for row in table.to_pylist():
        found.setdefault(tuple(row[name] for name in names), {})[row["fraction"]] = row[value]
    return found


@needs_csv
@pytest.mark.shared_data
def test_the_authors_accuracies_are_carried_unchanged():
    import aggregate.published

    carried = Path(aggregate.published.__file__).parent / "accuracies_cifar.csv"
    assert carried.read_bytes() == ACCURACIES.read_bytes()


@needs_note
@pytest.mark.shared_data
def test_the_accuracies_of_cifar_are_those_of_the_note():
    printed = {}
    for dataset in ("cifar10", "cifar100"):
        block = section("### 9.3", "### 9.4").split(f"*{dataset}*\n```")[1].split("```")[0]
        for line in block.strip().splitlines():
            model, rest = line.split(None, 1)
            printed[model, dataset] = pairs(rest)
    mine = published_accuracies().filter([source == "cifar" for source in published_accuracies()["source"].to_pylist()])
    assert curves(mine, "accuracy", "model", "dataset") == printed
    assert sum(map(len, printed.values())) == 242


@needs_note
@pytest.mark.shared_data
def test_the_accuracies_of_imagenet_and_places_are_those_of_the_note():
    text = section("### 9.2", "### 9.3")
    mine = curves(published_accuracies(), "accuracy", "model", "dataset")
    v2 = re.search(r"IN / V2: (.*?)\. AT: (.*?)\.\n", text)
    places = re.search(r"Places \(1 seed\) std: (.*?); AT: (.*?)\.\n", text)
    for position, model in ((1, "resnet50"), (2, "resnet50-AT")):
        both = [re.fullmatch(r"([\d.]+) ([\d.]+)/([\d.]+)", part.strip()) for part in v2[position].split(";")]
        assert mine[model, "imagenet"] == {float(m[1]): float(m[2]) for m in both}
        assert mine[model, "imagenetv2"] == {float(m[1]): float(m[3]) for m in both}
        expected = dict(tuple(map(float, part.split())) for part in places[position].split(","))
        assert mine[model, "places365"] == expected


@needs_note
@pytest.mark.shared_data
def test_the_accuracies_of_dropout_and_decov_are_those_of_the_note():
    block = section("### 9.5", "## 10.").split("```")[1]
    mine = curves(published_accuracies(), "accuracy", "model", "dataset")
    lines = block.strip().splitlines()
    assert len(lines) == 36
    for line in lines:
        words = line.split()
        name = "resnet50-decov0.0001" if words[0] == "decov" else f"resnet50-dropout{words[1]}"
        dataset = words[1] if words[0] == "decov" else words[2]
        assert mine[name, dataset] == pairs(" ".join(word for word in words if ":" in word)), line


@needs_note
@pytest.mark.shared_data
def test_the_spread_is_that_of_the_note():
    block = section("*Std (ddof 0", "### 9.4").split("```")[1]
    printed = {}
    for line in block.strip().splitlines():
        kind, dataset, rest = line.split(None, 2)
        printed["resnet50" if kind == "nonrob" else "resnet50-AT", dataset] = pairs(rest)
    assert curves(published_spread(), "std", "model", "dataset") == printed
    assert len(printed) == 8


@needs_note
@pytest.mark.shared_data
def test_cka_is_that_of_the_note():
    _, of_pairs, _, of_parts, _ = section("### 9.4", "### 9.5").split("```")
    mine = {
        (r["kind"], r["model"], r["method"], r["dataset"], r["n_neurons"]): r["value"]
        for r in published_cka().to_pylist()
    }
    printed = {}
    for line in of_pairs.strip().splitlines():
        head, values = line.split(":")
        kind, *fractions = head.split()
        for dataset, group in zip(FOUR, values.split("|"), strict=True):
            for fraction, value in zip(fractions, group.split(), strict=True):
                model = {"std": "resnet50", "AT": "resnet50-AT"}[kind]
                printed["pair", model, "random", dataset, int(float(fraction) * 2048)] = float(value)
    names = {
        "std": ("resnet50", "random"),
        "AT": ("resnet50-AT", "random"),
        "mrl-first": ("resnet50-mrl", "first"),
        "mrl-rand": ("resnet50-mrl", "random"),
    }
    short = {"C10": "cifar10", "C100": "cifar100", "Flowers": "flowers", "Pets": "pets"}
    for line in of_parts.strip().splitlines():
        dataset, rest = line.split(None, 1)
        for group in rest.split("|"):
            name, *values = group.split()
            for size, value in zip((8, 16, 32, 64, 128, 256, 512, 1024), values, strict=True):
                printed["part_whole", *names[name], short[dataset], size] = float(value)
    assert mine == printed
    assert len(printed) == 48 + 128


@needs_note
@pytest.mark.shared_data
def test_table1_and_imagenet_are_those_of_the_note():
    rows = re.findall(r"^\| (\S+(?: S-\d+)?) \| (\d+) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", section("### 9.1", "### 9.2"), re.M)  # fmt: skip  # noqa: E501
    by_paper = {m.paper: m for m in published_models() if m.in_table1}
    assert [row[0] for row in rows] == list(by_paper)
    mine = {(r["model"], r["dataset"]): r["dr"] for r in published_table1().to_pylist()}
    top1 = {r["model"]: r for r in published_top1().to_pylist()}
    for name, width, accuracy, *entries in rows:
        model = by_paper[name]
        assert model.width == int(width)
        assert [mine[model.name, dataset] for dataset in FOUR] == [float(entry) for entry in entries]
        percent, *exact = re.findall(r"[\d.]+", accuracy)
        assert model.imagenet_percent == float(percent)
        assert model.imagenet_exact == (float(exact[0]) if exact else None)
        assert top1[model.name]["printed"] == pytest.approx(float(percent) / 100, abs=1e-12)
    assert len(mine) == 24


@needs_note
@pytest.mark.shared_data
def test_the_recomputed_dr_are_those_of_the_note():
    names = {
        "vit_s16": ("vit_s16-1k", "random"),
        "vit_s32": ("vit_s32-1k", "random"),
        "vit_s16 i21k (near/Eq1)": ("vit_s16-21k", "random"),
        "vit_s32 i21k (near/Eq1)": ("vit_s32-21k", "random"),
        "MRL random (near/Eq1)": ("resnet50-mrl", "random"),
        "MRL first (near/Eq1)": ("resnet50-mrl", "first"),
    }
    mine = {
        (r["model"], r["method"], r["dataset"]): [r["nearest"], r["strict"], r["interpolated"]]
        for r in published_redundancy().to_pylist()
    }
    block = section("linear interpolation\n", "Standard vs AT").strip().splitlines()[2:]
    assert len(block) == 14
    for line in block:
        name, *entries = [cell.strip() for cell in line.strip("| ").split("|")]
        for dataset, entry in zip(FOUR, entries, strict=True):
            values = [float(v) for v in entry.split("/")]
            cell = mine.pop((*names.get(name, (name, "random")), dataset))
            assert cell[: len(values)] == values, (name, dataset)
            assert cell[len(values) :] == [None] * (3 - len(values))
    assert not mine


@needs_note
@pytest.mark.shared_data
def test_the_deviations_are_those_of_the_note():
    listed = re.findall(r"^\| (D\d+) \|", section("## 0.", "## 1."), re.M)
    assert [d.id for d in deviations()] == listed == [f"D{i}" for i in range(1, 23)]


def test_sizes_are_truncated_fractions_of_the_width():
    tables = (published_accuracies(), published_spread(), published_read_off(), published_cka())
    for row in (row for table in tables for row in table.to_pylist()):
        assert row["n_neurons"] == int(row["fraction"] * row["width"]), row
        assert row["width"] == model_named(row["model"]).width


def test_every_name_is_in_the_catalogue_and_every_source_is_known():
    tables = (published_accuracies(), published_spread(), published_read_off(), published_cka(), published_redundancy())
    for table in (*tables, published_table1()):
        assert all(model_named(name) for name in table["model"].to_pylist())
        assert all(dataset_named(name) for name in table["dataset"].to_pylist())
        if "source" in table.column_names:
            assert set(table["source"].to_pylist()) <= set(sources())
    assert model_named("resnet50-l2-eps3").name == "resnet50-AT"
    assert dataset_named("oxford-iiit-pets").name == "pets"
    assert model_named("resnet51") is None
    assert dataset_named("cifar") is None
    assert sources()["cifar"].place.startswith("nvedant07/invariances_in_reps at 53d6ef9")
    assert sources()["paper"].place == "the paper"


def test_the_zoo_has_the_networks_under_these_names():
    assert len(published_models()) == 33
    for model in published_models():
        assert zoo_network(model.zoo).width == model.width, model.name
        top1 = zoo_network(model.zoo).top1
        if model.imagenet_top1 is not None:
            assert top1 == pytest.approx(model.imagenet_top1 / 100, abs=1e-4), model.name


def test_the_cast_of_the_figures_has_the_same_names():
    from aggregate.recipes.cast import DATASETS, MODELS

    assert {(m.name, m.zoo, m.width) for m in published_models() if m.in_paper} == {
        (role, cast.zoo, cast.width) for role, cast in MODELS.items()
    }
    assert {(d.name, d.zoo) for d in published_datasets()} == {(role, cast.zoo) for role, cast in DATASETS.items()}


def test_deviations_touch_what_they_say():
    touched = {d.id for d in deviations() if d.touches("dr", "vit_s16-1k", "flowers", "random", None)}
    assert touched == {"D1", "D3", "D4", "D12", "D17", "D19"}  # Flowers validates clean: no D13
    pair = {d.id for d in deviations() if d.touches("cka_pair", "resnet50", "pets", "random", 0.2)}
    assert pair == {"D9", "D15", "D17", "D19"}
    assert "D5" in {d.id for d in deviations() if d.touches("accuracy", "resnet50", "cifar100", "random", 0.4)}
    assert "D5" not in {d.id for d in deviations() if d.touches("accuracy", "resnet50", "cifar100", "random", 0.5)}
    assert [d.id for d in deviations_of("fig19")][-1] == "D19"
    assert {d.id for d in deviations_of("fig11")} >= {"D9", "D22"}
    known = {"table1", *(f"fig{i}" for i in range(1, 23))}
    names = {m.name for m in published_models()}
    for d in deviations():
        assert set(d.figures) <= known
        for scope in d.scopes:
            assert all(fnmatch.filter(names, pattern) for pattern in scope.model), d.id
            assert set(scope.dataset) <= {s.name for s in published_datasets()}
            assert set(scope.quantity) <= {
                "dr", "imagenet", "accuracy", "std", "read_off", "cka_part_whole", "cka_pair",
            }  # fmt: skip
