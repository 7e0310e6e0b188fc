"""Prometheus' rules and the Grafana dashboard: valid, each alert rings when it should, every metric is one we have."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from drfarm.metrics import METRICS

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
PANELS = {"row", "stat", "gauge", "timeseries", "alertlist"}
FOREIGN = {"up", "kube_job_status_failed"}
"""Prometheus' own, and one of kube-state-metrics."""

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*words, cwd=PROMETHEUS):
    return subprocess.run(["promtool", *map(str, words)], cwd=cwd, check=False, capture_output=True, text=True)


def verify_metrics():
    """Return the names that `verify.sh` writes."""
    return set(re.findall(r"# TYPE (\w+) gauge", (PROMETHEUS / "verify.sh").read_text()))


def rules():
    """Return all rules."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def recorded():
    """Return what recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def selectors(expression):
    """Return (name, labels that are compared) of each metric in an expression."""
    found = re.findall(r"\b((?:drfarm|up\b|kube)[\w:]*)(\{[^}]*\})?", expression)
    return [(name, set(re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"', braces))) for name, braces in found]


def check_names(expression):
    """Fail where an expression names a metric or a label that nobody makes."""
    found = selectors(expression)
    assert found, expression
    for name, labels in found:
        if name in METRICS:
            assert labels <= {*METRICS[name].labels, "instance", "job"}, expression
        else:
            assert name in FOREIGN | recorded() | verify_metrics(), f"{name} in {expression}"


def plain(expression):
    """Return an expression of the dashboard with its variables filled in."""
    return expression.replace("$__rate_interval", "5m").replace("$study", ".*")


def dashboard():
    """Return the dashboard."""
    return json.loads(DASHBOARD.read_text())


def targets():
    """Return every query of the dashboard."""
    return [t for panel in dashboard()["panels"] for t in panel.get("targets", ())]


@needs_promtool
def test_promtool_takes_the_rules_and_the_settings():
    done = promtool("check", "rules", "rules.yml")
    assert done.returncode == 0, done.stderr
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stderr


@needs_promtool
def test_promtool_takes_the_settings_for_kubernetes(tmp_path):
    done = promtool("check", "config", "prometheus-kubernetes.yml")
    if "field kubernetes_sd_configs not found" in done.stderr:  # Debian's is built without it: the rest is checked
        shutil.copy(PROMETHEUS / "rules.yml", tmp_path)
        told = yaml.safe_load((PROMETHEUS / "prometheus-kubernetes.yml").read_text())
        (job,) = told["scrape_configs"]
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["drfarm"]}}]
        (tmp_path / "config.yml").write_text(yaml.safe_dump(told))
        done = promtool("check", "config", "config.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@needs_promtool
def test_alerts_ring_when_they_should_and_only_then():
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_rule_that_is_wrong_is_found(tmp_path):
    for name in ("rules.yml", "rules_test.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    text = (tmp_path / "rules.yml").read_text()
    (tmp_path / "rules.yml").write_text(text.replace("> 900", "> 90000"))
    assert promtool("test", "rules", "rules_test.yml", cwd=tmp_path).returncode != 0
    (tmp_path / "rules.yml").write_text(text.replace("sum by (study)", "sum by study"))
    assert promtool("check", "rules", "rules.yml", cwd=tmp_path).returncode != 0


def test_each_alert_is_tested_to_ring_and_to_be_silent():
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", ())]
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert len(alerts) >= 10
    assert {c["alertname"] for c in cases if c.get("exp_alerts")} == alerts
    assert {c["alertname"] for c in cases if not c.get("exp_alerts")} == alerts


def test_each_alert_says_what_happened_and_what_to_do():
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"warning", "critical"}
            assert set(rule["annotations"]) == {"summary", "description"}
            assert rule["alert"].startswith("Drfarm")


def test_rules_name_metrics_that_there_are():
    for rule in rules():
        check_names(rule["expr"])
    for test in yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]:
        for series in test["input_series"]:
            check_names(series["series"])


def test_names_that_nobody_makes_are_found():
    with pytest.raises(AssertionError, match="drfarm_job in"):
        check_names("sum(drfarm_job) > 0")
    with pytest.raises(AssertionError, match="studie"):
        check_names('drfarm_jobs{studie="s"} > 0')


@needs_promtool
def test_promtool_takes_every_query_of_the_dashboard(tmp_path):
    made = [{"record": f"query:{i}", "expr": plain(t["expr"])} for i, t in enumerate(targets())]
    assert len(made) >= 20
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]}))
    done = promtool("check", "rules", "queries.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_dashboard_names_metrics_that_there_are():
    for target in targets():
        check_names(plain(target["expr"]))
    shown = {name for t in targets() for name, _ in selectors(t["expr"])}
    assert set(METRICS) | verify_metrics() == shown, "every figure has a place"


def test_the_dashboard_is_one_that_grafana_imports():
    told = dashboard()
    assert told["schemaVersion"] == 39
    assert told["id"] is None
    assert re.fullmatch(r"[\w-]{1,40}", told["uid"])
    variables = {v["name"]: v for v in told["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["study"]["query"]["query"] == "label_values(drfarm_jobs, study)"
    panels = told["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    assert {p["type"] for p in panels} == PANELS
    for panel in panels:
        assert panel["title"]
        if panel["type"] not in {"row", "alertlist"}:
            assert panel["description"].endswith(".")
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"]) > 0
            assert all(t["datasource"] == panel["datasource"] for t in panel["targets"])


def test_panels_lie_beside_each_other():
    places = [p["gridPos"] for p in dashboard()["panels"]]
    for one in places:
        assert one["x"] >= 0
        assert one["x"] + one["w"] <= 24
    for a, b in combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, (a, b)


@pytest.mark.slow
def test_verify_leaves_its_result_for_the_node_exporter(tmp_path, drfarm_on_path):
    from prometheus_client.parser import text_string_to_metric_families

    folder, store = tmp_path / "textfile", tmp_path / 'a "store"'
    folder.mkdir()
    script = [PROMETHEUS / "verify.sh", store, folder]

    def left():
        (file,) = folder.iterdir()
        assert file.suffix == ".prom"
        families = text_string_to_metric_families(file.read_text())
        return {s.name: (s.labels, s.value) for f in families for s in f.samples}

    missing = subprocess.run(script, env=drfarm_on_path, check=False, capture_output=True, text=True)
    assert missing.returncode == 2, missing.stderr
    assert set(left()) == verify_metrics()
    assert left()["drfarm_store_verify_exit_code"] == ({"store": str(store)}, 2)

    import store as stores

    stores.open_store(store, create=True)
    good = subprocess.run(script, env=drfarm_on_path, check=False, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    assert left()["drfarm_store_verify_exit_code"] == ({"store": str(store)}, 0)
    assert left()["drfarm_store_verify_timestamp_seconds"][1] > 1.7e9
    usage = subprocess.run([*script[:2], tmp_path / "no"], env=drfarm_on_path, check=False, capture_output=True)
    assert usage.returncode == 2
