import math
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import Corrupt, InvalidRequest, NotFound, UnknownName, UnsupportedFormat, open_store
from store import _result_parquet as parquet
from store._result_files import plan_sources
from store.schema import PROBES, SCHEMAS
from store.testing import make_cka_row, make_probe_row

ids = st.integers(0, 12).map("b{:02d}".format)


@given(
    batches=st.sets(ids), merged=st.dictionaries(st.integers(0, 9).map("m{}".format), st.frozensets(ids, min_size=1))
)
def test_every_batch_is_supplied_exactly_once(batches, merged):
    files = {f"merged/{name}.parquet": members for name, members in merged.items()}
    sources = plan_sources([f"{b}.parquet" for b in batches], files)
    supplied = []
    for source in sources:
        holds = files.get(source.key, {source.key.removesuffix(".parquet")})
        assert source.batches == holds - source.exclude
        assert source.batches
        supplied += source.batches
    assert sorted(supplied) == sorted(batches | set().union(*merged.values()))


floats = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = {
    pa.string(): texts,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): floats,
    pa.bool_(): st.booleans(),
    pa.list_(pa.float64()): st.lists(st.none() | floats, max_size=3),
    pa.list_(pa.int64()): st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
}
IDENTITY = ("batch_id", "job_id")


def rows_of(kind):
    return st.fixed_dictionaries({f.name: st.none() | VALUES[f.type] for f in SCHEMAS[kind] if f.name not in IDENTITY})


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("kind", SCHEMAS)
@given(data=st.data())
def test_any_row_survives_write_read_and_compact(kind, data, tmp_path_factory):
    results = open_store(tmp_path_factory.mktemp("s") / "s", create=True).results
    written, jobs = {}, st.integers(0, 15).map("job{}".format)
    for batch in data.draw(st.lists(ids, min_size=1, max_size=5, unique=True)):
        rows = [
            {**row, "batch_id": batch, "job_id": job}
            for job in sorted(data.draw(st.sets(jobs, min_size=1, max_size=4)))
            for row in [data.draw(rows_of(kind))]
        ]
        results.write(kind, batch, rows)
        written[batch] = rows
        if data.draw(st.booleans()):
            results.compact(kind)
    expected = {}
    for batch in sorted(written):
        for row in written[batch]:
            expected.setdefault(row["job_id"], row)
    for _ in range(2):
        got = {r["job_id"]: r for r in results.table(kind).to_pylist()}
        assert results.table(kind).num_rows == len(got)
        assert got.keys() == expected.keys() == results.jobs(kind)
        for job, row in expected.items():
            assert list(got[job]) == SCHEMAS[kind].names
            assert all(same(got[job][name], row[name]) for name in row), (got[job], row)
        results.compact(kind)


def test_jobs_are_seen_once_as_pandas_sees_them(store):
    rng = np.random.default_rng(3)
    frames = []
    for b in range(20):
        jobs = rng.choice(60, size=8, replace=False)
        rows = [make_probe_row(f"b{b:02d}", f"j{j}", accuracy=j / 60, seed=int(j) % 5) for j in jobs]
        store.results.write("probes", f"b{b:02d}", rows)
        frames.append(pd.DataFrame(rows))
        if b in (5, 11):
            store.results.compact("probes")
    plain = pd.concat(frames).sort_values("batch_id", kind="stable").drop_duplicates("job_id")
    means = plain.groupby("seed")["accuracy"].mean()
    for _ in range(2):
        table = store.results.table("probes").to_pandas()
        assert sorted(table["job_id"]) == sorted(plain["job_id"])
        assert dict(zip(table["job_id"], table["batch_id"], strict=True)) == dict(
            zip(plain["job_id"], plain["batch_id"], strict=True)
        )
        got = store.connect().sql("SELECT seed, avg(accuracy) FROM probes GROUP BY seed ORDER BY seed").fetchall()
        np.testing.assert_allclose([v for _, v in got], means.to_numpy(), rtol=1e-12)
        store.results.compact("probes")


def test_a_double_overwrites_itself(store):
    rows = [make_probe_row("b", f"j{i}") for i in range(3)]
    name = store.results.write("probes", "b", rows)
    first = store.objects.get(name)
    assert store.results.write("probes", "b", pa.Table.from_pylist(rows, schema=PROBES)) == name
    assert store.objects.get(name) == first
    assert store.results.table("probes").to_pylist() == rows
    assert store.results.compact("probes") == 0


def test_a_batch_is_held_from_its_writing_on_merged_or_not(store):
    results = store.results
    assert not results.holds("probes", "one")
    for batch in ("one", "two"):
        results.write("probes", batch, [make_probe_row(job_id=f"job-{batch}", batch_id=batch)])
    assert results.holds("probes", "one")
    assert not results.holds("cka", "one")
    assert results.compact("probes") == 2
    assert results.holds("probes", "one")
    assert results.holds("probes", "two")
    assert not results.holds("probes", "on")


def test_nothing_yet(store):
    assert store.results.table("probes").schema.equals(PROBES)
    assert store.results.table("cka").num_rows == 0
    assert store.results.jobs("cka") == set()
    assert store.results.compact("cka") == 0
    assert list(store.results.check("probes")) == []


def test_columns_in_the_order_that_was_asked(store):
    store.results.write("cka", "b", [make_cka_row("b", "j0"), make_cka_row("b", "j1", value=None)])
    table = store.results.table("cka", columns=["value", "kind"])
    assert table.to_pylist() == [{"value": 0.9, "kind": "part_whole"}, {"value": None, "kind": "part_whole"}]
    with pytest.raises(UnknownName, match=r"there is no column of cka 'accuracy'"):
        store.results.table("cka", columns=["accuracy"])


@pytest.mark.parametrize(
    "batch_id, rows, message",
    [
        ("b", [], "has no rows"),
        ("b", [make_probe_row("other", "j")], "must carry its batch_id"),
        ("b", [make_probe_row("b", "j"), make_probe_row("b", "j")], "must carry a job_id of its own"),
        ("b", [make_probe_row("b", None)], "must carry a job_id of its own"),
        (
            "b",
            [make_probe_row("b", "j", acuracy=1.0)],
            "there is no column of results 'acuracy'. Did you mean 'accuracy'",
        ),
        ("b", [make_probe_row("b", "j", accuracy="high")], "does not have the columns of results"),
        ("b", [make_probe_row("b", "j", seed=2**63)], "does not have the columns of results"),
        ("b", pa.table({"batch_id": ["b"], "job_id": ["j"]}), "does not have the columns of results"),
        ("../b", [make_probe_row("../b", "j")], "batch '../b': a name has"),
        ("merged/b", [make_probe_row("merged/b", "j")], "batch 'merged/b': a name has"),
    ],
)
def test_rows_that_are_no_results_are_refused(store, batch_id, rows, message):
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        store.results.write("probes", batch_id, rows)
    assert [o.key for o in store.objects.list("")] == ["drfarm.json"]


def test_an_unknown_kind(store):
    for act in (
        store.results.table,
        store.results.jobs,
        store.results.compact,
        lambda k: store.results.write(k, "b", []),
    ):
        with pytest.raises(UnknownName, match=r"no kind of results 'probe'\. Did you mean 'probes'"):
            act("probe")


def test_tables_are_cast_where_nothing_is_lost(store):
    table = pa.Table.from_pylist([make_probe_row("b", "j")], schema=PROBES)
    table = table.set_column(7, "seed", pa.array([1], pa.int8())).select(list(reversed(PROBES.names)))
    store.results.write("probes", "b", table)
    assert store.results.table("probes").to_pylist() == [make_probe_row("b", "j")]


def test_files_are_plain_parquet(store, tmp_path):
    import duckdb

    rows = [make_probe_row("b", f"j{i}", accuracy=i / 4) for i in range(4)]
    path = store.objects.local_root / store.results.write("probes", "b", rows)
    assert pq.read_table(path).to_pylist() == rows
    assert pd.read_parquet(path)["accuracy"].tolist() == [0, 0.25, 0.5, 0.75]
    assert duckdb.sql(f"SELECT sum(accuracy) FROM read_parquet('{path}')").fetchall() == [(1.5,)]
    assert pq.read_metadata(path).metadata[b"drfarm.results"].startswith(b"1:")


def test_results_of_a_newer_format_are_refused(store, monkeypatch):
    monkeypatch.setattr(parquet, "RESULTS_FORMAT", 2)
    name = store.results.write("probes", "b", [make_probe_row("b", "j")])
    monkeypatch.undo()
    with pytest.raises(UnsupportedFormat, match=f"{name} has results format 2; this drfarm reads"):
        store.results.table("probes")


def test_compaction_merges_and_removes(store):
    for b in range(4):
        store.results.write("probes", f"b{b}", [make_probe_row(f"b{b}", f"j{b}")])
    assert store.results.compact("probes") == 4
    names = [o.key for o in store.objects.list("results")]
    assert [n.rsplit(".", 1)[-1] for n in names] == ["json", "parquet"]
    assert all("/merged/" in n for n in names)
    store.results.write("probes", "b1", [make_probe_row("b1", "j1")])  # a slow double
    assert store.results.table("probes").num_rows == 4
    assert store.results.compact("probes") == 0
    assert [o.key for o in store.objects.list("results")] == names
    store.results.write("probes", "b9", [make_probe_row("b9", "j9")])
    assert store.results.compact("probes") == 2
    assert len(store.objects.list("results")) == 2
    assert store.results.jobs("probes") == {"j0", "j1", "j2", "j3", "j9"}


def test_overlapping_merged_files_are_read_once(store):
    # What two compactors at once can leave.
    rows = {b: [make_probe_row(b, f"{b}-{i}") for i in range(2)] for b in ("b0", "b1", "b2")}
    for members in (["b0", "b1"], ["b1", "b2"]):
        stem = f"results/probes/merged/{'-'.join(members)}"
        table = pa.Table.from_pylist([r for b in members for r in rows[b]], schema=PROBES)
        store.objects.put(f"{stem}.parquet", parquet.encode(table))
        store.results._put_manifest(f"{stem}.json", members)
    expected = sorted(r["job_id"] for b in rows.values() for r in b)
    assert sorted(store.results.dataset("probes").to_table()["job_id"].to_pylist()) == expected
    assert store.connect().sql("SELECT count(*), count(DISTINCT job_id) FROM probes").fetchall() == [(6, 6)]
    assert store.results.compact("probes") == 2
    assert sorted(store.results.table("probes")["job_id"].to_pylist()) == expected
    assert len(store.objects.list("results/probes")) == 2


class During:
    """Objects beside which something happens at the n-th call of a method."""

    def __init__(self, objects, method, n, act):
        self._objects, self._method, self._n, self._act = objects, method, n, act

    def __getattr__(self, name):
        inner = getattr(self._objects, name)
        if name != self._method:
            return inner

        def call(*args):
            self._n -= 1
            if self._n == 0:
                self._act()
            return inner(*args)

        return call


@pytest.mark.parametrize("method", ["list", "get", "put", "delete"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_a_batch_that_arrives_during_a_compaction_is_not_lost(store, method, n):
    for b in range(3):
        store.results.write("probes", f"b{b}", [make_probe_row(f"b{b}", f"j{b}")])
    beside = store.results

    def arrive():
        beside.write("probes", "late", [make_probe_row("late", "late")])

    results = type(beside)(During(store.objects, method, n, arrive))
    results.compact("probes")
    assert beside.jobs("probes") - {"late"} == {"j0", "j1", "j2"}
    if results._objects._n <= 0:
        assert "late" in beside.jobs("probes")


@pytest.mark.parametrize("method", ["list", "get"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("merged_before", [False, True])
def test_a_reader_whose_files_vanish_looks_again(store, method, n, merged_before):
    for b in range(3):
        store.results.write("probes", f"b{b}", [make_probe_row(f"b{b}", f"j{b}")])
        if merged_before and b == 1:
            store.results.compact("probes")
    results = type(store.results)(During(store.objects, method, n, lambda: store.results.compact("probes")))
    assert results.table("probes")["job_id"].to_pylist() == ["j0", "j1", "j2"]


def test_an_orphan_of_a_killed_compactor_is_removed_when_it_is_old(store, monkeypatch):
    import os
    import time

    orphan = "results/probes/merged/0.parquet"
    store.results.write("probes", "b", [make_probe_row("b", "j")])
    store.objects.put(orphan, b"half")
    assert store.results.jobs("probes") == {"j"}
    store.results.compact("probes")
    assert store.objects.exists(orphan)
    two_days_ago = time.time() - 2 * 86400
    os.utime(store.objects.local_root / orphan, (two_days_ago, two_days_ago))
    store.results.compact("probes")
    assert not store.objects.exists(orphan)


def test_failures_are_kept_and_cleared(store):
    store.results.record_failure("b1", {"error": "boom", "attempts": 3})
    store.results.record_failure("b0", {"error": "bang"})
    assert store.results.failures() == [
        {"batch_id": "b0", "error": "bang"},
        {"batch_id": "b1", "error": "boom", "attempts": 3},
    ]
    store.results.clear_failure("b0")
    store.results.clear_failure("b0")
    assert [f["batch_id"] for f in store.results.failures()] == ["b1"]
    with pytest.raises(InvalidRequest, match=r"batch '\.\./x': a name has"):
        store.results.record_failure("../x", {})


def test_discard_touches_results_only(store):
    for name in ("drfarm.json", "results/other/x.parquet", "ledger/x.json"):
        with pytest.raises(InvalidRequest, match="is not a results file"):
            store.results.discard(name)


def test_a_lost_merged_file_is_named(store):
    for b in range(2):
        store.results.write("cka", f"b{b}", [make_cka_row(f"b{b}", f"j{b}")])
    store.results.compact("cka")
    (data,) = [o.key for o in store.objects.list("results") if o.key.endswith(".parquet")]
    store.objects.delete([data])
    assert store.results.jobs("cka") == set()
    ((name, why),) = [c for c in store.results.check("cka") if c[1]]
    assert name.endswith(".json")
    assert f"{data}, which it describes, is gone" in why
    store.results.discard(name)
    assert list(store.results.check("cka")) == []
    with pytest.raises(NotFound, match="there is no object"):
        store.objects.get(name)


def test_garbage_in_a_results_file_is_refused(store):
    name = store.results.write("probes", "b", [make_probe_row("b", "j")])
    good = store.objects.get(name)
    for bad in (b"", b"PAR1", good[:-1], good[: len(good) // 2], good + b"\0", b"\0" + good, good[::-1]):
        store.objects.put(name, bad)
        with pytest.raises(Corrupt, match=f"{name} is not what was written"):
            store.results.table("probes")


@pytest.mark.parametrize("method, n", [("get", 4), ("put", 2)])
def test_a_compactor_that_is_overtaken_by_another_loses_nothing(store, method, n):
    # The other merges the same batches, then one more, and removes the file that this one is about to name.
    for b in range(3):
        store.results.write("probes", f"b{b}", [make_probe_row(f"b{b}", f"j{b}")])
    other = store.results

    def overtake():
        other.compact("probes")
        other.write("probes", "b3", [make_probe_row("b3", "j3")])
        other.compact("probes")

    type(other)(During(store.objects, method, n, overtake)).compact("probes")
    assert other.jobs("probes") == {"j0", "j1", "j2", "j3"}
    assert [c for c in other.check("probes") if c[1]] == []
    assert other.compact("probes") == 0
    assert len(store.objects.list("results/probes")) == 2


def test_a_manifest_without_data_is_no_problem_where_others_hold_its_batches(store):
    for b in range(2):
        store.results.write("probes", f"b{b}", [make_probe_row(f"b{b}", f"j{b}")])
    dangling = "results/probes/merged/0.json"
    store.results._put_manifest(dangling, ["b0", "b1"])
    assert [c for c in store.results.check("probes") if c[1]] == []
    store.results._put_manifest(dangling, ["b0", "lost"])
    assert [name for name, why in store.results.check("probes") if why] == [dangling]
    store.results.compact("probes")
    assert store.objects.exists(dangling)
    store.results._put_manifest(dangling, ["b0", "b1"])
    store.results.compact("probes")
    assert not store.objects.exists(dangling)
