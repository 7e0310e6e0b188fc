"""The contract of a whole store, as a test class: features, results, statistics and records on any kind of storage."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from store._testing_rows import make_cka_row, make_key, make_probe_row
from store.errors import Conflict, Corrupt, Incomplete, NotFound, Overflow, StoreError
from store.root import Store, open_store
from store.verify import verify

_ROWS, _WIDTH, _CHUNK = 50, 6, 8


def _values(n_views: int = 1) -> Any:
    return np.random.default_rng(7).standard_normal((n_views, _ROWS, _WIDTH)).astype(np.float32)


def _create(store: Store, **key: Any) -> Any:
    return store.features.create(
        make_key(**key),
        width=_WIDTH,
        labels=np.arange(_ROWS) % 3,
        sample_ids=[f"image-{i}.png" for i in range(_ROWS)],
        classes=["a", "b", "c"],
        rows_per_chunk=_CHUNK,
    )


def _write(store: Store, **key: Any) -> tuple[Any, Any]:
    writer = _create(store, **key)
    values = _values(writer.n_views)
    for view, chunk in writer.missing():
        writer.write_chunk(view, chunk, values[view, slice(*writer.span(chunk))])
    return writer.seal(), values


def _flip(store: Store, name: str) -> None:
    data = bytearray(store.objects.get(name))
    data[len(data) // 2] ^= 1
    store.objects.put(name, bytes(data))


class StoreContract:
    """What every store must do. A subclass supplies the fixture ``store``: a new, empty one.

    ::

        class TestLocalStore(StoreContract):
            @pytest.fixture
            def store(self, tmp_path):
                return open_store(tmp_path / "store", create=True)
    """

    def test_opens_again_and_pickles_by_its_address(self, store: Store) -> None:
        """Another opening, and a copy in another process, see the same store."""
        features, values = _write(store)
        for copy in (open_store(store.url), open_store(store.url, create=True), pickle.loads(pickle.dumps(store))):
            assert copy.url == store.url
            np.testing.assert_array_equal(copy.features.open(features.id).numpy(), values[0])

    def test_what_is_written_is_read(self, store: Store) -> None:
        """Every view, its labels and ids, whole and in part; a copy of the reader too."""
        features, values = _write(store, n_views=2)
        copied = pickle.loads(pickle.dumps(features))
        for view in range(2):
            np.testing.assert_array_equal(copied.numpy(view), values[view])
            np.testing.assert_array_equal(np.concatenate([b for *_, b in features.blocks(view)]), values[view])
        chosen = np.array([4, 0])
        np.testing.assert_array_equal(features.numpy(1, neurons=chosen), values[1][:, chosen])
        np.testing.assert_array_equal(features.labels, np.arange(_ROWS) % 3)
        assert features.sample_ids[:2] == ["image-0.png", "image-1.png"]
        (info,) = store.features.catalogue()
        assert (info.complete, info.n_chunks, info.n_chunks_done) == (True, 14, 14)
        np.testing.assert_array_equal(features.xarray()["activations"].to_numpy(), values)

    def test_a_representation_is_unreadable_until_it_is_whole(self, store: Store) -> None:
        """It is gone on with where it was left, by another writer, and chunks are written once."""
        writer, values = _create(store), _values()
        for chunk in (0, 3):
            writer.write_chunk(0, chunk, values[0, slice(*writer.span(chunk))])
        assert store.features.status(writer.id) == "partial"
        with pytest.raises(Incomplete, match="not complete"):
            store.features.open(writer.id)
        other = _create(open_store(store.url))
        assert other.missing() == [(0, c) for c in (1, 2, 4, 5, 6)]
        with pytest.raises(Incomplete, match="5 of 7 chunks are not written"):
            other.seal()
        for _, chunk in other.missing():
            other.write_chunk(0, chunk, values[0, slice(*other.span(chunk))])
        np.testing.assert_array_equal(other.seal().numpy(), values[0])
        assert store.features.status(writer.id) == "complete"

    def test_doubles_agree_on_every_chunk(self, store: Store) -> None:
        """Writers of slightly different bytes at once: each chunk is one writer's, whole, and the ledger says which."""
        values = _values()

        def write(me: int) -> None:
            writer = _create(open_store(store.url))
            for view, chunk in writer.grid.cells():
                start, stop = writer.span(chunk)
                writer.write_chunk(view, chunk, values[view, start:stop] + me)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        writer = _create(store)
        assert writer.missing() == []
        read = writer.seal().numpy()
        for _, chunk in writer.grid.cells():
            part = slice(*writer.span(chunk))
            assert any((read[part] == values[0, part] + me).all() for me in range(4))
        assert not [c.problem for c in verify(store) if c.problem]

    def test_results_are_read_once(self, store: Store) -> None:
        """Batches, doubles, compactions and what is written after them: each job is one row."""
        for i in range(5):
            rows = [make_probe_row(f"b{i}", f"j{i}-{k}", accuracy=i / 8) for k in range(3)]
            store.results.write("probes", f"b{i}", rows)
            store.results.write("probes", f"b{i}", rows)
        store.results.write("cka", "c0", [make_cka_row("c0", "k0")])
        before = store.results.table("probes").sort_by("job_id").to_pylist()
        assert len(before) == 15
        assert store.results.compact("probes") == 5
        assert store.results.table("probes").sort_by("job_id").to_pylist() == before
        store.results.write("probes", "b0", [make_probe_row("b0", f"j0-{k}", accuracy=0.0) for k in range(3)])
        store.results.write("probes", "b9", [make_probe_row("b9", "j9")])
        assert store.results.compact("probes") > 0
        assert store.results.jobs("probes") == {*(f"j{i}-{k}" for i in range(5) for k in range(3)), "j9"}
        assert store.results.table("probes").num_rows == 16
        assert store.results.table("cka").num_rows == 1
        assert store.connect().sql("SELECT count(*) FROM probes").fetchall() == [(16,)]

    def test_compaction_beside_readers_and_writers(self, store: Store) -> None:
        """Whoever reads while others write and compact sees every finished batch once."""
        for i in range(6):
            store.results.write("probes", f"a{i}", [make_probe_row(f"a{i}", f"a{i}")])

        def write(i: int) -> None:
            store.results.write("probes", f"w{i}", [make_probe_row(f"w{i}", f"w{i}")])

        def read(_: int) -> list[str]:
            return store.results.table("probes", columns=["job_id"])["job_id"].to_pylist()

        with ThreadPoolExecutor(6) as pool:
            compactions = [pool.submit(open_store(store.url).results.compact, "probes") for _ in range(2)]
            writes = [pool.submit(write, i) for i in range(6)]
            for seen in pool.map(read, range(6)):
                assert len(seen) == len(set(seen))
                assert {f"a{i}" for i in range(6)} <= set(seen)
            for merged in compactions:
                merged.result()
            for written in writes:
                written.result()
        expected = sorted(f"{who}{i}" for who in "aw" for i in range(6))
        assert sorted(read(0)) == expected
        store.results.compact("probes")
        assert sorted(read(0)) == expected

    def test_quarantine(self, store: Store) -> None:
        """A failure is found, and cleared."""
        store.results.record_failure("b1", {"study": "s", "error": "boom"})
        (failure,) = store.results.failures()
        assert (failure["batch_id"], failure["error"]) == ("b1", "boom")
        store.results.clear_failure("b1")
        assert store.results.failures() == []

    def test_statistics(self, store: Store) -> None:
        """Arrays come back, damage is named, and all of a representation can be dropped."""
        features, values = _write(store)
        moments = {"mean": values[0].mean(0).astype(np.float64), "count": np.array([_ROWS])}
        name = store.statistics.put(features.id, "all", moments)
        found = store.statistics.get(features.id, "all")
        assert {n: a.tolist() for n, a in found.items()} == {n: a.tolist() for n, a in moments.items()}
        assert store.statistics.rows(features.id) == ["all"]
        _flip(store, name)
        with pytest.raises(Corrupt, match="not what was written"):
            store.statistics.get(features.id, "all")
        store.statistics.discard(features.id)
        with pytest.raises(NotFound, match="no statistics"):
            store.statistics.get(features.id, "all")

    def test_neuron_sets(self, store: Store) -> None:
        """A set is named by its content; putting it again mends it."""
        indices = np.array([1, 5, 9])
        digest = store.neuron_sets.put(indices, 12)
        assert store.neuron_sets.put(indices, 12) == digest
        found, width = store.neuron_sets.get(digest)
        assert (found.tolist(), width) == ([1, 5, 9], 12)
        (name,) = [o.key for o in store.objects.list("") if digest in o.key]
        _flip(store, name)
        with pytest.raises(Corrupt, match="not what was written"):
            store.neuron_sets.get(digest)
        store.neuron_sets.put(indices, 12)
        assert store.neuron_sets.get(digest)[1] == 12

    def test_the_first_setting_stays(self, store: Store) -> None:
        """Many writers at once agree on one record."""
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda i: store.settings.put_new("batch-size/x", {"size": i}), range(8)))
        assert len({f["size"] for f in found}) == 1
        assert store.settings.get("batch-size/x") == found[0]
        assert store.settings.get("another") is None

    def test_rates_and_studies(self, store: Store) -> None:
        """The newest record counts."""
        for speed in (10.0, 20.0):
            store.rates.put("extraction", "a device / 2", {"speed": speed})
        assert store.rates.get("extraction", "a device / 2") == {"speed": 20.0}
        store.put_study("s", {"study": "s"}, representations=["b" * 64])
        assert store.named_representations() == {"s": frozenset(["b" * 64])}
        store.drop_study("s")
        assert store.studies() == []

    def test_a_fallback_decides(self, store: Store) -> None:
        """What was written of a float16 representation goes; another stands in, and only one can."""
        writer = _create(store, dtype="float16")
        writer.write_chunk(0, 0, _values()[0, :_CHUNK])
        stand_in = make_key(dtype="float32").id
        assert store.features.fall_back(writer.id, stand_in, "70000 is beyond float16") == stand_in
        assert store.features.status(writer.id) == "fallback"
        assert store.features.fallback(writer.id) == stand_in
        assert store.objects.list(writer.key.path) == []
        with pytest.raises(Overflow, match="it fell back"):
            writer.write_chunk(0, 1, _values()[0, :_CHUNK])
        with pytest.raises(Conflict, match="expected"):
            store.features.fall_back(writer.id, "c" * 64, "another")

    @pytest.mark.parametrize(
        ("where", "kind"),
        [("/activations/c/", "chunk"), ("/labels/c", "representation"), ("results/probes", "results")],
    )
    def test_verify_finds_one_flipped_byte(self, store: Store, where: str, kind: str) -> None:
        """It names the object; after it is discarded, nothing is wrong and what is left can be made anew."""
        features, values = _write(store)
        store.results.write("probes", "b0", [make_probe_row("b0", "j0")])
        assert [c.problem for c in verify(store) if c.problem] == []
        name = next(o.key for o in store.objects.list("") if where in o.key)
        _flip(store, name)
        problems = [c.problem for c in verify(store) if c.problem]
        assert [(p.kind, p.name) for p in problems] == [(kind, name)]
        reads: dict[str, Callable[[], Any]] = {
            "chunk": lambda: store.features.open(features.id).numpy(),
            "representation": lambda: store.features.open(features.id).labels,
            "results": lambda: store.results.table("probes"),
        }
        with pytest.raises(StoreError, match=r"not what was written|checksum|damaged"):
            reads[kind]()
        for problem in problems:
            problem.discard()
        assert [c.problem for c in verify(store) if c.problem] == []
        store.results.write("probes", "b0", [make_probe_row("b0", "j0")])
        np.testing.assert_array_equal(_write(store)[0].numpy(), values[0])
        assert [c.problem for c in verify(store) if c.problem] == []
        assert store.results.jobs("probes") == {"j0"}

    def test_a_chunk_that_is_gone_is_an_error(self, store: Store) -> None:
        """Never zeros, never NaN."""
        features, _ = _write(store)
        store.objects.delete([features.chunk_object(0, 2)])
        with pytest.raises(Corrupt, match="in the ledger but not in the store"):
            store.features.open(features.id).numpy()

    def test_what_is_forgotten_is_made_anew(self, store: Store) -> None:
        """Nothing of it is readable, others stay, and no object of it is left in the way."""
        features, values = _write(store)
        other, _ = _write(store, layer="other")
        store.features.forget(features.id)
        assert store.features.status(features.id) == "absent"
        with pytest.raises(NotFound, match="no representation"):
            store.features.open(features.id)
        assert store.features.ids() == [other.id]
        np.testing.assert_array_equal(_write(store)[0].numpy(), values[0])
