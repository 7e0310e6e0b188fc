import io

import pytest
from pyarrow import csv

from aggregate import InvalidOption, InvalidTable, redundancy, redundancy_table


def curve(make, values, **other):
    return [make.probe(k, v, s, **other) for k, vs in values.items() for s, v in enumerate(vs, 1)]


GOOD = {10: [0.5, 0.52], 50: [0.95, 0.951], 100: [1.0, 1.0]}


def table_of(make, rows, cka=(), deltas=(0.9,)):
    return redundancy(make.probes(rows), make.cka(list(cka)), deltas=deltas)


def test_markdown_by_hand(make):
    text = redundancy_table(table_of(make, curve(make, GOOD, model="net_a", layer="pool")), "md")
    head, _, row, *notes = text.splitlines()
    assert head == "| model/layer (width) | c: accuracy, δ = 0.9 |"
    assert row == r"| net\_a/pool (100) | 0.50 \[0.50, 0.90) (0.50–0.89) |"
    assert "- Protocol: paper." in notes
    assert any("quantises DR: steps of 0.4 to 0.4" in note for note in notes)
    assert "bound" not in text


def test_latex_is_escaped_and_uses_booktabs(make):
    text = redundancy_table(
        table_of(make, curve(make, GOOD, model="net_a&b", dataset="50%", layer="[x]{y}#$^~\\")), "tex"
    )
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule(lr){2-2}", r"\multicolumn{1}{c}{50\%}"):
        assert rule in text
    assert r"net\_a\&b/{[}x{]}\{y\}\#\$\textasciicircum{}\textasciitilde{}\textbackslash{} (100)" in text
    assert r"$\delta$ = 0.9" in text
    assert "0.50 {[}0.50, 0.90) (0.50--0.89)" in text
    assert text.isascii()


def test_latex_groups_columns_by_dataset(make):
    rows = curve(make, GOOD, dataset="a") + curve(make, GOOD, dataset="b")
    text = redundancy_table(table_of(make, rows, deltas=(0.8, 0.9)), "tex")
    assert r" & \multicolumn{2}{c}{a} & \multicolumn{2}{c}{b} \\" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}" in text
    assert r"\begin{tabular}{lcccc}" in text


def test_censored_cells_say_so(make):
    cka = [make.similarity(80, 0.5), make.similarity(20, 0.2)]
    text = redundancy_table(table_of(make, curve(make, {10: [0.5], 50: [0.9]}), cka), "md")
    assert "| m/l (100) | — | \\< 0.20 |" in text
    assert "no measured size reaches δ" in text
    assert "the whole layer was not measured" in text


def test_several_ids_get_a_row_each(make):
    rows = curve(make, GOOD, test_id="11111111aa", dataset="a") + curve(make, GOOD, test_id="22222222bb", dataset="a")
    rows += curve(make, GOOD, dataset="b")
    lines = redundancy_table(table_of(make, rows), "md").splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == [
        "m/l (100)",
        "m/l (100), test 11111111",
        "m/l (100), test 22222222",
    ]
    assert lines[2].split("|")[2].strip() == ""
    assert "several representations" in lines[-1]


def test_ids_with_a_common_beginning_are_told_apart(make):
    rows = curve(make, GOOD, train_id="1234567890a") + curve(make, GOOD, train_id="1234567890b")
    text = redundancy_table(table_of(make, rows), "md")
    assert "train 1234567890a, test bbbbbbbbbbb" in text
    assert "train 1234567890b, test bbbbbbbbbbb" in text


def test_several_protocols_get_a_column_each_and_methods_a_row(make):
    rows = curve(make, GOOD) + curve(make, GOOD, solver="ridge", protocol="r1") + curve(make, GOOD, method="pca")
    lines = redundancy_table(table_of(make, rows), "md").splitlines()
    assert "c: accuracy ridge/r1, δ = 0.9" in lines[0]
    assert "c: accuracy sgd/paper, δ = 0.9" in lines[0]
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["m/l (100), pca", "m/l (100), random"]


def test_fine_grids_get_a_third_decimal(make):
    text = redundancy_table(table_of(make, curve(make, {499: [0.5], 500: [0.9], 1000: [0.95]}, width=1000)), "md")
    assert r"0.500 \[0.500, 0.501)" in text


def test_other_rules_are_shown_on_request(make):
    text = redundancy_table(table_of(make, curve(make, GOOD)), "md", rule="interpolated")
    assert "DR (interpolated)" in text
    assert "0.55 \\[" in text or "0.54 \\[" in text


def test_csv_holds_everything(make):
    table = table_of(make, curve(make, GOOD), [make.similarity(10, 0.2)])
    back = csv.read_csv(io.BytesIO(redundancy_table(table, "csv").encode()))
    assert back.column_names == table.column_names
    assert back.num_rows == table.num_rows
    assert back["dr"].to_pylist() == table["dr"].to_pylist()
    assert back["censored"].to_pylist() == table["censored"].to_pylist()


@pytest.mark.parametrize("fmt", ["csv", "md", "tex"])
def test_an_empty_table_is_a_table(make, fmt):
    assert "model" in redundancy_table(table_of(make, []), fmt)


def test_unknown_options_are_refused(make):
    table = table_of(make, curve(make, GOOD))
    with pytest.raises(InvalidOption, match="fmt must be among csv, md, tex, got 'html'"):
        redundancy_table(table, "html")
    with pytest.raises(InvalidOption, match="rule must be among"):
        redundancy_table(table, "md", rule="exact")
    with pytest.raises(InvalidOption, match="got only interpolated, nearest"):
        redundancy_table(table.slice(1), "md")
    with pytest.raises(InvalidTable, match="missing: ci_low"):
        redundancy_table(table.drop_columns(["ci_low"]), "md")


def test_notes_say_whose_whole_layer_it_is_and_what_is_left_out(make):
    rows = curve(make, GOOD) + curve(make, {10: [0.5], 50: [None], 60: [0.99]}, method="pca")
    text = redundancy_table(table_of(make, rows), "md")
    assert "The whole layer of pca is k = d of random" in text
    assert "sizes at which some value is undefined" in text
    assert "up to 1 in one curve" in text
    alone = redundancy_table(table_of(make, curve(make, GOOD, method="pca")), "md")
    assert "The ratio of pca is to its own k = d" in alone
    plain = redundancy_table(table_of(make, curve(make, GOOD)), "md")
    assert "whole layer of" not in plain
    assert "undefined" not in plain


def test_a_mixture_that_never_gets_there_says_never(make):
    rows = curve(make, GOOD) + curve(make, {50: [0.3, 0.3], 100: [0.5, 0.6]}, method="random_projection_uniform")
    text = redundancy_table(table_of(make, rows), "md")
    assert "| never |" in text
    assert "never: all d dimensions" in text


def test_estimators_of_cka_have_columns_of_their_own(make):
    import pyarrow as pa

    rows = [make.similarity(k, v, s) for k, v in ((10, 0.5), (50, 0.95)) for s in (1, 2)]
    cka = pa.concat_tables(
        [make.cka(rows).append_column("estimator", pa.repeat(name, len(rows))) for name in ("biased", "debiased")]
    )
    text = redundancy_table(redundancy(make.probes(curve(make, GOOD)), cka, deltas=[0.9]), "md")
    assert "| c: accuracy, δ = 0.9 | c: CKA, δ = 0.9 | c: CKA, debiased, δ = 0.9 |" in text
    assert "- Protocol: paper." in text
    assert "biased estimator of the paper" in text
