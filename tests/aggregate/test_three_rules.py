"""Three rules side by side: the view turned, cells without DR, how often the rules disagree."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv

from aggregate import (
    RULES,
    THREE_RULES_SCHEMA,
    InvalidOption,
    InvalidTable,
    redundancy,
    three_rules,
    three_rules_table,
)

# d = 100; at delta 0.9: strict takes 60, nearest 30, interpolated between them.
CURVE = {10: [0.5, 0.52], 30: [0.88, 0.89], 60: [0.95, 0.951], 100: [1.0, 1.0]}


def view(make, rows, cka=(), deltas=(0.9,)):
    return redundancy(make.probes(rows), make.cka(list(cka)), deltas=deltas)


def curve(make, values=CURVE, **other):
    return [make.probe(k, v, s, **other) for k, vs in values.items() for s, v in enumerate(vs, 1)]


def lines_of(text):
    table, _, notes = text.partition("\n\n")
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").replace("\\", "").split("|")] for line in table.splitlines()
    )
    return [dict(zip(head, row, strict=True)) for row in rows], notes


def test_rows_are_the_view_turned(make):
    rows = curve(make) + curve(make, dataset="q") + curve(make, method="pca", values={10: [0.5], 50: [0.7]})
    table = view(make, rows, [make.similarity(10, 0.2)], deltas=(0.8, 0.9))
    turned = three_rules(table)
    assert turned.schema == THREE_RULES_SCHEMA
    assert turned.num_rows * 3 == table.num_rows
    keys = ["model", "layer", "dataset", "measure", "method", "delta"]
    for rule in RULES:
        mine = table.filter(pc.equal(table["rule"], rule))
        for name in ("dr", "n_neurons", "ci_low", "ci_high"):
            assert turned[f"{name}_{rule}"].to_pylist() == mine[name].to_pylist()
        for name in (*keys, "bracket_low", "bracket_high", "n_seeds", "censored"):
            assert turned[name].to_pylist() == mine[name].to_pylist()


def test_a_row_by_hand(make):
    ((row,), notes) = lines_of(three_rules_table(view(make, curve(make)), "md"))
    assert row["model/layer (width)"] == "m/l (100)"
    assert (row["dataset"], row["measure"], row["δ"]) == ("c", "accuracy", "0.9")
    assert (row["DR: strict"], row["DR: nearest"]) == ("0.40", "0.70")
    # The line from (30, .885) to (60, .9505) has .9 at 36.87.
    assert row["DR: interpolated"] == "0.63"
    assert (row["bracket"], row["seeds"]) == ("[0.40, 0.70)", "2")
    low, high = (float(x) for x in row["interval"].split("–"))
    assert low <= 0.40
    assert high >= 0.69
    assert "strict and nearest differ in 1 of 1 rows; in 1 nearest lies outside the bracket" in notes
    assert "quantises DR: steps of 0.3 to 0.3" in notes
    assert "- Method: random." in notes
    assert "censored" not in notes


def test_cells_without_dr_say_why(make):
    rows = curve(make) + curve(make, {10: [0.5], 50: [0.9]}, dataset="d")
    rows += curve(make, {50: [0.3, 0.3], 100: [0.5, 0.6]}, method="random_projection_uniform")
    found, notes = lines_of(three_rules_table(view(make, rows, [make.similarity(80, 0.5)]), "md"))
    at = {(row["dataset"], row["measure"], row["method"]): row for row in found}
    cka = at["c", "CKA", "random"]
    assert [cka[f"DR: {rule}"] for rule in RULES] == ["censored"] * 3
    assert (cka["bracket"], cka["interval"]) == ("[0.00, 0.20)", "—")
    unknown = at["d", "accuracy", "random"]
    assert [unknown[f"DR: {rule}"] for rule in RULES] == ["—"] * 3
    assert unknown["bracket"] == "—"
    never = at["c", "accuracy", "random_projection_uniform"]
    assert [never[f"DR: {rule}"] for rule in RULES] == ["never"] * 3
    for sentence in ("censored: no measured size", "never: all d", "— as DR: the whole layer", "The whole layer of"):
        assert sentence in notes
    assert "differ in 1 of 1 rows" in notes


def test_protocols_methods_and_ids_are_kept_apart(make):
    rows = curve(make) + curve(make, protocol="p2") + curve(make, method="first") + curve(make, test_id="c" * 64)
    found, notes = lines_of(three_rules_table(view(make, rows), "md"))
    assert len(found) == 4
    names = [(row["model/layer (width)"], row["method"], row["measure"]) for row in found]
    assert names == [
        ("m/l (100)", "random", "accuracy p2"),
        ("m/l (100)", "first", "accuracy paper"),
        ("m/l (100), test bbbbbbbb", "random", "accuracy paper"),
        ("m/l (100), test cccccccc", "random", "accuracy paper"),
    ]
    assert "never averaged" in notes
    assert "Protocol:" not in notes


def test_csv_and_latex(make):
    table = view(make, curve(make, model="a_b&"))
    back = csv.read_csv(io.BytesIO(three_rules_table(table, "csv").encode()))
    assert back.column_names == THREE_RULES_SCHEMA.names
    assert back["dr_nearest"].to_pylist() == [0.7]
    text = three_rules_table(table, "tex")
    assert r"& \multicolumn{3}{c}{DR} & \multicolumn{3}{c}{} \\" in text
    assert r"\cmidrule(lr){5-7}" in text
    assert r"a\_b\&/l (100) & c & accuracy & 0.9 & 0.40 & 0.70 & 0.63 & {[}0.40, 0.70)" in text
    assert text.isascii()


@pytest.mark.parametrize("fmt", ["csv", "md", "tex"])
def test_an_empty_view_is_a_table(make, fmt):
    assert "bracket" in three_rules_table(view(make, []), fmt)


def test_what_can_not_be_shown_is_refused(make):
    table = view(make, curve(make))
    with pytest.raises(InvalidOption, match="missing: nearest, interpolated"):
        three_rules_table(table.filter(pc.equal(table["rule"], "strict")), "md")
    with pytest.raises(InvalidOption, match="fmt must be among csv, md, tex, got 'html'"):
        three_rules_table(table, "html")
    with pytest.raises(InvalidTable, match="missing: dr"):
        three_rules(table.drop_columns(["dr"]))


def test_the_order_of_the_view_does_not_matter(make):
    table = view(make, curve(make) + curve(make, model="n") + curve(make, dataset="b"), deltas=(0.9, 0.8))
    turned = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    assert three_rules_table(table, "md") == three_rules_table(turned, "md")
