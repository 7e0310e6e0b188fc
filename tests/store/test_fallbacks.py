"""A float16 representation that overflowed: another one stands in for it, for ever, whoever still writes to it."""

import pickle
import threading

import numpy as np
import pytest

from store import Conflict, Corrupt, Incomplete, InvalidRequest, NotFound, Overflow, ledger, verify
from store.features import FeatureStore
from store.testing import make_key

WIDE = make_key().id
"""The same representation in float32."""
REASON = "a value of 70000 is beyond float16"


def problems(store):
    return [c.problem for c in verify(store) if c.problem]


def left(store, rep_id):
    """Return the names of all that there is of a representation."""
    return [o.key for o in store.objects.list("") if rep_id in o.key]


@pytest.fixture
def begun(store, write_features):
    """A float16 representation of which one chunk is missing, and its values."""
    writer, values, *_ = write_features(store, dtype="float16", seal=False)
    store.features.discard(writer.id, [(0, 1)])
    return writer, values[0]


def test_the_stand_in_decides_everything_from_then_on(store, begun, write_features):
    writer, values = begun
    features = store.features
    assert (features.fallback(writer.id), features.fallbacks(), features.status(writer.id)) == (None, [], "partial")
    assert features.fall_back(writer.id, WIDE, REASON) == WIDE
    assert (features.fallback(writer.id), features.status(writer.id)) == (WIDE, "fallback")
    assert left(store, writer.id) == [ledger.fallback_key(writer.id)]
    assert features.catalogue() == []
    assert features.ids() == [writer.id]
    (there,) = features.fallbacks()
    assert (there.key, there.stand_in, there.reason) == (writer.key, WIDE, REASON)
    assert [c.name for c in verify(store)] == [ledger.fallback_key(writer.id)]
    for act in (features.open, features.info):
        with pytest.raises(Incomplete, match=rf"never will be: {REASON}\. Representation {WIDE} stands in for it"):
            act(writer.id)
    with pytest.raises(Overflow, match=f"fell back on representation {WIDE}"):
        write_features(store, dtype="float16")
    whole, *_ = write_features(store)
    assert whole.id == WIDE
    np.testing.assert_array_equal(features.open(WIDE).numpy(), values)
    assert [i.key.id for i in features.catalogue()] == [WIDE]
    assert problems(store) == []


def test_a_late_writer_does_no_harm_and_is_told(store, begun):
    writer, values = begun

    class Late:
        """Objects through which a chunk is on its way while the representation falls back."""

        def __getattr__(self, name):
            return getattr(store.objects, name)

        def put(self, key, data):
            store.features.fall_back(writer.id, WIDE, REASON)
            store.objects.put(key, data)

    late = pickle.loads(pickle.dumps(writer))
    late._objects = Late()
    late.write_chunk(0, 1, values[3:6])
    assert len(left(store, writer.id)) == 3  # its chunk and its entry are there, and nobody looks at them
    assert store.features.status(writer.id) == "fallback"
    assert store.features.catalogue() == []
    assert problems(store) == []
    for act in (lambda: writer.write_chunk(0, 2, values[6:]), writer.seal):
        with pytest.raises(Overflow, match=f"fell back on representation {WIDE}"):
            act()
    assert store.features.fall_back(writer.id, WIDE, REASON) == WIDE  # saying it again tidies
    assert left(store, writer.id) == [ledger.fallback_key(writer.id)]


def test_a_seal_that_comes_too_late_is_withdrawn(store, begun):
    writer, values = begun
    writer.write_chunk(0, 1, values[3:6])

    class Overtaken:
        def __getattr__(self, name):
            return getattr(store.objects, name)

        def put(self, key, data):
            if key.endswith("complete.json"):
                store.features.fall_back(writer.id, WIDE, REASON)
            store.objects.put(key, data)

    late = pickle.loads(pickle.dumps(writer))
    late._objects = Overtaken()
    with pytest.raises(Overflow, match=f"fell back on representation {WIDE}"):
        late.seal()
    assert left(store, writer.id) == [ledger.fallback_key(writer.id)]


def test_a_creator_that_is_overtaken_is_told(store, begun, write_features):
    writer, _ = begun
    store.features.forget(writer.id)

    class Overtaken:
        def __getattr__(self, name):
            return getattr(store.objects, name)

        def put_new(self, key, data):
            done = store.objects.put_new(key, data)
            if key.endswith("representation.json"):
                store.features.fall_back(writer.id, WIDE, REASON)
            return done

    with pytest.raises(Overflow, match="fell back"):
        write_features(type("S", (), {"features": FeatureStore(Overtaken())}), dtype="float16")
    assert store.features.status(writer.id) == "fallback"


def test_many_fall_back_at_once(store, begun):
    writer, _ = begun
    done, failed = [], []
    together = threading.Barrier(6)

    def act():
        together.wait()
        try:
            done.append(store.features.fall_back(writer.id, WIDE, REASON))
        except Exception as e:  # noqa: BLE001 - told below
            failed.append(e)

    threads = [threading.Thread(target=act) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (done, failed) == ([WIDE] * 6, [])
    assert left(store, writer.id) == [ledger.fallback_key(writer.id)]


@pytest.mark.parametrize("n_deleted", range(13))
def test_killed_at_any_step_it_has_fallen_back(store, begun, n_deleted):
    writer, _ = begun
    n_objects = len(left(store, writer.id))
    assert n_objects == 6 + 3 + 3  # small objects and chunks of the group; two entries and what opened it

    class Killed(Exception):
        pass

    class Dying:
        left = n_deleted

        def __getattr__(self, name):
            return getattr(store.objects, name)

        def delete(self, keys):
            for key in keys:
                if not self.left:
                    raise Killed("killed")
                self.left -= 1
                store.objects.delete([key])

    with pytest.raises(Killed, match="killed"):
        FeatureStore(Dying()).fall_back(writer.id, WIDE, REASON)
    assert len(left(store, writer.id)) == n_objects + 1 - max(0, n_deleted - 1)  # the first is the seal, absent here
    assert store.features.status(writer.id) == "fallback"
    assert store.features.catalogue() == []
    assert problems(store) == []
    with pytest.raises(Incomplete, match="never will be"):
        store.features.open(writer.id)
    assert store.features.fall_back(writer.id, WIDE, REASON) == WIDE
    assert left(store, writer.id) == [ledger.fallback_key(writer.id)]


def test_what_is_complete_needs_no_stand_in(store, write_features):
    # Another device rounded to the other side of 65504 and finished first.
    writer, values, *_ = write_features(store, dtype="float16")
    assert store.features.fall_back(writer.id, WIDE, REASON) == writer.id
    assert (store.features.fallback(writer.id), store.features.status(writer.id)) == (None, "complete")
    np.testing.assert_array_equal(store.features.open(writer.id).numpy(), values[0].astype(np.float16))


def test_what_makes_no_sense_is_refused(store, begun, write_features):
    writer, _ = begun
    other, *_ = write_features(store, seal=False)
    for rep_id, stand_in in ((writer.id, writer.id), (writer.id, "x"), (other.id, "0" * 64)):
        with pytest.raises(InvalidRequest, match="a float16 representation falls back on another one's id"):
            store.features.fall_back(rep_id, stand_in, REASON)
    with pytest.raises(NotFound, match="there is no representation"):
        store.features.fall_back("0" * 64, WIDE, REASON)
    for rep_id in ("", "..", "x", "0" * 64):
        assert store.features.fallback(rep_id) is None
    assert store.features.status(writer.id) == "partial"
    store.features.fall_back(writer.id, WIDE, REASON)
    with pytest.raises(Conflict, match=f"expected {'1' * 64} to stand in for it, but {WIDE} does"):
        store.features.fall_back(writer.id, "1" * 64, REASON)


def test_a_flip_in_the_record_is_noticed_and_it_falls_back_again(store, begun, write_features):
    writer, _ = begun
    store.features.fall_back(writer.id, WIDE, REASON)
    name = ledger.fallback_key(writer.id)
    data = store.objects.get(name)
    for place in range(0, len(data), 5):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        store.objects.put(name, bytes(flipped))
        with pytest.raises(Corrupt, match=r"fallback\.json is not the JSON"):
            store.features.fallback(writer.id)
        assert store.features.status(writer.id) == "fallback"
    (problem,) = problems(store)
    assert (problem.kind, problem.name) == ("representation", name)
    problem.discard()
    assert store.features.status(writer.id) == "absent"
    write_features(store, dtype="float16", seal=False)
    store.features.fall_back(writer.id, WIDE, REASON)
    other = make_key(dtype="float16", weights="other").id
    store.objects.put(ledger.fallback_key(other), store.objects.get(name))
    with pytest.raises(Corrupt, match=f"is of representation {writer.id}"):
        store.features.fallback(other)
