"""The report of a study and of a store: the command, the function, and what it says where little was measured."""

import html
import re
from datetime import UTC, datetime

import pytest

import drfarm as package
from drfarm.machines import keep_machine, machines
from drfarm.reporting import _n_missing
from store import InvalidRequest, NotFound, open_store


def text_of(page: str) -> str:
    """Return what a reader sees of a page, spaces made one."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())


@pytest.fixture(scope="module")
def page(finished, drfarm, tmp_path_factory):
    """The page of the finished study, made by the command."""
    out = tmp_path_factory.mktemp("report") / "page.html"
    told = drfarm("report", finished.file, "-o", out)
    assert told.code == 0, told.text
    assert told.out.strip() == str(out)
    return text_of(out.read_text(encoding="utf-8"))


def test_it_tells_where_results_come_from(page, finished):
    store = open_store(finished.store)
    infos = store.features.catalogue()
    assert len(infos) == 3
    for info in infos:
        assert f"features {info.key.id} {info.key.model}/{info.key.layer}/{info.key.dataset}/{info.key.split}" in page
        assert info.key.weights in page
        assert info.key.dataset_fingerprint in page
    assert f"drfarm {package.__version__}" in page
    assert "epochs 50, batch size 256, learning rate 0.1" in page
    assert "timm:test_resnet" in page


def test_it_tells_what_it_cost(page, finished):
    timings = open_store(finished.store).results.timings().to_pylist()
    hosts = {t["worker"].rpartition(":")[0] for t in timings}
    begun = min(t["started_at"] for t in timings if t["kind"] == "probes")
    assert f"{begun:%Y-%m-%d %H:%M:%S}" in page
    assert all(host in page for host in hosts)
    assert "Images through networks 52" in page  # 24 + 12 for training, 16 for both tests, which are one
    assert "Nothing failed." in page


def test_it_tells_how_to_make_it_again(page, finished):
    assert f"pip install drfarm=={package.__version__} drfarm run study.yaml" in page
    assert " ".join(finished.file.read_text().split()) in page


def test_a_run_leaves_one_beside_its_figures(finished):
    file = finished.store / "reports" / "tiny" / "report.html"
    assert "tiny · diffused redundancy" in file.read_text(encoding="utf-8")
    assert "report.html" in finished.ran.out


def test_a_store_makes_a_report_of_all_its_studies(finished, tmp_path):
    out = package.report(finished.store, tmp_path / "all.html", title="All <b>")
    text = text_of(out.read_text(encoding="utf-8"))
    assert "All <b> · diffused redundancy" in text
    assert "tiny.yaml, as the store keeps the study" in text
    assert "measure: cka_pair" in text


def test_an_empty_store_says_that_nothing_was_measured(drfarm, tmp_path):
    open_store(tmp_path / "store", create=True)
    told = drfarm("report", "--store", tmp_path / "store", "-o", tmp_path / "page.html")
    assert told.code == 0, told.text
    text = text_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Nothing has been measured yet." in text
    assert "Nothing failed." in text


def test_a_store_with_failures_only_shows_them(tmp_path):
    store = open_store(tmp_path / "store", create=True)
    record = {
        "study": "s",
        "stage": "probe",
        "what": "110 sgd probes of <m>",
        "error": "MemoryError: <x>",
        "attempts": 3,
    }
    store.results.record_failure(
        "ab12", {**record, "log": "the end", "work": {"a|random|1": "1-100", "b|random|1": "8,64"}}
    )
    text = text_of(package.report(str(tmp_path / "store"), tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Nothing has been measured yet." in text
    assert "110 sgd probes of <m> MemoryError: <x>" in text
    assert "tried 3 times · 102 results missing · ab12" in text
    assert "the end" in text


def test_protocols_stay_apart(finished, tmp_path):
    """One subset under two protocols, far apart: both stand there, and no mean of them."""
    store = open_store(tmp_path / "store", create=True)
    cell = {"study": "s", "model": "m", "layer": "l", "dataset": "c", "method": "random", "width": 8, "n_test": 100}
    cell |= {"train_id": "a" * 64, "test_id": "b" * 64, "batch_id": "one", "converged": True, "elapsed_s": 0.1}
    rows = [
        {**cell, "solver": "sgd", "protocol": protocol, "seed": seed, "n_neurons": k, "fraction": k / 8}
        | {"accuracy": high * (0.5 + k / 16), "job_id": f"{protocol}{seed}{k}"}
        for protocol, high in (("paper", 0.9), ("as-released", 0.42))
        for seed in (1, 2)
        for k in (2, 4, 8)
    ]
    store.results.write("probes", "one", rows, started_at=datetime.now(UTC))
    text = text_of(package.report(tmp_path / "store", tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "sgd, paper 6 probes" in text
    assert "sgd, as-released 6 probes" in text
    assert "0.9" in text
    assert "0.42" in text
    assert re.search(r"\b0\.660*\b", text) is None  # the mean of both whole layers


def test_what_is_asked_for_must_be_there(drfarm, tmp_path):
    assert drfarm("report").code == 2
    assert drfarm("report", "--store", tmp_path / "none").code == 2
    with pytest.raises(NotFound, match="there is no store"):
        package.report(tmp_path / "none", tmp_path / "page.html")
    open_store(tmp_path / "store", create=True)
    with pytest.raises(InvalidRequest, match="can't be written"):
        package.report(tmp_path / "store", tmp_path / "missing" / "page.html")


def test_machines_are_kept_once_for_each_set_of_versions(tmp_path):
    store = open_store(tmp_path / "store", create=True)
    assert machines(store) == ()
    keep_machine(store)
    keep_machine(store)
    (machine,) = machines(store)
    assert re.search(r"\d+ cores, .* GiB", machine.told)
    assert f"drfarm {package.__version__}, Python 3." in machine.told
    assert machine.told in text_of(
        package.report(tmp_path / "store", tmp_path / "page.html").read_text(encoding="utf-8")
    )


@pytest.mark.parametrize(("work", "n"), [(None, 0), ({}, 0), ({"a": "1-1280", "b": "8,64,512"}, 1283), ({"s": ""}, 0)])
def test_what_is_missing_is_counted(work, n):
    assert _n_missing(work) == n
