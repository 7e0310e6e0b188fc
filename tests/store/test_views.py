import duckdb
import pytest

from store.testing import make_cka_row, make_probe_row

# As the contract has them (DESIGN.md, section 4); more may follow.
COLUMNS = {
    "representations": "model layer dataset split width n_samples n_views dtype bytes complete id created_at",
    "probes": "study model layer dataset solver protocol method seed n_neurons width fraction accuracy n_test "
    "class_accuracy predicted_count val_accuracy converged elapsed_s batch_id",
    "cka": "study model layer dataset kind method seed seed_b n_neurons width fraction value n_samples",
}


@pytest.mark.parametrize("view", COLUMNS)
def test_columns_are_those_of_the_contract_in_order(store, view):
    expected = COLUMNS[view].split()
    got = store.connect().sql(f"SELECT * FROM {view}").columns
    assert got[: len(expected)] == expected
    assert len(set(got)) == len(got)


def test_rows_come_through(store, write_features):
    writer, *_ = write_features(store, n_views=2, dtype="float16")
    store.results.write("probes", "b", [make_probe_row("b", "j")])
    store.results.write("cka", "b", [make_cka_row("b", "k", value=None)])
    con = store.connect()
    assert con.sql("SELECT * FROM probes").fetchall() == [tuple(make_probe_row("b", "j").values())]
    assert con.sql("SELECT * FROM cka").fetchall() == [tuple(make_cka_row("b", "k", value=None).values())]
    (row,) = con.sql("SELECT * FROM representations").to_arrow_table().to_pylist()
    stored = store.features.open(writer.id).stored_bytes
    created_at = store.features.info(writer.id).created_at
    values = ("tiny", "penultimate", "digits", "train", 3, 7, 2, "float16", stored, True, writer.id, created_at)
    assert tuple(row.values()) == (*values, 3, False)


def test_doubled_jobs_are_shown_once(store):
    # Two studies that ran at once, with other batches of the same jobs.
    store.results.write("probes", "b", [make_probe_row("b", f"j{i}", study="b") for i in range(3)])
    store.results.write("probes", "a", [make_probe_row("a", f"j{i}", study="a") for i in range(1, 4)])
    for _ in range(2):
        rows = store.connect().sql("SELECT job_id, study FROM probes ORDER BY job_id").fetchall()
        assert rows == [("j0", "b"), ("j1", "a"), ("j2", "a"), ("j3", "a")]
        store.results.compact("probes")


def test_a_connection_is_of_one_moment(store):
    # Queries read lazily: a compaction or a new batch after connect() must neither break nor change it.
    for b in range(3):
        store.results.write("probes", f"b{b}", [make_probe_row(f"b{b}", f"j{b}")])
    con = store.connect()
    store.results.compact("probes")
    store.results.write("probes", "new", [make_probe_row("new", "new")])
    for _ in range(2):
        assert con.sql("SELECT count(*), sum(accuracy) FROM probes").fetchall() == [(3, 2.25)]
    assert store.connect().sql("SELECT count(*) FROM probes").fetchall() == [(4,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM glob('/*')",
        "COPY probes TO '{out}'",
        "COPY (SELECT 1) TO '{out}' (FORMAT parquet)",
        "EXPORT DATABASE '{out}'",
        "ATTACH '{out}' AS other",
        "ATTACH ':memory:' AS other; COPY probes TO '{out}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{file}'",
        "IMPORT DATABASE '{out}'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET python_enable_replacements = true",
        "PRAGMA enable_profiling; SET profiling_output = '{out}'",
        "PRAGMA profiling_output = '{out}'",
        "SET temp_directory = '{out}'",
        "RESET lock_configuration",
    ],
)
def test_sql_can_not_touch_files_or_settings(store, tmp_path, sql):
    secret, out = tmp_path / "secret.csv", tmp_path / "out"
    secret.write_text("key\nhunter2\n")
    store.results.write("probes", "b", [make_probe_row("b", "j")])
    before = sorted(p for p in tmp_path.rglob("*"))
    with pytest.raises(duckdb.Error, match=r"(?i)disabled|locked|permission|cannot|can't|not allowed|does not exist"):
        store.connect().execute(sql.format(file=secret, out=out)).fetchall()
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_sql_can_not_see_python_variables(store):
    secret = store.results.table("probes")
    assert secret.num_rows == 0
    with pytest.raises(duckdb.CatalogException, match="secret does not exist"):
        store.connect().sql("SELECT * FROM secret")


def test_sql_can_not_change_the_store(store):
    store.results.write("probes", "b", [make_probe_row("b", "j")])
    con = store.connect()
    for sql in (
        "DELETE FROM probes",
        "UPDATE probes SET accuracy = 1",
        "INSERT INTO cka VALUES (1)",
        "DROP TABLE probes",
    ):
        with pytest.raises(duckdb.Error, match=r"(?i)can only|is not|view"):
            con.execute(sql)
    con.execute("DROP VIEW IF EXISTS probes")
    assert store.connect().sql("SELECT count(*) FROM probes").fetchall() == [(1,)]


def test_times_are_utc(store, write_features):
    write_features(store)
    (text,) = store.connect().sql("SELECT created_at::VARCHAR FROM representations").fetchall()[0]
    assert text.endswith("+00")
