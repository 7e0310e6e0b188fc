"""Sets of neurons: named by their content, so that no other set can stand under a name."""

import hashlib
import pickle
import struct
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import Corrupt, InvalidRequest, NotFound, open_store, verify
from store.neuron_sets import digest_of

sets = st.integers(1, 300).flatmap(
    lambda width: st.tuples(st.sets(st.integers(0, width - 1), min_size=1).map(sorted), st.just(width))
)


@given(sets)
def test_a_set_comes_back_as_it_was_put(chosen):
    indices, width = np.array(chosen[0], dtype=np.int64), chosen[1]
    kept = open_store(f"memory://{uuid.uuid4()}", create=True).neuron_sets
    digest = kept.put(indices, width)
    # An oracle of its own for what must be readable for ever: the bytes, and the name that they decide.
    data = struct.pack(f"<{len(indices) + 1}q", width, *indices)
    assert digest == digest_of(indices, width) == hashlib.sha256(b"drfarm neuron set 1\0" + data).hexdigest()
    assert kept._objects.get(f"neurons/{digest}.int64") == data
    found, layer_width = kept.get(digest)
    assert (found.dtype, found.tolist(), layer_width) == (np.int64, indices.tolist(), width)
    found[0] = 7  # the caller's own copy
    assert kept.digests() == [digest]


@given(sets, sets)
def test_other_sets_have_other_digests(a, b):
    assert (digest_of(np.array(a[0]), a[1]) == digest_of(np.array(b[0]), b[1])) == (a == b)


def test_the_dtype_of_the_indices_does_not_matter_and_a_double_writes_nothing(store):
    indices = np.array([1, 5, 9])
    digests = {store.neuron_sets.put(indices.astype(t), 10) for t in (np.int64, np.int32, np.uint16, ">i8")}
    assert len(digests) == 1
    (before,) = store.objects.list("neurons")
    store.neuron_sets.put(indices, 10)
    assert store.objects.list("neurons") == [before]
    assert pickle.loads(pickle.dumps(store)).neuron_sets.get(before.key[8:-6])[1] == 10


@pytest.mark.parametrize(
    "indices, width, message",
    [
        ([3, 1], 10, "ascending, without doubles"),
        ([1, 1], 10, "ascending, without doubles"),
        ([2, 10], 10, "from 0 to 9; got 2 indices from 2 to 10"),
        ([-1, 3], 10, "from -1 to 3"),
        ([0, 5, 3, 9], 10, "Give `numpy.unique` of them"),
        ([0], 0, "from 0 to -1"),
        ([], 10, "at least one index, got float64"),
        ([[1]], 10, "at least one index"),
        ([0.5], 10, "at least one index, got float64"),
        ([True], 10, "at least one index, got bool"),
    ],
)
def test_what_is_no_set_is_refused(store, indices, width, message):
    for act in (store.neuron_sets.put, digest_of):
        with pytest.raises(InvalidRequest, match=message):
            act(np.array(indices), width)
    assert store.objects.list("neurons") == []


def test_an_unknown_set(store):
    with pytest.raises(NotFound, match=r"there is no set of neurons 0{64}\. Plan its study again"):
        store.neuron_sets.get("0" * 64)
    for bad in ("", "..", "0" * 63, "../" + "0" * 61, "0" * 64 + "\n"):
        with pytest.raises(InvalidRequest, match="no digest of neurons"):
            store.neuron_sets.get(bad)


def test_every_flip_and_every_cut_is_noticed_and_heals(store):
    indices = np.arange(0, 40, 3)
    digest = store.neuron_sets.put(indices, 50)
    name = f"neurons/{digest}.int64"
    data = store.objects.get(name)
    assert len(data) == 8 * (len(indices) + 1)
    bad = [bytes(b ^ (1 << (i % 8)) if i == place else b for i, b in enumerate(data)) for place in range(len(data))]
    for flipped in [*bad, data[:-1], data[:-8], data + b"\0" * 8, b""]:
        store.objects.put(name, flipped)
        with pytest.raises(Corrupt, match=rf"{name} is not what was written.*verify --discard"):
            store.neuron_sets.get(digest)
    (problem,) = (c.problem for c in verify(store) if c.problem)
    assert (problem.kind, problem.name) == ("neurons", name)
    assert store.neuron_sets.put(indices, 50) == digest  # what is damaged is put anew
    assert store.objects.get(name) == data
    assert [c.problem for c in verify(store)] == [None]
    store.objects.put(name, b"x")
    problem.discard()
    assert store.neuron_sets.digests() == []


def test_a_stray_object_is_named(store):
    store.objects.put("neurons/readme.txt", b"?")
    (problem,) = (c.problem for c in verify(store) if c.problem)
    assert (problem.kind, problem.name) == ("neurons", "neurons/readme.txt")
    assert store.neuron_sets.digests() == []
