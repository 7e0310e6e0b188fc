"""Statistics beside the features: computed once, the same as from the rows at hand, and never of other rows."""

import uuid

import numpy as np
import pytest

from probe import InvalidProbe, stored_statistics
from probe.statistics import block_statistics
from probe.stored_statistics import statistics_of
from store import Corrupt, open_store, verify
from store.codecs import checksum
from store.testing import make_key


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return open_store(tmp_path / "s" if request.param == "local" else f"memory://{uuid.uuid4()}", create=True)


def write(store, *, n=50, d=9, masked=(), dtype="float32", **key):
    """Write features of two views, in chunks of 12 rows; return (features, values of both)."""
    rng = np.random.default_rng(5)
    values = (rng.normal(size=(2, n, d)) + 3).astype(dtype)
    writer = store.features.create(
        make_key(n_views=2, dtype=dtype, **key),
        width=d,
        labels=rng.choice([0, 2], n),
        sample_ids=[f"{i}.png" for i in range(n)],
        classes=["a", "absent", "b"],
        rows_per_chunk=12,
    )
    for view, chunk in writer.missing():
        start, stop = writer.span(chunk)
        writer.write_chunk(view, chunk, values[view, start:stop], [i for i in masked if start <= i < stop])
    return writer.seal(), values


def of_both_views(features, values, rows=slice(None)):
    """Count rows as each of the two views shows them."""
    x = values[:, rows].reshape(-1, values.shape[2])
    return block_statistics(x, np.tile(features.labels[rows], 2), 3)


def assert_same(a, b, rtol=0.0):
    assert a.n == b.n
    np.testing.assert_array_equal(a.class_counts, b.class_counts)
    for name in ("mean", "scatter", "class_sums"):
        assert getattr(a, name).dtype == np.float64
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=100 * rtol)


@pytest.fixture
def computed(monkeypatch):
    """Count how often statistics are computed."""
    calls = []
    plain = stored_statistics.statistics

    def counted(*args, **kwargs):
        calls.append(1)
        return plain(*args, **kwargs)

    monkeypatch.setattr(stored_statistics, "statistics", counted)
    return calls


@pytest.mark.parametrize("d", [1, 2, 9, 300])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_computed_once_and_read_bit_for_bit(store, computed, d, dtype):
    features, x = write(store, d=d, dtype=dtype)
    assert not store.statistics.exists(features.id, "all")
    first = statistics_of(store, features)
    assert store.statistics.exists(features.id, "all")
    assert_same(first, of_both_views(features, x), rtol=1e-10)
    assert_same(statistics_of(store, features), first)
    assert len(computed) == 1
    assert [c.name for c in verify(store) if c.problem] == []


def test_rows_that_are_masked_do_not_count(store):
    features, x = write(store, masked=[0, 13, 14])
    keep = np.setdiff1d(np.arange(50), [0, 13, 14])
    assert_same(statistics_of(store, features), of_both_views(features, x, keep), rtol=1e-10)
    chosen = np.array([0, 1, 13, 49, 2])
    expected = of_both_views(features, x, [1, 2, 49])
    assert_same(statistics_of(store, features, rows="five", chosen=chosen), expected, rtol=1e-10)


def test_chosen_rows_have_statistics_of_their_own(store, computed):
    features, x = write(store)
    rows = np.random.default_rng(1).permutation(50)[:31]
    found = statistics_of(store, features, rows="train-0.6-seed-1", chosen=rows)
    assert_same(found, of_both_views(features, x, rows), rtol=1e-10)
    assert found.n == 2 * 31
    assert statistics_of(store, features).n == 2 * 50
    assert store.statistics.rows(features.id) == ["all", "train-0.6-seed-1"]
    # In another order they are the same rows; and who knows only the label is given what it stands for.
    assert_same(statistics_of(store, features, rows="train-0.6-seed-1", chosen=rows[::-1]), found)
    assert_same(statistics_of(store, features, rows="train-0.6-seed-1"), found)
    assert len(computed) == 2


def test_other_rows_under_a_label_are_never_taken_for_these(store, computed):
    features, x = write(store)
    statistics_of(store, features, rows="train", chosen=np.arange(30))
    rows = np.arange(20, 50)
    found = statistics_of(store, features, rows="train", chosen=rows)
    assert_same(found, of_both_views(features, x, slice(20, None)), rtol=1e-10)
    assert_same(statistics_of(store, features, rows="train", chosen=rows), found)
    assert len(computed) == 2


def test_a_representation_made_anew_with_other_rows_masked(store, computed):
    features, _ = write(store)
    whole = statistics_of(store, features)
    kept = store.statistics.get(features.id, "all")
    store.features.forget(features.id)
    features, x = write(store, masked=[3])
    assert not store.statistics.exists(features.id, "all")
    store.statistics.put(features.id, "all", kept)  # a worker that was late
    found = statistics_of(store, features)
    keep = np.setdiff1d(np.arange(50), [3])
    assert_same(found, of_both_views(features, x, keep), rtol=1e-10)
    assert (whole.n, found.n) == (100, 98)


def test_a_damaged_object_is_named_and_heals(store):
    features, _ = write(store)
    first = statistics_of(store, features)
    name = f"statistics/{features.id}/all.arrays"
    data = bytearray(store.objects.get(name))
    data[len(data) // 2] ^= 4
    store.objects.put(name, bytes(data))
    with pytest.raises(Corrupt, match=rf"{name} is not what was written.*verify --discard"):
        statistics_of(store, features)
    (problem,) = [c.problem for c in verify(store) if c.problem]
    assert (problem.kind, problem.name) == ("statistics", name)
    problem.discard()
    assert_same(statistics_of(store, features), first)


def test_requests_that_are_refused(store):
    features, _ = write(store)
    for chosen, message in (
        (np.array([0, 50]), "rows are 0 to 49, got 0 to 50"),
        (np.array([-1, 4]), "rows are 0 to 49, got -1 to 4"),
        (np.array([1, 2, 2, 1, 5]), "2 of the chosen rows are doubles"),
        (np.array([[1, 2]]), "expected row numbers"),
        (np.array([1.0, 2.0]), "expected row numbers"),
        (np.array([], np.int64), "at least two rows, got 0"),
    ):
        with pytest.raises(InvalidProbe, match=message):
            statistics_of(store, features, rows="some", chosen=chosen)
    with pytest.raises(InvalidProbe, match="give chosen rows a label of their own"):
        statistics_of(store, features, chosen=np.arange(5))
    with pytest.raises(InvalidProbe, match=r"no statistics of rows 'unknown'.*Give `chosen`"):
        statistics_of(store, features, rows="unknown")
    assert store.statistics.ids() == []


def test_values_that_are_not_finite_leave_nothing_behind(store):
    values = np.ones((30, 4), np.float32)
    values[[4, 9], 1] = np.inf
    writer = store.features.create(
        make_key(),
        width=4,
        labels=np.arange(30) % 2,
        sample_ids=[str(i) for i in range(30)],
        classes=["a", "b"],
        rows_per_chunk=8,
    )
    for view, chunk in writer.missing():
        writer.write_chunk(view, chunk, values[slice(*writer.span(chunk))])
    features = writer.seal()
    with pytest.raises(InvalidProbe, match="in 2 of 30 rows, the first of them row 4"):
        statistics_of(store, features)
    assert not store.statistics.exists(features.id, "all")


def test_statistics_of_the_first_view_alone_are_never_taken_for_those_of_all(store, computed):
    """Earlier versions counted one view under the same label."""
    features, values = write(store)
    statistics_of(store, features)
    arrays = store.statistics.get(features.id, "all")
    alone = block_statistics(values[0], features.labels, 3)
    mask = np.packbits(np.ones(50, np.bool_))
    digest = np.frombuffer(bytes.fromhex(checksum(mask)), "<i8").astype(np.int64)
    old = {"mean": alone.mean, "class_counts": alone.class_counts, "class_sums": alone.class_sums, "rows": digest}
    old["scatter_upper"] = alone.scatter[np.triu_indices(9)]
    assert old.keys() == arrays.keys()
    store.statistics.put(features.id, "all", old)
    assert_same(statistics_of(store, features), of_both_views(features, values), rtol=1e-10)
    assert len(computed) == 2
    assert not np.array_equal(store.statistics.get(features.id, "all")["rows"], digest)


def test_the_digest_of_the_rows_of_one_view_is_what_it_was(store):
    """Stores of earlier versions are full of them."""
    key = make_key(n_views=1)
    writer = store.features.create(
        key, width=2, labels=[0, 1, 1], sample_ids=["a", "b", "c"], classes=["a", "b"], rows_per_chunk=3
    )
    writer.write_chunk(0, 0, np.arange(6, dtype=np.float32).reshape(3, 2))
    statistics_of(store, writer.seal())
    expected = np.frombuffer(bytes.fromhex(checksum(np.packbits(np.ones(3, np.bool_)))), "<i8")
    np.testing.assert_array_equal(store.statistics.get(key.id, "all")["rows"], expected)
