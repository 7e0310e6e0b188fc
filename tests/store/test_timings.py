"""When each batch was made, and by which process: through writing, doubles, compaction and files without it."""

import os
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import _result_parquet, open_store
from store.testing import make_cka_row, make_probe_row
from store.timings import TIMINGS, BatchTiming, packed, unpacked

moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
timings = st.builds(
    BatchTiming, worker=st.text(st.characters(exclude_categories=["Cs"])), started_at=moments, finished_at=moments
)


@given(st.dictionaries(st.text("0123456789abcdef", min_size=1), timings, max_size=20), st.data())
def test_what_is_packed_is_unpacked(made, data):
    text = packed(made)
    assert text.isascii()
    some = data.draw(st.sets(st.sampled_from(sorted(made)))) if made else set()
    assert unpacked(text.encode(), some) == {b: made[b] for b in some}


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


def write(store, batch, *, kind="probes", n=1, ago=None):
    make = {"probes": make_probe_row, "cka": make_cka_row}[kind]
    started = None if ago is None else datetime.now(UTC) - timedelta(seconds=ago)
    return store.results.write(kind, batch, [make(batch, f"{batch}-{i}") for i in range(n)], started_at=started)


def test_a_batch_keeps_its_process_and_its_times(store):
    before = datetime.now(UTC)
    write(store, "b2", n=3, ago=20)
    write(store, "b1", kind="cka", ago=5)
    found = store.results.timings()
    assert found.schema.equals(TIMINGS)
    rows = found.to_pylist()
    assert [(r["kind"], r["batch_id"], r["n_jobs"]) for r in rows] == [("probes", "b2", 3), ("cka", "b1", 1)]
    for row, ago in zip(rows, (20, 5), strict=True):
        assert row["worker"].rpartition(":")[2] == str(os.getpid())
        assert ago <= row["elapsed_s"] < ago + 30
        assert before <= row["finished_at"] <= datetime.now(UTC)
        assert (row["finished_at"] - row["started_at"]).total_seconds() == pytest.approx(row["elapsed_s"])


def test_of_a_batch_of_an_earlier_version_only_its_jobs_are_known(store):
    write(store, "b1", n=2)
    write(store, "b2", ago=1)
    old, new = store.results.timings().to_pylist()
    assert old == {**dict.fromkeys(TIMINGS.names), "kind": "probes", "batch_id": "b1", "n_jobs": 2}
    assert new["elapsed_s"] >= 1


def test_compaction_keeps_every_time_once_more_and_again(store):
    for i in range(3):
        write(store, f"b{i}", n=i + 1, ago=10 * i)
    write(store, "old")
    before = store.results.timings().to_pylist()
    assert store.results.compact("probes") == 4
    assert store.results.timings().to_pylist() == before
    write(store, "b9", ago=1)
    later = store.results.timings().to_pylist()
    assert store.results.compact("probes") == 2
    assert store.results.timings().to_pylist() == later
    assert [r["batch_id"] for r in later] == ["b0", "b1", "b2", "b9", "old"]
    assert [name for name, problem in store.results.check("probes") if problem] == []


def test_a_double_has_the_times_of_the_last(store):
    write(store, "b1", ago=50)
    write(store, "b1", ago=2)
    (row,) = store.results.timings().to_pylist()
    assert row["elapsed_s"] < 50


def test_the_checksum_covers_it_and_other_readers_see_plain_parquet(store, tmp_path):
    name = write(store, "b1", ago=1)
    file = tmp_path / "store" / name
    data = file.read_bytes()
    assert pq.read_table(file).num_rows == 1
    at = data.index(b"drfarm.timings") + 40
    with pytest.raises(Exception, match="is not what was written: its checksum does not hold"):
        _result_parquet.held(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], name)
    assert _result_parquet.held(data, name) == data


def test_without_times_a_file_is_as_it_always_was(store):
    table = store.results.dataset("probes").to_table()
    assert _result_parquet.encode(table) == _result_parquet.encode(table, {})
    assert b"drfarm.timings" not in _result_parquet.encode(table)
