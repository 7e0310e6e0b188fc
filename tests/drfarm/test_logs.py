"""Lines of JSON: one for each event, with the same fields always, and never a secret in one."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drfarm.farm._told import Told
from drfarm.logs import FIELDS, VARIABLE, choose_format, chosen_format, line, without_secrets
from drfarm.progress import JsonLines, ViewReporter
from store import UnknownName


@pytest.fixture(autouse=True)
def own_choice(monkeypatch):
    """Leave the next test the form that it would have had."""
    monkeypatch.setenv(VARIABLE, "text")


def lines(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(text) for text in err.splitlines()]


def test_a_line_has_all_fields_in_their_order_and_then_its_own():
    before = datetime.now(UTC)
    text = line("batch.done", "done: [x] ä\nsecond line", stage="probe", batch="b1", n=3.5, odd=float("nan"), rows=[1])
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    record = json.loads(text, parse_constant=pytest.fail)
    assert tuple(record) == (*FIELDS, "n", "odd", "rows")
    assert (record["level"], record["study"], record["worker"]) == ("info", None, None)
    assert (record["message"], record["n"], record["odd"], record["rows"]) == (
        "done: [x] ä\nsecond line",
        3.5,
        None,
        [1],
    )
    at = datetime.fromisoformat(record["time"])
    assert record["time"].endswith("Z")
    assert abs((at - before).total_seconds()) < 60


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("s3://key:hush@bucket/x and tcp://h:1", "s3://***@bucket/x and tcp://h:1"),
        ("https://h/a?X-Amz-Signature=abc&x=1", "https://h/a?X-Amz-Signature=***&x=1"),
        ("aws_secret_access_key = abc, next", "aws_secret_access_key = ***, next"),
        ("PASSWORD=abc;token=def", "PASSWORD=***;token=***"),
        ("n_neurons=5 at tcp://10.0.0.1:8786", "n_neurons=5 at tcp://10.0.0.1:8786"),
        ("mail me@home, see a@b", "mail me@home, see a@b"),
    ],
)
def test_credentials_are_cut_out(text, clean):
    assert without_secrets(text) == clean
    assert json.loads(line("message", text, detail={"deep": [text]}))["detail"] == {"deep": [clean]}


def test_the_environments_own_secrets_are_cut_out(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hu/sh+hush")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "abc")  # too short to be one: it may be a part of any word
    assert without_secrets("the server said hu/sh+hush to abc") == "the server said *** to abc"


def test_a_secret_before_a_quote_breaks_no_line():
    record = json.loads(line("message", 'password=a\\" "end'))
    assert record["message"].startswith("password=***")


def test_an_unknown_form_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no log format 'jsn'\. Did you mean 'json'"):
        choose_format("jsn")
    assert chosen_format() == "text"


def test_a_run_as_lines(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    reporter = ViewReporter([JsonLines()], study="tiny")
    with reporter.stage("probe", 20, "results") as meter:
        meter.started("b1", "5 probes", "tcp://a", n=5)
        clock[0] = 20.0
        meter.advance(5, batch="b1")
        meter.failed("b2", "5 probes", "bad", attempts=1, n=5)
    reporter.message("all s3://key:hush@bucket")
    told = lines(capsys)
    assert [t["event"] for t in told] == [
        "stage.started",
        "batch.started",
        "stage.progress",
        "batch.done",
        "batch.failed",
        "stage.ended",
        "message",
    ]
    assert {t["study"] for t in told} == {"tiny"}
    assert [t["stage"] for t in told] == ["probe"] * 6 + [None]
    progress = told[2]
    assert (progress["done"], progress["waiting"], progress["per_second"], progress["eta_s"]) == (5, 15, 0.25, 60.0)
    assert (told[3]["batch"], told[3]["worker"], told[3]["n"]) == ("b1", "tcp://a", 5)
    assert (told[4]["level"], told[4]["error"], told[4]["attempts"]) == ("error", "bad", 1)
    assert told[6]["message"] == "all s3://***@bucket"


class Task:
    batch_id, title = "b1", "5 probes"


def test_a_worker_tells_of_its_tasks_where_that_was_chosen(capsys):
    def work(task):
        return task.title

    assert Told(work, "probe")(Task()) == "5 probes"
    assert capsys.readouterr() == ("", "")
    choose_format("json")
    assert Told(work, "probe")(Task()) == "5 probes"
    told = lines(capsys)
    assert [(t["event"], t["stage"], t["batch"], t["worker"]) for t in told] == [
        ("task.started", "probe", "b1", None),
        ("task.done", "probe", "b1", None),
    ]
    assert told[1]["memory_bytes"] > 2**20


def test_a_worker_tells_of_a_task_that_fails(capsys):
    def work(task):
        raise ValueError("password=hush is wrong")

    choose_format("json")
    with pytest.raises(ValueError, match="is wrong"):
        Told(work, "probe")(Task())
    last = lines(capsys)[-1]
    assert (last["event"], last["level"]) == ("task.failed", "error")
    assert last["message"] == "5 probes: ValueError: password=*** is wrong"


def test_what_is_wrong_with_a_request_is_a_line_too(tmp_path):
    done = subprocess.run(
        [Path(sys.executable).parent / "drfarm", "run", tmp_path / "none.yaml", "--log-format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (record,) = map(json.loads, done.stderr.splitlines())
    assert (record["event"], record["level"]) == ("error", "error")
    assert "none.yaml" in record["message"]
