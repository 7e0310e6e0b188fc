"""The state of a study from its store alone: how far, how fast just now, and what failed, with stable keys."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from drfarm._show_status import status_json, status_text
from drfarm.status import RECENT, status
from store import open_store
from store.testing import make_cka_row, make_probe_row


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


def plan_of(store, **changes):
    """A plan as far as its state needs one: a fake at the boundary."""
    jobs = [SimpleNamespace(name=n, ids=(f"{n}-a", f"{n}-b")) for n in ("one", "two")]
    values = {
        "study": SimpleNamespace(study="s"),
        "store_url": store.url,
        "jobs": jobs,
        "jobs_done": frozenset({"one"}),
        "tasks": (),
        "n_probes": 30,
        "n_probes_done": 5,
        "n_cka": 4,
        "n_cka_done": 4,
    }
    return SimpleNamespace(**(values | changes))


def write_probes(store, batch, n, *, ago, study="s"):
    """Write a batch that was begun so many seconds ago."""
    rows = [make_probe_row(batch, f"{batch}-{i}", study=study) for i in range(n)]
    store.results.write("probes", batch, rows, started_at=datetime.now(UTC) - timedelta(seconds=ago))


def test_the_rate_is_that_of_this_study_over_the_last_minutes(store):
    write_probes(store, "b1", 3, ago=50)
    write_probes(store, "b2", 2, ago=10)
    write_probes(store, "b3", 9, ago=10, study="other")
    store.results.write("cka", "c1", [make_cka_row("c1", "c1-1", study="s")])  # as an earlier version did
    now = datetime.now(UTC)
    (extract, probe, cka), failures = status(plan_of(store), now=now)
    assert failures == []
    assert (extract.n_done, extract.n_all, extract.rate, extract.last_at) == (2, 4, None, None)
    assert probe.rate == pytest.approx(5 / 50, rel=0.1)
    assert probe.eta_s == pytest.approx(25 / probe.rate)
    assert 0 <= (now - probe.last_at).total_seconds() < 30
    assert (cka.rate, cka.last_at, cka.eta_s) == (None, None, 0.0)
    (_, later, _), _ = status(plan_of(store), now=now + RECENT + timedelta(seconds=60))
    assert (later.rate, later.eta_s, later.last_at) == (0.0, None, probe.last_at)  # nobody works on it


def test_without_a_store_nothing_is_done(tmp_path):
    plan = plan_of(SimpleNamespace(url=str(tmp_path / "none")), n_probes_done=0, n_cka_done=0, jobs_done=frozenset())
    stages, failures = status(plan)
    assert [(s.n_done, s.rate, s.eta_s, s.n_failed) for s in stages] == [(0, None, None, 0)] * 3
    assert failures == []
    assert not (tmp_path / "none").exists()


def fail(store, name, *, study="s", stage="extract", what="net / data", **more):
    record = {"study": study, "stage": stage, "what": what, "error": "it broke", "attempts": 3, **more}
    store.results.record_failure(name, record)


def test_failures_say_what_why_how_often_and_when(store):
    fail(store, "f2", what="z", at="2026-01-02T03:04:05+00:00", log="last words", work={"curve": "1-5"})
    fail(store, "f1", what="a")
    fail(store, "f3", study="other")
    stages, failures = status(plan_of(store))
    assert [f["what"] for f in failures] == ["a", "z"]
    assert [s.n_failed for s in stages] == [2, 0, 0]
    assert failures[1]["at"] == "2026-01-02T03:04:05+00:00"
    assert abs(datetime.fromisoformat(failures[0]["at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    text = status_text(stages, failures, grows=True)
    assert "extract  2 of 4 representations done, 2 failed" in text
    assert "failed: a: it broke\nfailed: z: it broke\nthe next run tries what failed again; `drfarm retry" in text
    record = json.loads(status_json("s", store.url, stages, failures, grows=True))
    assert [list(f) for f in record["failures"]] == [
        ["stage", "what", "error", "attempts", "at", "batch_id"],
        ["stage", "what", "error", "attempts", "at", "batch_id", "log"],
    ]
    assert record["failures"][1]["log"] == "last words"


def test_json_has_stable_keys_and_no_secret(store):
    write_probes(store, "b1", 3, ago=50)
    fail(store, "f1", error="s3://key:hush@bucket refused")
    plan = plan_of(store)
    text = status_json("s", "s3://key:hush@bucket/x", *status(plan), grows=False)
    assert "hush" not in text
    record = json.loads(text, parse_constant=pytest.fail)
    assert list(record) == ["format", "study", "store", "done", "grows", "stages", "failures"]
    keys = ["stage", "unit", "done", "all", "left", "failed", "per_second", "eta_s", "last_at"]
    assert [list(s) for s in record["stages"]] == [keys] * 3
    assert (record["format"], record["done"], record["stages"][1]["left"]) == (1, False, 25)
    assert datetime.fromisoformat(record["stages"][1]["last_at"]).tzinfo is not None
    whole = plan_of(store, jobs_done=frozenset({"one", "two"}), n_probes_done=30)
    assert json.loads(status_json("s", "x", *status(whole), grows=False))["done"] is True
    assert json.loads(status_json("s", "x", *status(whole), grows=True))["done"] is False


def test_text_tells_the_pace_while_somebody_works(store):
    write_probes(store, "b1", 5, ago=50)
    stages, failures = status(plan_of(store))
    line = status_text(stages, failures, grows=False).splitlines()[1]
    assert line.startswith("probe    5 of 30 probes done, 0.1/s, about 4 min ")
    assert line.endswith(" left")
