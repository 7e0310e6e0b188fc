"""Files that are no study, questions without an answer, wrong command lines: the command says what to do.

It leaves with the right code, without a stack trace, and nothing half-written.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bad_input import check_nothing_is_half_written, check_nothing_was_started, check_words, text_file

from store import open_store

# Files that are no study

NO_STUDIES = {
    "no file": ("absent.yaml", None, ("absent.yaml can't be read", "No such file", "Give the path of a YAML file")),
    "a folder": (".", None, ("can't be read", "directory", "Give the path of a YAML file")),
    "no YAML": ("s.yaml", "study: [1, 2", ("s.yaml is not YAML: line 1, column 13", "Correct that line")),
    "no text": ("s.yaml", "\x00\x01", ("s.yaml is not YAML",)),
    "empty": ("s.yaml", "", ("s.yaml: expected keys such as study, models, datasets; got an empty file",)),
    "a list": ("s.yaml", "- study\n", ("s.yaml: expected keys such as study, models, datasets; got a list",)),
    "nothing that is needed": ("s.yaml", "study: s\n", ("models: this key is needed", "datasets: this key is needed")),
}


@pytest.mark.parametrize(("name", "text", "words"), NO_STUDIES.values(), ids=NO_STUDIES.keys())
def test_a_file_that_is_no_study(name, text, words, tmp_path, drfarm):
    if text is not None:
        text_file(name, text)(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for command in ("run", "plan", "status", "table"):
        done = drfarm(command, tmp_path / name)
        assert done.code == 2
        check_words(done.err, words)
    assert sorted(tmp_path.rglob("*")) == before


# Questions that can't be answered

QUERIES = {
    "a syntax error": ("SELEC 1", ("the query can't be answered", "SELEC", "syntax error")),
    "an unknown view": ("SELECT * FROM probe", ("probe", "does not exist", "probes")),
    "an unknown column": ("SELECT acuracy FROM probes", ("acuracy", "not found", "accuracy")),
    "only a comment": ("/* nothing */", ("the SQL is empty", "SELECT ... FROM probes")),
    "nothing": (" ", ("the SQL is empty", "SELECT ... FROM probes")),
    "writing a file": ("COPY (SELECT 1) TO '{folder}/written.csv'", ("one statement that only reads", "got COPY")),
    "reading a file": ("SELECT * FROM read_csv('{folder}/secret.csv')", ("can't be answered", "disabled")),
    "reading a file by its name": ("SELECT * FROM '{folder}/secret.csv'", ("can't be answered", "disabled")),
    "opening a data base": ("ATTACH '{folder}/written.db' AS w", ("one statement that only reads", "got ATTACH")),
    "unlocking": ("SET enable_external_access = true", ("one statement that only reads", "got SET")),
    "loading an extension": ("INSTALL httpfs", ("one statement that only reads", "got LOAD")),
    "changing results": ("DELETE FROM probes", ("got DELETE",)),
    "making a table": (
        "CREATE TABLE t AS SELECT 1",
        ("one statement that only reads", "got CREATE", "SELECT ... FROM probes"),
    ),
    "two statements": ("SELECT 1; COPY (SELECT 1) TO '{folder}/written.csv'", ("got 2 statements",)),
}


@pytest.mark.parametrize(("sql", "words"), QUERIES.values(), ids=QUERIES.keys())
def test_a_question_that_can_not_be_answered(sql, words, tmp_path, finished, drfarm):
    text_file("secret.csv", "a\n1\n")(tmp_path)
    done = drfarm("query", sql.format(folder=tmp_path), "--store", finished.store)
    assert done.code == 2
    check_words(done.err, words)
    assert done.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["secret.csv"]


def test_an_answer_that_can_not_be_written(tmp_path, finished, drfarm):
    for fmt in ("table", "csv", "json", "parquet"):
        done = drfarm("query", "SELECT 1 AS a", "--store", finished.store, "--format", fmt, "-o", tmp_path / "no/a")
        assert done.code == 2
        check_words(done.err, ("no/a can't be written", "No such file or directory", "another place with -o"))
    done = drfarm("query", "SELECT 1 AS a", "--store", finished.store, "--format", "parquet")
    assert done.code == 2
    check_words(done.err, ("parquet is not for the screen", "-o FILE"))
    done = drfarm("query", "SELECT 1 AS a", "--store", finished.store, "--format", "xml")
    assert done.code == 2
    check_words(done.err, ("--format", "'xml'", "'parquet'"))


@pytest.mark.parametrize(
    "command",
    [
        ("query", "SELECT 1"),
        ("table",),
        ("figure",),
        ("store", "ls"),
        ("store", "info"),
        ("store", "verify"),
        ("store", "compact"),
    ],
    ids=" ".join,
)
def test_a_store_that_is_not_there(command, tmp_path, drfarm):
    done = drfarm(*command, "--store", tmp_path / "absent")
    assert done.code == 2
    check_words(done.err, ("there is no store at", "absent", "Check the path, or `drfarm run` a study first"))
    assert list(tmp_path.iterdir()) == []


def test_tables_and_figures_that_can_not_be_made(tmp_path, finished, pets, study_in, drfarm):
    empty = open_store(tmp_path / "empty", create=True).url
    text_file("file", "text")(tmp_path)
    cases = [
        (("table", "--store", empty), ("has no results yet", "`drfarm run` a study first")),
        (("figure", "--store", empty), ("has no results yet", "`drfarm run` a study first")),
        (
            ("aggregate", study_in(pets), "--store", empty),
            ("has no results of study 'tiny' yet", "`drfarm run` it first"),
        ),
        (("aggregate", study_in(pets)), ("there is no store at", "`drfarm run` a study first")),
        (("table",), ("give a study file, or a store with --store",)),
        (("table", "--store", finished.store, "--delta", 1.5), ("deltas must lie in [0, 1], got 1.5",)),
        (("table", finished.file, "--delta", -1), ("deltas must lie in [0, 1], got -1",)),
        (("table", finished.file, "--rule", "strikt"), ("--rule", "'strikt'", "'strict', 'nearest', 'interpolated'")),
        (("table", finished.file, "-o", tmp_path / "no/t.md"), ("no/t.md can't be written", "another place with -o")),
        (("figure", finished.file, "-o", tmp_path / "file"), ("the folder", "can't be made", "another place with -o")),
        (("aggregate", finished.file, "-o", tmp_path / "file/x"), ("the folder", "can't be made", "-o")),
        (("demo", "--folder", tmp_path / "file/x"), ("the folder", "can't be made", "--folder")),
    ]
    for command, words in cases:
        done = drfarm(*command)
        assert done.code == 2, command
        check_words(done.err, words)
    check_nothing_is_half_written(tmp_path)


# Command lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nonsense",), ("Usage: drfarm", "No such command 'nonsense'", "drfarm -h")),
        (("run",), ("Usage: drfarm run", "Missing argument", "STUDY", "drfarm run -h")),
        (("query", "SELECT 1"), ("Missing option", "--store")),
        (("import", "nothing"), ("No such command 'nothing'",)),
        (("store", "ls", "x", "--store", "s"), ("unexpected extra argument",)),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line(words, expected, drfarm):
    done = drfarm(*words)
    assert done.code == 2
    check_words(done.err, expected)


@pytest.mark.parametrize("command", ["run", "probe"])
def test_probes_on_a_gpu_that_is_not_there(command, pets, study_in, drfarm):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = drfarm(command, study_in(pets), "--probe-device", "cuda")
    assert done.code == 2
    check_words(done.err, ("--probe-device cuda: torch sees no CUDA device here", "Leave the option out"))
    check_nothing_was_started(pets)
    done = drfarm(command, study_in(pets), "--probe-device", "gpu")
    assert done.code == 2
    check_words(done.err, ("--probe-device", "'gpu'", "'cpu', 'cuda'"))


# The whole way through processes of its own: what a shell sees


def shell(*words: object, cwd: Path, **environment: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("drfarm")), *map(str, words)]
    env = os.environ | {k: str(v) for k, v in environment.items()}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_a_shell_sees_the_same(tmp_path, pets, study_in):
    cases = [
        (("run", "absent.yaml"), ("the study file absent.yaml can't be read", "Give the path of a YAML file")),
        (("plan", study_in(pets, modles=[]).name), ("study.yaml: 1 fault", "Did you mean 'models'?")),
        (("store", "ls", "--store", "nowhere"), ("there is no store at", "nowhere")),
        (("rnu",), ("Usage: drfarm", "No such command 'rnu'")),
    ]
    for command, words in cases:
        done = shell(*command, cwd=pets)
        assert done.returncode == 2, command
        check_words(done.stderr, words)
        assert done.stdout == ""
    check_nothing_was_started(pets)


def test_weights_that_can_not_be_fetched(pets, study_in):
    """A machine without a network, and nothing in its cache."""
    study = study_in(pets, models=["timm:test_resnet.r160_in1k"])
    done = shell("run", study, "--quiet", cwd=pets, HF_HUB_OFFLINE=1, HF_HOME=pets / "cache")
    assert done.returncode == 2
    check_words(
        done.stderr,
        (
            "model 'test_resnet.r160_in1k': the hub's weights for timm:test_resnet.r160_in1k could not be had",
            "Check the network, or download the file elsewhere and give its path as `weights`",
        ),
    )
    check_nothing_was_started(pets)
