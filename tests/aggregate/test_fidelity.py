"""Published numbers beside their recomputation and beside a store's own, and how that is written."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from aggregate import (
    FIDELITY_SCHEMA,
    InvalidOption,
    InvalidTable,
    fidelity,
    fidelity_summary,
    fidelity_text,
    redundancy,
)
from aggregate.published import published_accuracies, published_redundancy, published_table1
from store.errors import UnknownName

SIZES = (20, 40, 102, 204, 860, 409, 614, 1024, 1638, 1843, 2048)
"""Those of the paper's ResNet50 from 1 % on, but for 40 and 860."""


@pytest.fixture(scope="module")
def alone():
    return fidelity()


@pytest.fixture(scope="module")
def store(make):
    """Probes and CKA of a store: two networks of the paper, one of them by two solvers, and much that is not ours."""
    rng = np.random.default_rng(0)

    def curve(model, dataset, width=2048, seeds=3, **other):
        at = [int(k * width / 2048) or 1 for k in SIZES]
        noise = rng.normal(0, 0.002, (len(at), seeds))
        return [
            make.probe(
                k, 0.88 * (k / width) ** 0.12 + noise[i, s], s + 1, model=model, dataset=dataset, width=width,
                layer=other.get("layer", "penultimate"), **{k: v for k, v in other.items() if k != "layer"},
            )
            for i, k in enumerate(at)
            for s in range(seeds)
        ]  # fmt: skip

    probes = [
        *curve("resnet50", "cifar10"),
        *curve("resnet50", "cifar10", solver="ridge", protocol="default"),
        *curve("resnet50", "cifar10", protocol="imported", seeds=1),
        *curve("resnet50", "cifar10", protocol="paper+random-labels"),
        *curve("resnet50", "cifar10", layer="layer4"),
        *curve("resnet50-l2-eps3", "flowers102", test_id="c" * 64),
        *curve("resnet18", "cifar10", width=100),
        *curve("<b>mine|</b>", "pets"),
        *curve("resnet50", "digits"),
    ]
    pairs = [
        make.similarity(k, 0.5 + k / 4096, a, b, model="resnet50", dataset="cifar10", layer="penultimate", width=2048)
        for k in (102, 409)
        for a, b in ((1, 2), (1, 3), (2, 3))
    ]
    parts = [
        make.similarity(k, (k / 2048) ** 0.3, s, model="resnet50", dataset="cifar10", layer="penultimate", width=2048)
        for k in (8, 1024, 2048)
        for s in (1, 2)
    ]
    return make.probes(probes), make.cka([*pairs, *parts])


@pytest.fixture(scope="module")
def beside(store):
    return fidelity(*store)


def rows(table, /, **where):
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in where.items())]


def test_every_carried_number_has_a_row(alone):
    assert alone.schema.equals(FIDELITY_SCHEMA)
    counts = {r["values"]: r["counts"] for r in pc.value_counts(alone["table"]).to_pylist()}
    assert counts == {
        "table1": 24,
        "redundancy": 74,
        "imagenet": 12,
        "accuracy": 506,
        "spread": 112,
        "read_off": 13,
        "cka_part_whole": 128,
        "cka_pair": 48,
    }
    assert all(row["deviations"] for row in alone.to_pylist() if row["table"] != "imagenet")
    assert alone["ours"].null_count == alone.num_rows


def test_table1_is_the_authors_rule_on_their_accuracies(alone):
    mine = rows(alone, table="table1")
    assert [(r["model"], r["dataset"], r["published"]) for r in mine] == [
        tuple(r.values()) for r in published_table1().to_pylist()
    ]
    cifar = [r for r in mine if r["recomputed_from"] == "accuracies"]
    assert {r["dataset"] for r in cifar} == {"cifar10", "cifar100"}
    assert len(cifar) == 12
    for row in cifar:
        assert row["nearest"] == row["published"], row
    assert sum(row["strict"] != row["published"] for row in mine) == 12


def test_every_cell_that_was_recomputed_by_hand_comes_out_again(alone):
    by_hand = {(r["model"], r["method"], r["dataset"]): r for r in published_redundancy().to_pylist()}
    here = [r for r in alone.to_pylist() if r["recomputed_from"] == "accuracies"]
    checked = 0
    for row in here:
        cell = by_hand.get((row["model"], row["method"], row["dataset"]))
        if cell is not None:
            checked += 1
            assert row["nearest"] == cell["nearest"], row
            assert row["strict"] == cell["strict"], row
            assert row["interpolated"] == pytest.approx(cell["interpolated"], abs=0.00501), row
    assert checked == 20  # ten networks, CIFAR10 and CIFAR100
    elsewhere = [r for r in alone.to_pylist() if r["recomputed_from"] == "notebooks"]
    assert len(elsewhere) == 56 - 20
    for row in elsewhere:
        cell = by_hand[row["model"], row["method"], row["dataset"]]
        assert [row[rule] for rule in ("nearest", "strict", "interpolated")] == [
            cell[rule] for rule in ("nearest", "strict", "interpolated")
        ]


def test_accuracies_are_compared_size_by_size_and_cell_by_cell(beside, store):
    probes = store[0].to_pandas()
    published = {r["n_neurons"]: r["accuracy"] for r in published_accuracies().to_pylist() if r["model"] == "resnet50" and r["dataset"] == "cifar10"}  # fmt: skip  # noqa: E501
    mine = [r for r in rows(beside, table="accuracy", model="resnet50", dataset="cifar10") if r["ours"] is not None]
    assert {(r["solver"], r["protocol"]) for r in mine} == {("sgd", "paper"), ("ridge", "default")}
    assert {r["n_neurons"] for r in mine} == set(SIZES) & set(published)
    assert [r["solver"] for r in mine[:2]] == ["sgd", "ridge"]
    for row in mine:
        here = probes[
            (probes.model == "resnet50") & (probes.dataset == "cifar10") & (probes.layer == "penultimate")
            & (probes.solver == row["solver"]) & (probes.protocol == row["protocol"])
            & (probes.n_neurons == row["n_neurons"])
        ]  # fmt: skip
        assert row["ours"] == pytest.approx(here.accuracy.mean(), abs=1e-12)
        assert row["published"] == published[row["n_neurons"]]
        assert row["difference"] == pytest.approx(row["ours"] - row["published"], abs=1e-12)
        assert row["n_seeds"] == 3
    spread = rows(beside, table="spread", model="resnet50", dataset="cifar10", n_neurons=102, solver="sgd")
    here = probes[(probes.model == "resnet50") & (probes.dataset == "cifar10") & (probes.layer == "penultimate")
                  & (probes.protocol == "paper") & (probes.n_neurons == 102)]  # fmt: skip
    assert spread[0]["ours"] == pytest.approx(here.accuracy.std(ddof=0), abs=1e-12)
    # What was not measured keeps its row.
    assert len(rows(beside, table="accuracy", model="resnet50", dataset="cifar10", n_neurons=1)) == 1


def test_dr_is_by_their_rule_on_their_sizes_and_by_eq_1_on_all(beside, store):
    (row,) = rows(beside, table="table1", model="resnet50", dataset="cifar10", solver="sgd")
    probes = store[0].to_pandas()
    probes = probes[(probes.model == "resnet50") & (probes.dataset == "cifar10") & (probes.layer == "penultimate")
                    & (probes.protocol == "paper")]  # fmt: skip
    theirs = probes[probes.n_neurons.isin(set(SIZES) - {40, 860})]
    means = theirs.groupby("n_neurons").accuracy.mean()
    size = (means / means[2048] - 0.9).abs().idxmin()
    assert row["ours"] == pytest.approx(1 - size / 2048, abs=1e-12)
    means = probes.groupby("n_neurons").accuracy.mean()
    assert row["ours_strict"] == pytest.approx(1 - (means / means[2048] >= 0.9).idxmax() / 2048, abs=1e-12)
    assert row["difference"] == pytest.approx(row["ours"] - 0.9, abs=1e-12)
    everything = pa.Table.from_pandas(probes, preserve_index=False)
    on_all = redundancy(everything.cast(store[0].schema), None, deltas=[0.9], rules=["nearest"]).to_pylist()[0]["dr"]
    assert on_all != row["ours"], "the grid must matter here, or this test says nothing"
    # Not in Table 1: held against the recomputed number.
    (robust,) = [r for r in rows(beside, table="redundancy", model="resnet50-AT", dataset="flowers") if r["our_model"]]
    assert robust["published"] is None
    assert robust["difference"] == pytest.approx(robust["ours"] - robust["nearest"], abs=1e-12)
    assert (robust["our_model"], robust["our_dataset"], robust["test_id"]) == (
        "resnet50-l2-eps3", "flowers102", "c" * 64,
    )  # fmt: skip


def test_cka_is_compared_at_the_same_sizes(beside):
    pair = [r for r in rows(beside, table="cka_pair", model="resnet50") if r["ours"] is not None]
    assert [(r["dataset"], r["n_neurons"], r["n_seeds"]) for r in pair] == [("cifar10", 102, 3), ("cifar10", 409, 3)]
    assert pair[0]["ours"] == pytest.approx(0.5 + 102 / 4096, abs=1e-12)
    part = [r for r in rows(beside, table="cka_part_whole") if r["ours"] is not None]
    assert [(r["n_neurons"], r["method"]) for r in part] == [(8, "random"), (1024, "random")]


def test_what_is_left_out_is_said(beside):
    notes = " ".join(fidelity_summary(beside).notes)
    assert "11 imported accuracies are not compared" in notes
    assert "resnet18 is not compared: its layer has 100 neurons, that of the paper's resnet18 has 512" in notes
    assert "None of the paper's networks: <b>mine|</b>." in notes
    assert not rows(beside, our_model="resnet18")


def test_a_role_may_be_given_to_a_name_of_the_store(store):
    table = fidelity(*store, roles={"wrn50_2": "<b>mine|</b>", "flowers": "digits"})
    assert {r["our_model"] for r in rows(table, model="wrn50_2", dataset="pets")} == {"<b>mine|</b>"}
    assert {r["our_dataset"] for r in rows(table, model="resnet50", dataset="flowers")} == {"digits", None}
    # The role is taken: the zoo's name does not have it any more.
    assert not rows(table, our_dataset="flowers102")
    text = fidelity_text(table, only="table1")
    assert r"\<b>mine\|\</b>" in text
    with pytest.raises(UnknownName, match=r"there is no role 'resnet51'.*'resnet50'"):
        fidelity(*store, roles={"resnet51": "resnet50"})
    with pytest.raises(UnknownName, match="there is no model 'resnet5'"):
        fidelity(*store, roles={"resnet50": "resnet5"})
    with pytest.raises(InvalidOption, match="one role, got several for resnet50"):
        fidelity(*store, roles={"resnet50": "resnet50", "wrn50_2": "resnet50"})


def test_the_order_of_rows_and_empty_tables_do_not_matter(store, beside):
    probes, cka = store
    shuffled = [table.take(np.random.default_rng(1).permutation(table.num_rows)) for table in (probes, cka)]
    assert fidelity(*shuffled).equals(beside, check_metadata=True)
    assert fidelity(probes.slice(0, 0), cka.slice(0, 0)).equals(fidelity())


def test_the_summary_counts_numbers_and_cells(alone, beside):
    summary = fidelity_summary(alone)
    assert (summary.n_numbers, summary.n_measured) == (917, 0)
    table1 = summary.tables[0]
    assert (table1.n_printed, table1.n_as_printed, table1.n_same_by_strict, table1.n_here) == (24, 24, 12, 12)
    assert "24 of 24 entries as printed (12 computed here" in summary.sentences[0]
    assert "by Eq. 1 12 of them are other numbers" in summary.sentences[0]
    assert "None of the 917 numbers" in summary.sentences[-1]
    assert sum(summary.verdicts.values()) == len(summary.claims)
    measured = {t.name: t for t in fidelity_summary(beside).tables}
    accuracy = [r for r in rows(beside, table="accuracy") if r["difference"] is not None]
    assert measured["accuracy"].n_cells == len(accuracy)
    assert measured["accuracy"].n_measured == len({(r["model"], r["dataset"], r["n_neurons"]) for r in accuracy})
    assert measured["accuracy"].n_cells == 2 * measured["accuracy"].n_measured
    assert measured["accuracy"].mean_difference == pytest.approx(
        np.mean([abs(r["difference"]) for r in accuracy]), abs=1e-12
    )
    assert measured["accuracy"].largest == max(accuracy, key=lambda r: abs(r["difference"]))
    assert fidelity_summary(beside).n_numbers == 917
    with pytest.raises(InvalidTable, match="missing: deviations"):
        fidelity_summary(alone.drop_columns("deviations"))


def test_markdown_has_the_summary_first_and_tables_that_hold_together(beside):
    text = fidelity_text(beside)
    assert text.splitlines()[2].startswith("- Table 1: the authors' rule gives 24 of 24")
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads[0].startswith("## Sentences")
    assert heads[1] == "## Table 1: DR at delta 0.9"
    assert heads[-2:] == ["## Deviations that are named", "## Sources"]
    block = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line.replace("\\|", "").count("|"))
        elif block:
            assert len(set(block)) == 1, block
            block = []
    assert "ours: resnet50, random, sgd, paper, test bbbbbbbb" in text
    assert "| resnet18-AT | flowers | random | 0.50\\* | 0.20\\* | 0.39\\* |" in text


def test_parts_of_the_text(alone):
    assert (
        "cifar100" not in fidelity_text(alone, only="claims").split("## Deviations")[0].split("Table 1 is DR")[0][:300]
    )
    table1 = fidelity_text(alone, only="table1")
    assert "## Top-1 on ImageNet" in table1
    assert "## Accuracies" not in table1
    assert "## CKA of two parts" in fidelity_text(alone, only="cka")
    assert "≈ 0.880" in fidelity_text(alone, only="accuracy")
    with pytest.raises(UnknownName, match="'table1'"):
        fidelity_text(alone, only="table2")
    with pytest.raises(InvalidOption, match="md, csv, json"):
        fidelity_text(alone, "tex")


def test_csv_and_json_hold_every_row(beside):
    lines = list(csv.DictReader(io.StringIO(fidelity_text(beside, "csv"))))
    assert len(lines) == beside.num_rows
    assert lines[0]["deviations"] == "D1 D3 D4 D12 D13 D17 D19"
    assert float(lines[0]["published"]) == 0.7
    claims = list(csv.DictReader(io.StringIO(fidelity_text(beside, "csv", only="claims"))))
    assert claims[0]["verdict"] == "does not hold"
    document = json.loads(fidelity_text(beside, "json"))
    assert document["numbers"] == json.loads(json.dumps(beside.to_pylist()))
    assert len(document["claims"]) == len(claims)
    assert set(document["deviations"]) >= {"D1", "D15", "D22"} - {"D22"}
    assert document["notes"]
    assert set(document["sources"]) == set(beside["source"].to_pylist())
