"""Findings say what the numbers say: against plain loops over the same rows, and never more than was measured."""

import re

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from aggregate import redundancy
from aggregate.report import Failure, ReportInput, content
from aggregate.report._findings import findings
from aggregate.report._kept import kept_at

SIZES = (1, 10, 20, 50, 80, 100)


def report(probes=None, cka=None, deltas=(0.8, 0.9), **other):
    return ReportInput(
        title="t", probes=probes, cka=cka, redundancy=redundancy(probes, cka, deltas=list(deltas)), **other
    )


def texts(given, about=None):
    return [f.text for f in findings(given) if about in (None, f.about)]


@pytest.fixture
def curve(make):
    rng = np.random.default_rng(0)

    def of(model, scale, seeds=5, **other):
        values = {k: list(0.9 * (1 - np.exp(-k / scale)) + rng.normal(0, 0.002, seeds)) for k in SIZES}
        return make.curve(values, model=model, **other)

    return of


def test_kept_is_the_ratio_of_means_with_a_paired_t_interval(make):
    whole, half = [0.90, 0.92, 0.88, 0.91], [0.80, 0.85, 0.79, 0.82]
    (got,) = kept_at(make.curve({50: half, 100: whole}), 0.5, measure="accuracy")
    ratio = np.mean(half) / np.mean(whole)
    z = np.array(half) - ratio * np.array(whole)
    width = stats.t.interval(0.95, 3, loc=0, scale=stats.sem(z))[1] / np.mean(whole)
    assert (got.n_neurons, got.n_seeds) == (50, 4)
    assert got.ratio == pytest.approx(ratio, rel=1e-12)
    assert (got.low, got.high) == pytest.approx((ratio - width, ratio + width), rel=1e-9)
    assert got.low < got.ratio < got.high


def test_a_size_that_is_not_near_the_fraction_does_not_stand_for_it(make):
    assert kept_at(make.curve({20: [0.5], 100: [0.9]}), 0.5, measure="accuracy") == []
    assert len(kept_at(make.curve({48: [0.5], 100: [0.9]}), 0.5, measure="accuracy")) == 1


def test_the_main_finding_is_about_half_of_the_neurons(curve):
    tables = [curve("fast", 5), curve("slow", 60)]
    (main,) = texts(report(pa.concat_tables(tables)), "main")
    means = [np.mean([r["accuracy"] for r in t.to_pylist() if r["n_neurons"] == 50]) for t in tables]
    wholes = [np.mean([r["accuracy"] for r in t.to_pylist() if r["n_neurons"] == 100]) for t in tables]
    kept = [m / w for m, w in zip(means, wholes, strict=True)]
    assert main.startswith(f"A random half of the neurons keeps {100 * np.mean(kept):.1f} %")
    assert "the median of 2 curves" in main
    assert re.search(rf"from {100 * kept[1]:.1f} % \([\d.]+–[\d.]+\) for slow / l on c to {100 * kept[0]:.1f} %", main)


def test_the_least_and_most_redundant_are_those_of_the_table(curve):
    given = report(pa.concat_tables([curve("fast", 5), curve("slow", 60)]))
    (text,) = texts(given, "redundancy")
    rows = {r["model"]: r for r in given.redundancy.to_pylist() if r["rule"] == "strict" and r["delta"] == 0.9}
    assert rows["slow"]["dr"] < rows["fast"]["dr"]
    for model in ("slow", "fast"):
        row = rows[model]
        assert f"{row['dr']:.2f} ({row['ci_low']:.2f}–{row['ci_high']:.2f}) for {model} / l on c" in text
    assert text.index("for slow") < text.index("for fast")
    assert text.startswith("At δ = 0.9, by Eq. 1 on accuracy (random, sgd, paper)")
    assert "do not overlap" in text


def test_one_seed_has_no_interval_and_a_caution(curve):
    given = report(curve("m", 20, seeds=1))
    assert "one seed" in texts(given, "main")[0] or "no interval" in texts(given, "main")[0]
    assert any("fewer than 3 seeds" in text for text in texts(given, "caution"))
    assert not any("Intervals are 95 %" in text for text in texts(given))


def test_curves_that_never_reach_the_threshold_are_counted(make):
    cka = make.cka([make.similarity(k, v, s) for k, v in ((10, 0.2), (50, 0.6)) for s in (1, 2, 3)])
    (text,) = [text for text in texts(report(cka=cka)) if "threshold" in text]
    assert "no curve reaches the threshold" in text


def test_another_method_is_compared_on_shared_curves_only(make):
    tables = [
        make.curve({20: [0.5, 0.51, 0.49], 100: [0.9, 0.9, 0.9]}),
        make.curve({20: [0.8, 0.81, 0.79]}, method="pca"),
        make.curve({20: [0.1, 0.1, 0.1]}, method="pca", model="other"),
    ]
    (text,) = texts(report(pa.concat_tables(tables)), "methods")
    assert "pca is more accurate than random in 1 of 1 curves" in text
    assert "+0.300" in text
    assert "in 1 of them the intervals over seeds are apart" in text


def test_protocols_are_kept_apart_and_only_one_is_spoken_of(curve):
    tables = [curve("a", 20), curve("b", 20), curve("a", 5, solver="ridge", protocol="closed")]
    given = report(pa.concat_tables(tables))
    assert "the median of 2 curves" in texts(given, "main")[0]
    assert any("Probes of 2 protocols" in text for text in texts(given, "caution"))


def test_several_representations_of_one_name_are_said(curve):
    given = report(pa.concat_tables([curve("a", 20), curve("a", 30, test_id="c" * 64)]))
    assert any("stand for several representations" in text for text in texts(given, "caution"))


@pytest.mark.parametrize("failures", [(), (Failure(what="w", error="e", n_jobs=7),)])
def test_nothing_measured_says_so_and_nothing_else(make, failures):
    given = report(make.probes([]), make.cka([]), failures=failures)
    (section,) = content(given)
    (finding,) = section.parts[0].findings
    assert finding.text.startswith("Nothing has been measured yet.")
    assert ("7 results failed" in finding.text) == bool(failures)
