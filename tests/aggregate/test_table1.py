"""Table 1: the paper's CIFAR columns from the authors' accuracies, the store's own models, what is missing."""

import io
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv

from aggregate import TABLE1_SCHEMA, InvalidOption, table1
from store.errors import UnknownName

ACCURACIES = Path(__file__).parents[3] / "shared" / "reference" / "authors_accuracies.csv"

# Table 1 of https://arxiv.org/abs/2306.00183: name, width, ImageNet-1k top-1, CIFAR10, CIFAR100.
PRINTED = [
    ("ViT S-16", "384", "64.82 %", "0.70", "0.50"),
    ("ViT S-32", "384", "55.73 %", "0.70", "0.50"),
    ("ResNet18", "512", "69.23 %", "0.80", "0.50"),
    ("ResNet50", "2048", "80.07 %", "0.90", "0.50"),
    ("WRN50-2", "2048", "77.00 %", "0.95", "0.80"),
    ("VGG16", "4096", "73.36 %", "0.95", "0.80"),
]

CURVE = {10: [0.5, 0.52], 30: [0.88, 0.89], 60: [0.95, 0.951], 100: [1.0, 1.0]}


def curve(make, values=CURVE, **other):
    row = {"model": "resnet50", "dataset": "cifar10", **other}
    return [make.probe(k, v, s, **row) for k, vs in values.items() for s, v in enumerate(vs, 1)]


def lines_of(text):
    table, _, notes = text.partition("\n\n")
    rows = [tuple(cell.strip() for cell in line.strip("|").replace("\\", "").split("|")) for line in table.splitlines()]
    return rows[0], rows[2:], notes


@pytest.mark.shared_data
@pytest.mark.skipif(not ACCURACIES.exists(), reason=f"needs the authors' accuracies at {ACCURACIES.name}")
def test_the_papers_cifar_columns_from_the_authors_accuracies():
    table = csv.read_csv(ACCURACIES)
    for name, value in (("protocol", "imported"), ("train_id", None), ("test_id", None)):
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    head, rows, notes = lines_of(table1(table, "md"))
    assert head[:3] == ("model", "width d", "ImageNet-1k top-1")
    assert [name.rpartition(": ")[2] for name in head[3:]] == ["CIFAR10", "CIFAR100", "Flowers", "Oxford-IIIT-Pets"]
    assert [row[:5] for row in rows] == PRINTED
    assert all(row[5:] == ("", "") for row in rows)
    assert "Not measured: Flowers; Oxford-IIIT-Pets." in notes
    both = lines_of(table1(table, "md", rules=("nearest", "strict")))[1]
    assert [row[3] for row in both] == [row[3] for row in PRINTED]
    assert [row[4] for row in both] == ["0.50", "0.50", "0.70", "0.80", "0.90", "0.90"]  # Eq. 1
    back = csv.read_csv(io.BytesIO(table1(table, "csv").encode()))
    assert back.column_names == TABLE1_SCHEMA.names
    assert [f"{dr:.2f}" for dr in back["dr"].to_pylist()] == [value for row in PRINTED for value in row[3:5]]
    # The others of the csv file are not in Table 1, but are the store's own.
    assert len(lines_of(table1(table, "md", models="all"))[1]) == 10


def test_the_rule_is_the_papers_and_others_stand_beside_it(make):
    probes = make.probes(curve(make))
    _, rows, notes = lines_of(table1(probes, "md"))
    assert rows[3][:4] == ("ResNet50", "100", "80.07 %", "0.70")
    assert "DR (nearest)" in notes
    assert "strict" not in notes
    head, rows, notes = lines_of(table1(probes, "md", rules=("nearest", "strict")))
    assert head[3:5] == ("CIFAR10: nearest", "CIFAR10: strict")
    assert rows[3][3:5] == ("0.70", "0.40")
    assert "DR (strict)" in notes
    assert lines_of(table1(probes, "md", delta=0.5))[1][3][3] == "0.90"


def test_zoo_names_and_roles_find_the_cast(make):
    zoo = curve(make, model="wide_resnet50_2", dataset="flowers102")
    _, rows, _ = lines_of(table1(make.probes(zoo), "md"))
    assert rows[4][0] == "WRN50-2"
    assert rows[4][5] == "0.70"
    mine = make.probes(curve(make, model="mine", dataset="ours"))
    head, rows, notes = lines_of(table1(mine, "md", roles={"resnet50": "mine", "cifar10": "ours"}))
    assert rows[3][:4] == ("ResNet50 (mine)", "100", "80.07 %", "0.70")
    assert head[3].endswith("CIFAR10 (ours)")
    assert "Not measured: CIFAR100; Flowers; Oxford-IIIT-Pets; ViT S-16 on CIFAR10 (ours)" in notes


def test_two_names_of_one_network_are_never_one_row(make):
    rows = curve(make) + curve(make, {10: [0.95], 100: [1.0]}, model="resnet50_nonrob")
    _, found, _ = lines_of(table1(make.probes(rows), "md"))
    assert [row[0] for row in found[3:5]] == ["ResNet50 (resnet50)", "ResNet50 (resnet50_nonrob)"]
    assert [row[3] for row in found[3:5]] == ["0.70", "0.90"]


def test_layers_ids_protocols_and_methods(make):
    rows = curve(make) + curve(make, layer="block", width=200) + curve(make, test_id="c" * 64, layer="block", width=200)
    rows += curve(make, solver="ridge", protocol="default") + curve(make, {10: [0.95], 50: [1.0]}, method="pca")
    head, found, notes = lines_of(table1(make.probes(rows), "md", models="all"))
    assert [name.partition(": ")[2] for name in head[3:]] == ["cifar10 ridge/default", "cifar10 sgd/paper"]
    assert [row[:2] for row in found] == [
        ("resnet50, block, test bbbbbbbb", "200"),
        ("resnet50, block, test cccccccc", "200"),
        ("resnet50, l", "100"),
    ]
    assert found[2][3:] == ("0.70", "0.70")
    assert "- Method: random." in notes
    assert "never averaged" in notes


def test_what_has_no_number_says_so(make):
    rows = curve(make, {10: [0.5], 50: [0.9]}) + curve(make, dataset="cifar100")
    rows += curve(make, {50: [0.3, 0.3], 100: [0.0, 0.0]}, dataset="flowers")
    _, found, notes = lines_of(table1(make.probes(rows), "md"))
    assert found[3][3:] == ("—", "0.70", "—", "")
    assert "—: the whole layer was not measured" in notes


def test_latex_groups_the_data_sets(make):
    text = table1(make.probes(curve(make)), "tex")
    assert r" &  &  & \multicolumn{4}{c}{DR for $\delta$ = 0.9} \\" in text
    assert r"\cmidrule(lr){4-7}" in text
    assert r"ResNet50 & 100 & 80.07 \% & 0.70 &  &  &  \\" in text
    assert text.isascii()


def test_controls_are_not_in_it(make):
    rows = curve(make) + curve(make, {10: [0.99], 100: [1.0]}, protocol="paper+random-labels")
    assert table1(make.probes(rows), "md") == table1(make.probes(curve(make)), "md")


def test_what_can_not_be_shown_is_refused(make):
    probes = make.probes(curve(make, model="mine"))
    with pytest.raises(InvalidOption, match=r"got mine on cifar10\. Ask for the store's own"):
        table1(probes, "md")
    with pytest.raises(InvalidOption, match="got no network on no data set"):
        table1(make.probes([]), "md")
    with pytest.raises(UnknownName, match=r"no role of Table 1 'resnet5'\. Did you mean 'resnet50'"):
        table1(probes, "md", roles={"resnet5": "mine"})
    with pytest.raises(UnknownName, match=r"no model 'mime'.*Did you mean 'mine'"):
        table1(probes, "md", roles={"resnet50": "mime"})
    with pytest.raises(UnknownName, match="no data set 'ours'"):
        table1(probes, "md", roles={"pets": "ours"})
    with pytest.raises(InvalidOption, match="models must be `paper` or `all`, got 'some'"):
        table1(probes, "md", models="some")
    with pytest.raises(InvalidOption, match="fmt must be among csv, md, tex, got 'html'"):
        table1(probes, "html")
    with pytest.raises(InvalidOption, match="one rule at least"):
        table1(probes, "md", rules=())


@pytest.mark.parametrize("fmt", ["csv", "md", "tex"])
def test_nothing_of_ones_own_is_a_table(make, fmt):
    assert "model" in table1(make.probes([]), fmt, models="all")
