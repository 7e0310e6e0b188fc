"""`drfarm fidelity`, its page in the docs, and the study keys that the deviations name."""

import copy
import csv
import io
import json
from pathlib import Path

import pytest
import yaml

from aggregate import fidelity
from aggregate.published import deviations, deviations_table, options_table, paper_claims
from aggregate.published.deviations_table import flow
from drfarm.study import study_from_dict

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"
BASE = {
    "study": "one-side",
    "models": ["zoo:resnet50"],
    "datasets": [{"name": "cifar10", "source": "zoo:cifar10"}],
    "subsets": {"grid": "paper"},
}


@pytest.mark.parametrize("side", ["as_paper", "as_released"])
@pytest.mark.parametrize("deviation", deviations(), ids=lambda d: d.id)
def test_the_study_keys_of_either_side_are_those_of_a_study(deviation, side, tmp_path):
    how = getattr(deviation, side)
    assert how.how
    assert not (how.study and how.command)
    assert how.study or how.command or how.how.startswith("no "), "a side is keys, a command, or said not to exist"
    if how.study is not None:
        written = "\n".join(f"{key}: {flow(value)}" for key, value in how.study.items())
        assert yaml.safe_load(written) == how.study
        study_from_dict({**copy.deepcopy(BASE), **how.study}, base=tmp_path, where=deviation.id)


def test_the_two_sides_differ():
    for deviation in deviations():
        assert deviation.as_paper != deviation.as_released, deviation.id


def test_the_page_has_the_deviations_as_they_are():
    text = PAGE.read_text(encoding="utf-8")
    assert deviations_table() in text
    assert options_table() in text
    assert f"drfarm carries {fidelity().num_rows} numbers" in text


def test_the_page_has_the_verdicts_as_they_are():
    text = PAGE.read_text(encoding="utf-8").replace("\\", "")
    for claim in paper_claims():
        assert f"| {claim.sentence} | {claim.where} | {claim.reading} | {claim.verdict} | {claim.counts} |" in text


def test_without_a_store_it_shows_the_published_part(drfarm):
    done = drfarm("fidelity", "--only", "claims")
    assert done.code == 0
    assert "| does not hold | 0 of 2 |" in done.out
    assert "## Table 1" not in done.out


def test_beside_a_store_and_into_a_file(drfarm, tmp_path):
    file, store = tmp_path / "accuracies.csv", tmp_path / "store"
    lines = ["model,layer,dataset,solver,method,seed,n_neurons,width,accuracy"]
    lines += [f"resnet50,penultimate,cifar10,sgd,random,1,{k},2048,{a}" for k, a in ((204, 0.8), (2048, 0.9))]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert drfarm("import", "results", file, "--store", store).code == 0
    out = tmp_path / "fidelity.json"
    assert drfarm("fidelity", "--store", store, "--format", "json", "--only", "table1", "-o", out).code == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["notes"] == ["2 imported accuracies are not compared: they were measured elsewhere."]
    assert {row["table"] for row in document["numbers"]} == {"table1", "imagenet", "redundancy"}
    assert all(row["ours"] is None for row in document["numbers"])
    done = drfarm("table", "fidelity", "--store", store, "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(done.out)))) == fidelity().num_rows
    assert "got tex" in drfarm("table", "fidelity", "--store", store, "--format", "tex").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--as", "resnet50"], "--as takes ROLE=NAME, such as resnet50=my-resnet, got 'resnet50'"),
        (["--as", "resnet50=a", "--as", "resnet50=b"], "gives the role resnet50 two names, a and b"),
        (["--as", "resnet5=a"], "Did you mean 'resnet50'?"),
        (["--only", "table2"], "table2"),
    ],
)
def test_wrong_requests_are_told(drfarm, words, message):
    done = drfarm("fidelity", *words)
    assert done.code == 2
    assert message in done.text
