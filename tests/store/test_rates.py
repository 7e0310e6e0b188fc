"""Rates are only predictions: the newest is kept, and what is damaged is as good as none."""

import math

import pytest

from store import InvalidRequest, verify
from store.testing import make_key


def problems(store):
    return [(c.problem.kind, c.problem.name) for c in verify(store) if c.problem]


def test_the_newest_wins_and_comes_last(store):
    rates = store.rates
    assert (rates.get("extraction", "cpu"), rates.all("extraction")) == (None, [])
    rates.put("extraction", "NVIDIA H200 / a b", {"images_per_s": 10.5})
    rates.put("extraction", "cpu", {"images_per_s": 2, "names": ["a"]})
    rates.put("probe", "cpu", {"flop_per_s": 1e12})
    rates.put("extraction", "NVIDIA H200 / a b", {"images_per_s": 11})
    assert rates.get("extraction", "NVIDIA H200 / a b") == {"images_per_s": 11}
    assert rates.all("extraction") == [{"images_per_s": 2, "names": ["a"]}, {"images_per_s": 11}]
    assert rates.all("probe") == [{"flop_per_s": 1e12}]
    assert len(store.objects.list("rates")) == 3
    assert problems(store) == []


def test_what_is_damaged_is_ignored_and_named(store):
    for key in ("cpu", "cuda"):
        store.rates.put("extraction", key, {"images_per_s": 7, "device": key})
    name = "rates/extraction/cpu.json"
    data = store.objects.get(name)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        store.objects.put(name, bytes(flipped))
        assert store.rates.get("extraction", "cpu") is None
        assert store.rates.all("extraction") == [{"images_per_s": 7, "device": "cuda"}]
    assert problems(store) == [("rate", name)]
    store.objects.put(name, store.objects.get("rates/extraction/cuda.json"))  # another's, whole
    assert store.rates.get("extraction", "cpu") is None
    assert problems(store) == [("rate", name)]
    store.rates.put("extraction", "cpu", {"images_per_s": 8})
    assert store.rates.get("extraction", "cpu") == {"images_per_s": 8}
    assert problems(store) == []
    store.objects.put(name, b"")
    for checked in verify(store):
        if checked.problem:
            checked.problem.discard()
    assert store.rates.all("extraction") == [{"images_per_s": 7, "device": "cuda"}]


@pytest.mark.parametrize("kind, record, message", [("../x", {}, "kind '../x'"), ("x", {"a": math.nan}, "JSON")])
def test_what_can_not_be_kept_is_refused(store, kind, record, message):
    with pytest.raises(InvalidRequest, match=message):
        store.rates.put(kind, "cpu", record)
    assert store.objects.list("rates") == []


def test_any_key_is_one_object(store):
    keys = ["", "..", "../../drfarm", "a/b", "a%2Fb", "x" * 999, make_key().path]
    for i, key in enumerate(keys):
        store.rates.put("k", key, {"i": i})
    assert [store.rates.get("k", key) for key in keys] == [{"i": i} for i in range(len(keys))]
    assert len(store.objects.list("rates/k")) == len(keys)
