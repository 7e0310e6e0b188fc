"""Every command, on one tiny finished study: what it prints, what it writes, what it leaves alone, how it exits."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import drfarm as face
from drfarm import __main__
from store import open_store

N_PROBES = 2 * 3 * 2
"""Data sets, sizes, seeds."""
N_CKA = 96 * 2 + 3
"""Every size for two seeds, and one pair of seeds at three sizes; both data sets have the same test images."""


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what a changed, new or removed file would change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        s = path.stat()
        found[str(path.relative_to(folder))] = (s.st_size if path.is_file() else -1, s.st_mtime_ns)
    return found


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """The finished store, to do with as one likes."""
    return Path(shutil.copytree(finished.store, tmp_path / "store"))


NETWORKS = ("--batch-size", "--device", "--decode-workers", "--gpus", "--scheduler")
WATCHING = ("--dashboard-port", "--metrics-port", "--metrics-host", "--log-format", "--quiet")
COMMANDS = {
    ("run",): ("STUDY", "--store", "--out", "--workers", "--memory-limit", *NETWORKS, "--probe-device", *WATCHING),
    ("plan",): ("STUDY", "--store", "--scheduler"),
    ("extract",): ("STUDY", "--store", *NETWORKS, "--shard", *WATCHING),
    ("probe",): ("STUDY", "--store", "--workers", "--memory-limit", "--scheduler", *WATCHING),
    ("retry",): ("STUDY", "--store", "--what", *NETWORKS, *WATCHING),
    ("aggregate",): ("STUDY", "--store", "--out"),
    ("status",): ("STUDY", "--store", "--json"),
    ("query",): (
        "SQL",
        "--store",
        "--file",
        "--format",
        "--out",
        "--schema",
        "--examples",
        "Example: drfarm query",
    ),
    ("table",): ("STUDY", "--store", "--format", "--rule", "--delta", "--out"),
    ("figure",): ("STUDY", "--store", "--out"),
    ("compare",): ("A", "B", "--store"),
    ("fidelity",): ("STUDY", "--store", "--only", "--format", "--as", "--out"),
    ("report",): ("STUDY", "--store", "--out"),
    ("models",): ("--weights-folder",),
    ("datasets",): ("--root",),
    ("scheduler",): ("--host", "--port", "--tls", "--insecure", "--dashboard", "--log-format"),
    ("worker",): (
        "ADDRESS",
        "--gpu",
        "--workers",
        "--memory-limit",
        "--tls",
        "--insecure",
        "--patience",
        "--log-format",
    ),
    ("certs",): ("FOLDER", "--host"),
    ("demo",): ("--folder", "--quiet"),
    ("import",): ("archive", "results"),
    ("import", "archive"): ("FILE", "--store"),
    ("import", "results"): ("FILE.csv", "--store"),
    ("store",): ("ls", "info", "verify", "compact", "gc", "export"),
    ("store", "ls"): (
        "--store",
        "--model",
        "--layer",
        "--dataset",
        "--split",
        "--incomplete",
        "--gathered",
        "--format",
    ),
    ("store", "export"): ("--store", "--study", "--study-name", "--without-features", "--out"),
    ("store", "info"): ("--store",),
    ("store", "verify"): ("--store", "--discard"),
    ("store", "compact"): ("--store",),
    ("store", "gc"): ("--store", "--forget", "--yes"),
}


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_tells_what_a_command_takes(command, flag, drfarm):
    done = drfarm(*command, flag)
    assert (done.code, done.err) == (0, "")
    flat = " ".join(done.out.split())
    assert f"Usage: drfarm {' '.join(command)}" in flat
    assert [w for w in COMMANDS[command] if w not in flat] == []


def test_help_of_all_names_every_command(drfarm):
    done = drfarm("--help")
    assert done.code == 0
    listed = set(re.findall(r"^│ ([a-z]+) ", done.out, re.MULTILINE))
    assert listed == {c[0] for c in COMMANDS}
    assert "Exit codes: 0 done; 1 some jobs failed" in " ".join(done.out.split())


def test_without_a_word_it_shows_its_help(drfarm):
    for words in ((), ("import",), ("store",)):
        done = drfarm(*words)
        assert done.code == 2
        assert "Usage: drfarm" in done.text


def test_version(drfarm):
    assert drfarm("--version").out == f"drfarm {face.__version__}\n"


def test_run_shows_what_it_did(finished):
    """The fixture ran it."""
    err = finished.ran.err
    assert re.search(r"extract: .* images in .* s", err)
    assert re.search(rf"probe: {N_PROBES + N_CKA} of {N_PROBES + N_CKA} results in .* s", err)
    assert f"52 images went through a network and {N_PROBES + N_CKA} results were measured" in err
    for line in (r"resnet/penultimate +pets +accuracy +0\.8 ", r"resnet/penultimate +few +cka_pair +0\.9 "):
        assert re.search(line, finished.ran.out)
    reports = finished.store / "reports" / "tiny"
    assert sorted(p.name for p in reports.iterdir()) == sorted(
        [
            *(f"redundancy.{f}" for f in ("csv", "md", "tex")),
            *(f"{n}.{f}" for n in ("accuracy", "cka") for f in ("png", "pdf")),
            "report.html",
        ]
    )
    assert str(reports) in finished.ran.out


def test_a_data_set_with_the_same_test_images_has_rows_of_its_own(finished, drfarm):
    """Their CKA is one and the same result; their probes are not."""
    done = drfarm("table", finished.file, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert {(r["dataset"], r["measure"]) for r in rows} == {
        (d, m) for d in ("pets", "few") for m in ("accuracy", "cka", "cka_pair")
    }
    assert len({r["test_id"] for r in rows}) == 1
    assert len({r["train_id"] for r in rows if r["measure"] == "accuracy"}) == 2
    by = {(r["dataset"], r["measure"], r["delta"], r["rule"]): r["dr"] for r in rows}
    assert all(by["few", m, d, r] == by["pets", m, d, r] for _, m, d, r in by if m != "accuracy")


def test_a_rerun_of_a_finished_study_does_nothing(finished, drfarm):
    kinds = ("features", "ledger", "results", "descriptions")
    before = {k: state(finished.store / k) for k in kinds}
    done = drfarm("run", finished.file, "--workers", 1)
    assert done.code == 0
    assert re.search(r"^nothing was left to do \(\d+\.\d s\)\.$", done.err, re.MULTILINE)
    assert done.out == finished.ran.out
    assert {k: state(finished.store / k) for k in kinds} == before
    for stage in ("extract", "probe"):
        done = drfarm(stage, finished.file)
        assert (done.code, done.out) == (0, "")
        assert "nothing was left to do" in done.err
    assert drfarm("run", finished.file, "--quiet").err == ""


def test_plan_starts_nothing_and_writes_nothing(pets, study_in, finished, drfarm):
    study = study_in(pets)
    before, processes = state(pets), psutil.Process().children(recursive=True)
    done = drfarm("plan", study)
    assert (done.code, done.err) == (0, "")
    for line in (
        f"study tiny, store {pets / 'store'}",
        "extract  2 of 2 representations to make: 40 images to run, up to 15.0 KiB to store",
        "probe    6 of 6 probes to train",
        "cka      0 of 0 CKA values to compute",
    ):
        assert line in done.out.splitlines()
    assert re.search(
        r"^farm     1 tasks?, about .* on one core, at most 51\d\.\d MiB of memory", done.out, re.MULTILINE
    )
    assert (state(pets), psutil.Process().children(recursive=True)) == (before, processes)

    before = state(finished.store)
    done = drfarm("plan", finished.file)
    assert "nothing is left to do" in done.out
    assert f"probe    0 of {N_PROBES} probes to train" in done.out
    assert state(finished.store) == before


def test_status(pets, study_in, finished, drfarm):
    done = drfarm("status", finished.file)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "extract  4 of 4 representations done",
        f"probe    {N_PROBES} of {N_PROBES} probes done",
        f"cka      {2 * N_CKA} of {2 * N_CKA} CKA values done",
    ]
    done = drfarm("status", study_in(pets))
    assert done.code == 0
    assert done.out.splitlines() == ["extract  0 of 2 representations done", "probe    0 of 6 probes done"]
    assert not (pets / "store").exists()


def test_stage_by_stage(pets, study_in, drfarm, tmp_path):
    study = study_in(pets, measures=[{"measure": "accuracy"}, {"measure": "cka"}])
    done = drfarm("extract", study, "--batch-size", 7, "--device", "cpu")
    assert (done.code, done.out) == (0, "")
    assert "40 images went through a network" in done.err
    assert "extract  2 of 2" in drfarm("status", study).out
    done = drfarm("probe", study, "--workers", 1, "--memory-limit", "4GiB")
    assert (done.code, done.out) == (0, "")
    assert "0 images went through a network and 12 results were measured" in done.err
    done = drfarm("aggregate", study, "--out", tmp_path / "out")
    assert done.code == 0
    assert re.search(r"resnet/penultimate +pets +cka +0\.9 ", done.out)
    assert (tmp_path / "out" / "redundancy.md").read_text().startswith("| model/layer (width) |")
    assert not (pets / "store" / "reports").exists()


def test_query_in_every_format(finished, tmp_path, drfarm):
    sql = "SELECT dataset, seed, n_neurons, accuracy, class_accuracy, val_accuracy FROM probes ORDER BY ALL"

    def ask(*options):
        done = drfarm("query", sql, "--store", finished.store, *options)
        assert (done.code, done.err) == (0, "")
        return done.out

    rows = json.loads(ask("--format", "json"))
    assert len(rows) == N_PROBES
    assert {r["n_neurons"] for r in rows} == {1, 24, 96}
    assert all(len(r["class_accuracy"]) == 2 and r["val_accuracy"] is None for r in rows)

    header, *lines = csv.reader(io.StringIO(ask("--format", "csv")))
    assert header == list(rows[0])
    assert [(d, int(s), int(k), float(a), json.loads(c), v) for d, s, k, a, c, v in lines] == [
        (r["dataset"], r["seed"], r["n_neurons"], r["accuracy"], r["class_accuracy"], "") for r in rows
    ]

    text = ask().splitlines()
    assert ask("--format", "table").splitlines() == text
    assert text[0].split() == header
    assert text[1].split()[:3] == ["few", "1", "1"]
    assert text[-1] == f"({N_PROBES} rows)"

    assert ask("--format", "parquet", "-o", tmp_path / "a.parquet") == ""
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == rows
    for fmt in ("csv", "json", "table"):
        assert ask("--format", fmt, "-o", tmp_path / fmt) == ""
        assert (tmp_path / fmt).read_text() == ask("--format", fmt)


VIEWS = {
    "representations": (
        "model, layer, dataset, split, width, n_samples, n_views, dtype, bytes, complete, id, created_at"
    ),
    "probes": (
        "study, model, layer, dataset, solver, protocol, method, seed, n_neurons, width, fraction, accuracy, n_test, "
        "class_accuracy, predicted_count, val_accuracy, converged, elapsed_s, batch_id"
    ),
    "cka": "study, model, layer, dataset, kind, method, seed, seed_b, n_neurons, width, fraction, value, n_samples",
    "redundancy": (
        "model, layer, dataset, measure, solver, protocol, method, delta, rule, dr, n_neurons, width, "
        "bracket_low, bracket_high, ci_low, ci_high, n_seeds, censored"
    ),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("fmt", ["table", "csv", "json"])
def test_every_view_has_its_columns(view, fmt, finished, drfarm):
    """The names are a contract: other people's queries use them."""
    done = drfarm("query", f"SELECT {VIEWS[view]} FROM {view}", "--store", finished.store, "--format", fmt)
    assert done.code == 0
    assert len(done.out.splitlines()) > 3


def test_an_answer_without_rows(finished, drfarm):
    sql = "SELECT seed FROM probes WHERE seed > 99"
    for fmt, expected in (("table", "seed\n\n(0 rows)\n"), ("csv", "seed\n"), ("json", "[]\n")):
        done = drfarm("query", sql, "--store", finished.store, "--format", fmt)
        assert (done.code, re.sub(r"\n+", "\n", done.out)) == (0, re.sub(r"\n+", "\n", expected))


def test_table_in_every_format(finished, tmp_path, drfarm):
    md = drfarm("table", finished.file)
    assert (md.code, md.err) == (0, "")
    assert md.out.startswith("| model/layer (width) |")
    assert "| resnet/penultimate (96) |" in md.out
    assert drfarm("table", finished.file, "--format", "md").out == md.out
    assert (finished.store / "reports/tiny/redundancy.md").read_text() == md.out

    tex = drfarm("table", finished.file, "--format", "tex")
    assert tex.code == 0
    assert tex.out.startswith(r"\begin{tabular}")
    assert r"resnet/penultimate (96) &" in tex.out

    done = drfarm("table", finished.file, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert {float(r["delta"]) for r in rows} == {0.8, 0.9}
    assert {r["rule"] for r in rows} == {"strict", "nearest", "interpolated"}
    assert len(rows) == 2 * 3 * 2 * 3  # data sets, measures, deltas, rules

    for fmt, text in (("md", md.out), ("tex", tex.out), ("csv", done.out)):
        file = tmp_path / f"t.{fmt}"
        written = drfarm("table", finished.file, "--format", fmt, "-o", file)
        assert (written.code, written.out) == (0, f"{file}\n")
        assert file.read_text() == text


def test_table_for_a_rule_and_thresholds(finished, drfarm):
    done = drfarm("table", finished.file, "--rule", "nearest", "--delta", 0.5, "--delta", 0.7)
    assert done.code == 0
    assert "δ = 0.5" in done.out
    assert "δ = 0.7" in done.out
    assert "δ = 0.9" not in done.out
    assert "DR (nearest)" in done.out
    done = drfarm("table", "--store", finished.store, "--delta", 0.5, "--format", "csv")
    assert {float(r["delta"]) for r in csv.DictReader(io.StringIO(done.out))} == {0.5}
    done = drfarm("table", "--store", finished.store, "--rule", "interpolated")
    assert "δ = 0.95" in done.out


def test_figure(finished, tmp_path, drfarm):
    for options in ((finished.file,), ("--store", finished.store)):
        folder = tmp_path / str(len(options))
        done = drfarm("figure", *options, "-o", folder)
        assert (done.code, done.err) == (0, "")
        files = [Path(line) for line in done.out.splitlines()]
        assert [f.name for f in files] == ["accuracy.png", "accuracy.pdf", "cka.png", "cka.pdf"]
        for file in files:
            if file.suffix == ".png":
                with Image.open(file) as image:
                    assert min(image.size) > 300
            else:
                assert file.read_bytes().startswith(b"%PDF-")


def test_store_ls_and_info(finished, tmp_path, drfarm):
    done = drfarm("store", "ls", "--store", finished.store)
    assert (done.code, done.err) == (0, "")
    header, *lines, total = done.out.splitlines()
    assert total.startswith("(3 representations, all complete, 1 model, 2 data sets, ")
    names = ["model", "layer", "dataset", "split", "view x sample x neuron", "dtype", "stored", "state", "id"]
    assert re.split("  +", header) == names
    assert [re.split("  +", line)[:7] for line in lines] == [
        ["resnet", "penultimate", d, s, f"1 x {n} x 96", "float32", stored]
        for (d, s, n), stored in zip(
            [("few", "train", 12), ("pets", "test", 16), ("pets", "train", 24)],
            [re.split("  +", line)[6] for line in lines],
            strict=True,
        )
    ]
    assert all(" complete " in line for line in lines)

    done = drfarm("store", "info", "--store", finished.store)
    assert done.code == 0
    assert f"store {finished.store}" in done.out
    assert "3 complete representations, 0 begun" in done.out
    assert f"{N_PROBES} probes" in done.out
    assert f"{N_CKA} CKA values" in done.out
    assert "studies: tiny" in done.out

    empty = open_store(tmp_path / "empty", create=True).url
    assert drfarm("store", "ls", "--store", empty).out == "there are no representations.\n"
    assert "0 complete representations" in drfarm("store", "info", "--store", empty).out
    assert drfarm("store", "verify", "--store", empty).code == 0


def test_store_verify_finds_what_is_bad_and_a_rerun_mends_it(finished, copied, drfarm):
    done = drfarm("store", "verify", "--store", copied)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"\d+ objects were read again, 0 are bad\.\n", done.out)

    (chunk,) = copied.glob("features/resnet/few/train/penultimate/*/activations/c/0/0/0")
    chunk.write_bytes(b"bad" + chunk.read_bytes()[3:])
    done = drfarm("store", "verify", "--store", copied)
    assert done.code == 1
    assert "bad chunk: features/resnet/few/train" in done.out
    assert "1 are bad" in done.out
    assert "Forget them with --discard" in done.out

    done = drfarm("store", "verify", "--store", copied, "--discard")
    assert done.code == 1
    assert "They are forgotten: run the study again" in done.out
    assert "extract  3 of 4 representations done" in drfarm("status", finished.file, "--store", copied).out
    done = drfarm("run", finished.file, "--store", copied, "--workers", 1)
    assert done.code == 0
    assert "12 images went through a network and 0 results were measured" in done.err
    assert drfarm("store", "verify", "--store", copied).code == 0


def test_store_compact_changes_no_answer(finished, copied, drfarm):
    questions = [f"SELECT * FROM {v} ORDER BY ALL" for v in ("probes", "cka", "redundancy")]
    before = [drfarm("query", q, "--store", copied, "--format", "csv").out for q in questions]
    done = drfarm("store", "compact", "--store", copied)
    assert (done.code, done.err) == (0, "")
    assert done.out == "probes: 2 files were merged.\ncka: 0 files were merged.\n"
    assert [drfarm("query", q, "--store", copied, "--format", "csv").out for q in questions] == before
    assert "nothing is left to do" in drfarm("plan", finished.file, "--store", copied).out
    assert (
        drfarm("store", "compact", "--store", copied).out == "probes: 0 files were merged.\ncka: 0 files were merged.\n"
    )


def test_results_of_others_stand_beside_our_own(finished, copied, tmp_path, drfarm):
    file = tmp_path / "r.csv"
    rows = [f"theirs,penultimate,pets,sgd,random,{s},{k},10,{k / 10}" for s in (1, 2) for k in (1, 9, 10)]
    file.write_text("model,layer,dataset,solver,method,seed,n_neurons,width,accuracy\n" + "\n".join(rows) + "\n")
    assert drfarm("import", "results", file, "--store", copied).out == f"6 new results of {file} are in {copied}.\n"
    done = drfarm("table", "--store", copied, "--delta", 0.9)
    assert done.code == 0
    assert "| theirs/penultimate (10) |" in done.out
    assert "| resnet/penultimate (96) |" in done.out
    assert "theirs" not in drfarm("table", finished.file, "--store", copied).out
    assert "nothing is left to do" in drfarm("plan", finished.file, "--store", copied).out


def test_another_study_shares_finished_work(finished, tmp_path, drfarm):
    """The same measurements under other names are done already."""
    text = finished.file.read_text().replace("study: tiny", "study: other").replace("name: resnet", "name: net")
    assert text.count("other") == text.count("name: net") == 1
    study = finished.file.with_name("other.yaml")
    study.write_text(text)
    done = drfarm("plan", study)
    assert "nothing is left to do" in done.out
    done = drfarm("table", study)
    assert "| net/penultimate (96) |" in done.out
    assert "resnet/" not in done.out


def test_an_interrupt_while_libraries_load_is_no_traceback(monkeypatch, capsys):
    """The import itself is interrupted."""

    class Interrupts:
        def find_spec(self, name, path=None, target=None):
            if name == "drfarm.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "drfarm.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    with pytest.raises(SystemExit) as left:
        __main__.main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "interrupted; nothing had started\n"


def test_every_public_name_is_importable_and_others_are_refused():
    assert all(getattr(face, name) is not None for name in face.__all__)
    assert set(face.__all__) == set(dir(face))
    with pytest.raises(AttributeError, match="redundency"):
        face.redundency  # noqa: B018


def test_an_interrupt_leaves_with_130_and_says_what_to_do(pets, study_in):
    """A real process, interrupted while it works."""
    import signal
    import time

    study = study_in(pets, subsets={"grid": "paper", "seeds": 5}, datasets=[{"name": "d", "source": "sklearn:digits"}])
    command = Path(sys.executable).with_name("drfarm")
    process = subprocess.Popen(
        [command, "run", study, "--workers", "1"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (pets / "store/studies/tiny.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: what is finished is kept; run the same command again to go on." in err
    assert "Traceback" not in err
    assert out == ""


def test_a_reader_that_stops_early_is_no_error(finished):
    """As in ``drfarm query ... | head -1``."""
    command = Path(sys.executable).with_name("drfarm")
    line = f"{command} query 'SELECT * FROM cka, probes' --store {finished.store} --format csv | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.startswith("study,model,layer")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "drfarm", "--version"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"drfarm {face.__version__}\n")


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_probes_can_be_fitted_on_a_gpu(pets, study_in, drfarm):
    measures = [{"measure": "accuracy"}, *({"measure": "accuracy", "solver": s} for s in ("ridge", "logistic"))]
    done = drfarm("run", study_in(pets, measures=measures), "--probe-device", "cuda", "--workers", 1)
    assert done.code == 0, done.text
    assert "18 results were measured" in done.err
