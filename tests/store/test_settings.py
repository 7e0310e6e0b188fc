"""The first to write a setting wins, whoever asks later and however many at once."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from store import Corrupt, InvalidRequest, open_store, verify


def test_the_first_writer_wins(store):
    settings = store.settings
    assert settings.get("batch-size/1") is None
    assert settings.put_new("batch-size/1", {"batch_size": 64}) == {"batch_size": 64}
    assert settings.put_new("batch-size/1", {"batch_size": 128}) == {"batch_size": 64}
    assert settings.put_new("batch-size/2", {"batch_size": 128}) == {"batch_size": 128}
    assert open_store(store.url).settings.get("batch-size/1") == {"batch_size": 64}
    assert [c.problem for c in verify(store)] == [None, None]


def test_many_at_once_agree(store):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: store.settings.put_new("n", {"batch_size": i}), range(40)))
    assert [f["batch_size"] for f in found] == [found[0]["batch_size"]] * 40
    assert store.settings.get("n") == found[0]


def test_one_that_is_removed_in_between_is_put_again(store):
    store.settings.put_new("n", {"batch_size": 1})

    class Removed:
        left = 1

        def __getattr__(self, name):
            return getattr(store.objects, name)

        def get(self, key):
            if self.left:
                self.left -= 1
                store.objects.delete([key])
            return store.objects.get(key)

    assert type(store.settings)(Removed()).put_new("n", {"batch_size": 2}) == {"batch_size": 2}


def test_what_is_damaged_is_refused_and_named(store):
    # Unlike a rate: a job that is resumed with another batch size would round differently half-way.
    store.settings.put_new("a/b", {"batch_size": 64})
    store.settings.put_new("c", {"batch_size": 64})
    name = "settings/a%2Fb.json"
    data = store.objects.get(name)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        store.objects.put(name, bytes(flipped))
        for act in (store.settings.get, lambda n: store.settings.put_new(n, {"batch_size": 64})):
            with pytest.raises(Corrupt, match=r"settings/a%2Fb\.json is not the JSON .*verify --discard"):
                act("a/b")
    store.objects.put(name, store.objects.get("settings/c.json"))
    with pytest.raises(Corrupt, match="holds no settings of this name"):
        store.settings.get("a/b")
    (problem,) = (c.problem for c in verify(store) if c.problem)
    assert (problem.kind, problem.name) == ("setting", name)
    problem.discard()
    assert store.settings.put_new("a/b", {"batch_size": 32}) == {"batch_size": 32}


def test_what_json_can_not_carry_is_refused(store):
    with pytest.raises(InvalidRequest, match="JSON"):
        store.settings.put_new("n", {"a": math.inf})
    assert store.settings.get("n") is None
