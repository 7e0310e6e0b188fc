"""Asking a store: forms of answers, where the SQL comes from, what is refused, and where messages point."""

import csv
import io
import json
import math
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_input import check_words

from drfarm import open_store
from drfarm._show_answer import answer_bytes, answer_table
from drfarm.questions import QUESTIONS
from drfarm.view_columns import SCHEMA_OF, VIEWS, schema_markdown, view_schema
from store import open_store as open_plain_store

DOCS = Path(__file__).parents[2] / "docs"

MIXED = """
SELECT 'a,"b"' AS text, 1.5::DOUBLE AS number, 'nan'::DOUBLE AS undefined, 'inf'::DOUBLE AS endless, NULL AS nothing,
       true AS yes, [0.5, NULL, 'nan'::DOUBLE] AS list, {'k': 1, 'l': [2]} AS struct, sum(1) AS total,
       12.50::DECIMAL(4, 2) AS money, DATE '2026-01-02' AS day, TIMESTAMPTZ '2026-01-02 03:04:05+00' AS moment,
       INTERVAL 3 DAY AS span, 'ab'::BLOB AS bytes, 1 AS twice, 2 AS twice
"""


def test_json_is_json_whatever_the_values(finished, drfarm):
    done = drfarm("query", MIXED, "--store", finished.store, "--format", "json")
    assert (done.code, done.err) == (0, "")
    (row,) = json.loads(done.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert row == {
        "text": 'a,"b"',
        "number": 1.5,
        "undefined": None,
        "endless": None,
        "nothing": None,
        "yes": True,
        "list": [0.5, None, None],
        "struct": {"k": 1, "l": [2]},
        "total": 1,
        "money": 12.5,
        "day": "2026-01-02",
        "moment": "2026-01-02T03:04:05+00:00",
        "span": "P0M3DT0S",
        "bytes": "6162",
        "twice": 1,
        "twice_1": 2,
    }


def test_csv_carries_every_value(finished, drfarm):
    done = drfarm("query", MIXED, "--store", finished.store, "--format", "csv")
    header, row = csv.reader(io.StringIO(done.out))
    found = dict(zip(header, row, strict=True))
    assert len(found) == 16
    assert (found["text"], found["nothing"], found["yes"], found["twice_1"]) == ('a,"b"', "", "true", "2")
    assert math.isnan(float(found["undefined"]))
    assert math.isinf(float(found["endless"]))
    assert json.loads(found["list"]) == [0.5, None, None]
    assert json.loads(found["struct"]) == {"k": 1, "l": [2]}


def test_parquet_keeps_types(finished, tmp_path, drfarm):
    file = tmp_path / "a.parquet"
    sql = "SELECT model, sum(n_neurons) AS n, avg(accuracy) AS a, list(seed) AS seeds FROM probes GROUP BY model"
    assert drfarm("query", sql, "--store", finished.store, "-o", file).code == 0  # its name says the format
    table = pq.read_table(file)
    assert [str(t) for t in table.schema.types] == ["string", "int64", "double", "list<element: int64>"]
    (row,) = table.to_pylist()
    assert row["n"] == 2 * 2 * (1 + 24 + 96)

    done = drfarm("query", "SELECT INTERVAL 1 DAY AS span", "--store", finished.store, "-o", file)
    assert done.code == 2
    check_words(done.err, ("Parquet can't hold the column span", "span::VARCHAR"))
    assert pq.read_table(file).num_rows == 1


def test_the_file_says_the_format_unless_it_is_asked_for(finished, tmp_path, drfarm):
    for name, start in (("a.csv", "a\n1"), ("a.json", "[\n"), ("a.txt", "a\n1\n(1 row)")):
        assert drfarm("query", "SELECT 1 AS a", "--store", finished.store, "-o", tmp_path / name).code == 0
        assert (tmp_path / name).read_text().startswith(start)
    drfarm("query", "SELECT 1 AS a", "--store", finished.store, "-o", tmp_path / "b.csv", "--format", "json")
    assert (tmp_path / "b.csv").read_text().startswith("[")


def test_a_table_fits_a_narrow_terminal_and_says_what_it_leaves_out():
    long = "x" * 60
    digest = "0123456789abcdef" * 4
    table = pa.table({"model": [long, "m"], "id": [digest, digest], "k": [1, 1000], "accuracy": [0.5, None]})
    whole = answer_table(table).splitlines()
    assert long in whole[1]
    assert digest in whole[2]
    assert whole[1].endswith("     1       0.5")
    assert whole[-1] == "(2 rows)"
    narrow = answer_table(table, width=60).splitlines()
    assert max(map(len, narrow[:-1])) <= 60
    assert "0123456789ab…" in narrow[1]
    assert narrow[0].split() == ["model", "id", "k", "accuracy"]
    tiny = answer_table(table, width=30).splitlines()
    assert max(map(len, tiny[:-1])) <= 30
    assert tiny[-1].startswith("(2 rows; 3 of 4 columns do not fit: id, k, accuracy.")


def test_a_name_can_not_steer_a_terminal_or_break_a_line():
    text = answer_table(pa.table({"model": ["\x1b[31mred\nnext", "日本"], "k": [1, 2]}))
    lines = text.splitlines()
    assert len(lines) == 4
    assert "\x1b" not in text
    assert r"\x1b[31mred\nnext" in lines[1]
    assert len(answer_bytes(pa.table({"a": pa.array([], pa.int64())}), "table").decode().splitlines()) == 2


def test_sql_from_a_file_and_from_a_pipe(finished, tmp_path, drfarm, monkeypatch):
    file = tmp_path / "q.sql"
    file.write_text("-- how many\nSELECT count(*) AS n\nFROM probes;\n")
    expected = "n\n12\n"
    store = ("--store", finished.store, "--format", "csv")
    assert drfarm("query", "-f", file, *store).out == expected
    for words in (("-",), ("-f", "-")):
        monkeypatch.setattr("sys.stdin", io.StringIO(file.read_text()))
        assert drfarm("query", *words, *store).out == expected
    cases = [
        (("-f", tmp_path / "no.sql"), ("no.sql can't be read", "No such file", "text file with SQL")),
        (("SELECT 1", "-f", file), ("give the SQL, or a file of it",)),
        ((), ("give the SQL, or a file of it", "--examples", "--schema")),
    ]
    for words, expected_words in cases:
        done = drfarm("query", *words, *store)
        assert done.code == 2
        check_words(done.err, expected_words)


# What can be asked for


def test_every_column_of_every_view_has_a_meaning(finished):
    opened = open_store(finished.store)
    assert [v.name for v in VIEWS] == list(SCHEMA_OF)
    for view in VIEWS:
        told = opened.query(f"DESCRIBE {view.name}").to_pylist()
        types = {r["column"]: r["type"] for r in view_schema().to_pylist() if r["view"] == view.name}
        found = {r["column_name"]: r["column_type"].replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") for r in told}
        assert types == found
        assert all(len(meaning) > 5 for meaning in view.columns.values())


def test_the_schema_is_shown_and_is_that_of_the_documentation(drfarm):
    text = drfarm("query", "--schema").out
    assert all(f"{v.name}: {v.meaning}" in text for v in VIEWS)
    rows = json.loads(drfarm("query", "--schema", "--format", "json").out)
    assert rows == view_schema().to_pylist()
    assert schema_markdown() in (DOCS / "query.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.asks[:40])
def test_every_example_has_an_answer(question, finished):
    table = open_store(finished.store).query(question.sql)
    assert table.num_columns >= 3
    if "failed" not in question.asks and "not converge" not in question.asks and "several" not in question.asks:
        assert table.num_rows > 0


def test_examples_are_shown_and_documented(drfarm, finished, tmp_path):
    text = drfarm("query", "--examples").out
    documented = (DOCS / "query.md").read_text(encoding="utf-8")
    for i, question in enumerate(QUESTIONS, 1):
        assert f"-- {i}. {question.asks}\n{question.sql};" in text
        assert question.sql in documented
    assert len(json.loads(drfarm("query", "--examples", "--format", "json").out)) == len(QUESTIONS)
    assert drfarm("query", "--examples", "--schema").code == 2


def test_an_example_says_what_a_plain_loop_says(finished):
    opened = open_store(finished.store)
    (question,) = [q for q in QUESTIONS if "a tenth" in q.asks]
    curves: dict[tuple, dict[int, list[float]]] = {}
    for r in opened.probes().arrow().to_pylist():
        curves.setdefault((r["dataset"], r["train_id"]), {}).setdefault(r["n_neurons"], []).append(r["accuracy"])
    expected = {}
    for (dataset, _), curve in curves.items():
        mean = {k: sum(v) / len(v) for k, v in curve.items()}
        expected[dataset] = mean[max(k for k in mean if k <= 9.6)] / mean[96]
    got = {r["dataset"]: r["share"] for r in opened.query(question.sql).to_pylist()}
    assert got == pytest.approx(expected)
    assert len(got) == 2


def test_failures_and_timings_are_views(finished, tmp_path):
    opened = open_store(finished.store)
    rows = opened.query("SELECT kind, sum(n_jobs) AS n FROM timings GROUP BY kind ORDER BY kind").to_pylist()
    assert rows == [{"kind": "cka", "n": 195}, {"kind": "probes", "n": 12}]
    store = open_plain_store(tmp_path / "s", create=True)
    store.results.record_failure("b", {"study": "s", "what": "probe x", "error": "boom", "at": "2026-01-02T03:04:05"})
    (row,) = open_store(store.url).query("SELECT * FROM failures").to_pylist()
    assert (row["what"], row["error"], row["attempts"], row["failed_at"].year) == ("probe x", "boom", None, 2026)


# What is refused

NOT_A_QUESTION = (
    "COPY probes TO '{out}'",
    "COPY (SELECT 1) TO '{out}' (FORMAT parquet)",
    "COPY probes FROM '{secret}'",
    "EXPORT DATABASE '{out}'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{out}' AS w",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD '{secret}'",
    "SET enable_external_access = true",
    "SET temp_directory = '{out}'",
    "SET memory_limit = '1MB'",
    "RESET temp_directory",
    "SET VARIABLE x = 1",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CHECKPOINT",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TABLE t AS SELECT * FROM read_csv('{secret}')",
    "CREATE MACRO f(x) AS x",
    "CREATE SECRET s (TYPE s3)",
    "INSERT INTO probes VALUES (1)",
    "UPDATE probes SET accuracy = 1",
    "DELETE FROM probes",
    "DROP VIEW probes",
    "ALTER VIEW probes RENAME TO p",
    "PREPARE p AS SELECT 1",
    "BEGIN TRANSACTION",
    "VACUUM",
    "SELECT 1; COPY (SELECT 1) TO '{out}'",
)
NOT_TO_BE_REACHED = (
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM 'https://example.org/x.csv'",
    "SELECT * FROM query('FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table('{secret}')",
    "SELECT (SELECT content FROM read_text('{secret}')) FROM probes",
    "SELECT * FROM enable_logging(storage = 'file', storage_config = {{'path': '{out}'}})",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "SELECT getenv('HOME')",
    "SELECT getvariable('HOME') + missing",
    "SELECT * FROM which_secret('s3://x', 's3')",
)


@pytest.mark.parametrize("sql", NOT_A_QUESTION)
def test_what_is_not_a_question_is_refused(sql, finished, tmp_path, drfarm, monkeypatch):
    done = _ask(sql, finished, tmp_path, drfarm, monkeypatch)
    check_words(done.err, ("a query is one statement that only reads", "got "))


@pytest.mark.parametrize("sql", NOT_TO_BE_REACHED)
def test_what_is_no_view_can_not_be_reached(sql, finished, tmp_path, drfarm, monkeypatch):
    done = _ask(sql, finished, tmp_path, drfarm, monkeypatch)
    check_words(done.err, ("the query can't be answered",))
    told = re.search(r"files, the network and settings are shut off|does not exist|not found", done.err)
    assert told, done.err


def _ask(sql, finished, tmp_path, drfarm, monkeypatch):
    """Ask where a secret lies and the caller stands; nothing may come of it."""
    (tmp_path / "secret.csv").write_text("key\nhunter2\n")
    monkeypatch.chdir(tmp_path)
    names = {"folder": tmp_path, "secret": tmp_path / "secret.csv", "out": tmp_path / "out"}
    done = drfarm("query", sql.format(**names), "--store", finished.store)
    assert (done.code, done.out) == (2, "")
    assert "hunter2" not in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["secret.csv"]
    return done


def test_what_does_not_fit_in_memory_is_an_error_and_no_file(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    con = open_plain_store(finished.store).connect()
    assert con.sql("SELECT current_setting('temp_directory')").fetchall() == [("",)]
    assert con.sql("SELECT count(*) FROM duckdb_temporary_files()").fetchall() == [(0,)]
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "SELECT acuracy\nFROM probes": (
        "acuracy",
        'Candidate bindings: "accuracy"',
        "--schema",
        "LINE 1",
        "       ^^^^^^^",
    ),
    "SELECT model,\n  avg(accurcy)\nFROM probes GROUP BY model": ("accurcy", "LINE 2:   avg(accurcy)", "^^^^^^^"),
    "SELECT * FROM redundency": ('Did you mean "redundancy"?', "representations, probes, cka", "LINE 1", "^^^^^^"),
    "SELECT * FROM timing": ('Did you mean "timings"?', "^^^^^^"),
    "SELECT p.acc FROM probes p": ("acc", "LINE 1: SELECT p.acc FROM probes p", "^^^^^"),
    "SELEC 1": ("syntax error", "LINE 1: SELEC 1", "^^^^^"),
    "SELECT sun(accuracy) FROM probes": ('Did you mean "sum"?', "LINE 1", "^^^"),
    "SELECT model::INT FROM probes": ("Could not convert", "resnet"),
}


@pytest.mark.parametrize(("sql", "words"), WRONG.items(), ids=WRONG)
def test_a_message_points_at_what_is_wrong(sql, words, finished, drfarm):
    done = drfarm("query", sql, "--store", finished.store)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("drfarm: the query can't be answered: ")
    for word in words:
        assert word in done.err, word
    lines = done.err.splitlines()
    marked = next((i for i, line in enumerate(lines) if line.strip().startswith("^")), None)
    if "LINE 1" in words:
        column = lines[marked].index("^") - len("LINE 1: ")
        assert sql.splitlines()[0][column:].startswith(words[0] if sql.startswith("SELECT acu") else "")


# Stores without results


@pytest.fixture
def nothing(tmp_path):
    return open_plain_store(tmp_path / "nothing", create=True).url


@pytest.fixture
def only_failures(tmp_path):
    store = open_plain_store(tmp_path / "failed", create=True)
    for i in range(2):
        record = {"study": "s", "stage": "probe", "what": f"probe {i}", "error": "no memory.\nmore", "attempts": 3}
        store.results.record_failure(f"b{i}", record)
    return store.url


FAILED = ("has no results yet: 2 jobs failed, the first probe 0: no memory. `drfarm query", "`drfarm retry STUDY`")


def test_an_empty_store_says_so(nothing, drfarm):
    _check_empty(nothing, ("has no results yet: `drfarm run` a study first",), drfarm)


def test_a_store_with_only_failures_says_what_failed(only_failures, drfarm):
    _check_empty(only_failures, FAILED, drfarm)
    done = drfarm("query", "SELECT what FROM failures ORDER BY what", "--store", only_failures, "--format", "csv")
    assert (done.code, done.out, done.err) == (0, "what\nprobe 0\nprobe 1\n", "")


def _check_empty(url, words, drfarm):
    for view in ("probes", "cka", "redundancy"):
        done = drfarm("query", f"SELECT model FROM {view}", "--store", url, "--format", "csv")
        assert (done.code, done.out) == (0, "model\n")
        check_words(done.err, ("drfarm: note: ", *words))
    for command in ("table", "figure"):
        done = drfarm(command, "--store", url)
        assert done.code == 2
        check_words(done.err, words)
    done = drfarm("store", "ls", "--store", url)
    assert (done.code, done.out) == (0, "there are no representations.\n")
    check_words(done.err, words)
    assert drfarm("store", "export", "--store", url, "-o", Path(url).parent / "a.tar").code == 2
