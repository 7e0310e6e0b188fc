"""Garbage collection: what a study names stays whole, what none names goes, and a kill in between harms nobody."""

import contextlib
import os
import time
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drfarm.collect import carry_out, collection_text, plan_collection
from store import Corrupt, InvalidRequest, Store, UnknownName, ledger, open_store, records, verify
from store.testing import make_key, make_probe_row

VALUES = np.arange(21, dtype=np.float32).reshape(7, 3)
LATER = datetime.now(UTC) + timedelta(hours=2)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


def write(store, name, *, seal=True, neurons=None, chunks=None, **key):
    """Write a representation whose weights are called ``name``; return its id."""
    digest = None if neurons is None else store.neuron_sets.put(np.array(neurons), 100)
    writer = store.features.create(
        make_key(weights=name, neurons=digest, **key),
        width=3,
        labels=np.arange(7) % 3,
        sample_ids=[str(i) for i in range(7)],
        classes=["a", "b", "c"],
        neurons=None if neurons is None else np.array(neurons),
        layer_width=None if neurons is None else 100,
        rows_per_chunk=3,
    )
    for view, chunk in writer.missing()[:chunks]:
        writer.write_chunk(view, chunk, VALUES[slice(*writer.span(chunk))])
    if seal:
        writer.seal()
        store.statistics.put(writer.id, "all", {"mean": VALUES.mean(0).astype(np.float64)})
    return writer.id


def age(store):
    """Make everything look two hours old."""
    before = time.time() - 7200
    for o in store.objects.list(""):
        os.utime(store.objects.local_root / o.key, (before, before))


def of(store, rep_id):
    return [o.key for o in store.objects.list("") if rep_id in o.key]


def everything(store):
    return {o.key: store.objects.get(o.key) for o in store.objects.list("")}


def assert_readable(store, rep_id):
    np.testing.assert_array_equal(store.features.open(rep_id).numpy(), VALUES)


def test_what_a_study_names_stays_and_the_rest_goes(store):
    kept, gone = write(store, "kept"), write(store, "gone")
    store.results.write("probes", "b", [make_probe_row("b", "j", train_id=gone, test_id=gone)])
    store.put_study("a", {"study": "a"}, representations=[kept, "0" * 64])
    before = everything(store)
    plan = plan_collection(store)
    assert everything(store) == before
    (removal,) = plan.removals
    assert (removal.what, removal.id, removal.path) == ("representation", gone, store.features.key(gone).path)
    assert set(removal.objects) == set(of(store, gone))
    assert removal.n_bytes == plan.n_bytes == sum(len(before[n]) for n in removal.objects)
    assert [(k.id, k.studies, k.why) for k in plan.kept] == [(kept, ("a",), None)]
    assert carry_out(store, plan) == plan.removals
    assert of(store, gone) == []
    assert {n: d for n, d in before.items() if gone not in n} == everything(store)
    assert_readable(store, kept)
    assert store.results.table("probes")["train_id"].to_pylist() == [gone]
    assert [c.problem for c in verify(store) if c.problem] == []
    assert plan_collection(store).removals == ()


def test_the_order_of_removal(store):
    rep_id = write(store, "gone")
    (removal,) = plan_collection(store).removals
    assert removal.objects[0] == ledger.complete_key(rep_id)
    assert removal.objects[-1] == ledger.opened_key(rep_id)
    assert len(removal.objects) == len(set(removal.objects))


def test_a_study_of_an_earlier_version_refuses(store):
    write(store, "any")
    store.put_study("old", {"study": "old"})
    store.put_study("new", {"study": "new"}, representations=[])
    plan = plan_collection(store)
    assert (plan.removals, plan.kept) == ((), ())
    assert "study 'old' was written down by an earlier drfarm" in collection_text(plan)
    before = everything(store)
    with pytest.raises(InvalidRequest, match=r"nothing was removed: study 'old' .* Run it again"):
        carry_out(store, plan)
    assert everything(store) == before
    store.put_study("old", {"study": "old"}, representations=[])
    assert len(plan_collection(store).removals) == 1


def test_a_study_that_can_not_be_read_refuses(store):
    rep_id = write(store, "any")
    store.put_study("a", {"study": "a"}, representations=[rep_id])
    good = plan_collection(store, without=["a"])
    store.objects.put("studies/a.json", store.objects.get("studies/a.json").replace(rep_id.encode(), b"0" * 64))
    plan = plan_collection(store)
    assert (plan.removals, len(plan.refusals)) == ((), 1)
    assert "a study can't be read, so what it needs is unknown: studies/a.json" in collection_text(plan)
    with pytest.raises(InvalidRequest, match=r"nothing was removed: a study can't be read.*studies/a\.json"):
        carry_out(store, plan)
    with pytest.raises(Corrupt, match=r"studies/a\.json is not the JSON"):  # it was good when that was planned
        carry_out(store, good)
    assert_readable(store, rep_id)


def test_a_study_can_be_forgotten(store):
    shared, own = write(store, "shared"), write(store, "own")
    store.put_study("a", {"study": "a"}, representations=[shared, own])
    store.put_study("b", {"study": "b"}, representations=[shared])
    assert plan_collection(store).removals == ()
    plan = plan_collection(store, without=["a"])
    assert [r.id for r in plan.removals] == [own]
    assert "forgotten: a" in collection_text(plan)
    with pytest.raises(UnknownName, match=r"there is no study 'aa'\. Did you mean 'a'"):
        plan_collection(store, without=["aa"])
    assert [s["study"] for s in store.studies()] == ["a", "b"]
    carry_out(store, plan)
    assert [s["study"] for s in store.studies()] == ["b"]
    assert of(store, own) == []
    assert_readable(store, shared)
    assert carry_out(store, plan) == ()  # again: there is nothing left to do


def test_a_study_that_comes_in_between_keeps_what_it_needs(store):
    one, two = write(store, "one"), write(store, "two")
    plan = plan_collection(store)
    assert {r.id for r in plan.removals} == {one, two}
    store.put_study("late", {"study": "late"}, representations=[one])
    three = write(store, "three")  # of this one the person who agreed knew nothing
    assert [r.id for r in carry_out(store, plan)] == [two]
    assert_readable(store, one)
    assert_readable(store, three)


def test_what_may_be_being_written_is_left_alone(store):
    begun = write(store, "begun", seal=False, chunks=1)
    store.objects.delete([ledger.opened_key(write(store, "opening", seal=False, chunks=0))])
    plan = plan_collection(store)
    assert plan.removals == ()
    assert [k.why for k in plan.kept] == ["begun, and written to within the hour"] * 2
    assert {(r.what, r.why) for r in plan_collection(store, now=LATER).removals} == {
        ("representation", "no study names it"),
        ("leftover", "its ledger is gone"),
    }
    age(store)
    os.utime(store.objects.local_root / ledger.chunk_key(begun, 0, 0))  # one that was begun long ago, and goes on
    assert [r.what for r in plan_collection(store).removals] == ["leftover"]
    carry_out(store, plan_collection(store))
    assert store.features.info(begun).n_chunks_done == 1
    store.put_study("a", {"study": "a"}, representations=[begun])
    assert plan_collection(store, now=LATER).removals == ()


def test_orphans_go_even_where_a_study_names_them(store):
    named = write(store, "named")
    store.put_study("a", {"study": "a"}, representations=[named])
    store.features.forget(named)  # as `store verify --discard` does
    store.statistics.put("0" * 64, "all", {"mean": np.zeros(3)})
    age(store)
    plan = plan_collection(store)
    assert [(r.what, r.id) for r in plan.removals] == [("leftover", named), ("statistics", "0" * 64)]
    assert {r.why for r in plan.removals} == {"its ledger is gone"}
    again = plan_collection(store)
    write(store, "named")  # the study is run while a person looks at the plan
    assert [r.what for r in carry_out(store, plan)] == ["statistics"]
    assert_readable(store, named)
    store.features.forget(named)
    age(store)
    assert [r.what for r in carry_out(store, again)] == ["leftover"]
    assert of(store, named) == []


def test_one_that_is_begun_at_the_last_moment_is_spared(store):
    named = write(store, "named")
    store.features.forget(named)
    age(store)
    plan = plan_collection(store)

    class Late:
        def __getattr__(self, name):
            return getattr(store.objects, name)

        def exists(self, key):
            write(store, "named")
            return store.objects.exists(key)

    assert carry_out(Store(Late()), plan) == ()
    assert_readable(store, named)


def test_sets_of_neurons_go_with_the_last_that_keeps_them(store):
    one = write(store, "one", neurons=[3, 5, 9])
    two = write(store, "two", neurons=[3, 5, 9])
    other = write(store, "other", neurons=[3, 5, 8])
    unused = store.neuron_sets.put(np.array([1]), 2)
    digest = {i: store.features.key(i).neurons for i in (one, two, other)}
    store.put_study("a", {"study": "a"}, representations=[two])
    assert [r.id for r in plan_collection(store).removals if r.what == "neurons"] == []  # put within the hour
    age(store)
    plan = plan_collection(store)
    assert {r.id for r in plan.removals if r.what == "neurons"} == {digest[other], unused}
    store.put_study("b", {"study": "b"}, representations=["1" * 64])  # not begun: it may need any of them
    assert [r.what for r in plan_collection(store).removals] == ["representation"] * 2
    store.drop_study("b")
    carry_out(store, plan)
    assert store.neuron_sets.digests() == [digest[two]]
    assert store.features.open(two).neurons.tolist() == [3, 5, 9]
    assert [c.problem for c in verify(store) if c.problem] == []


def test_a_stand_in_is_kept_for_the_study_that_names_what_it_stands_in_for(store):
    narrow, unnamed = (write(store, w, seal=False, dtype="float16") for w in ("w", "v"))
    wide, other = (write(store, w) for w in ("w", "v"))
    for rep_id, stand_in in ((narrow, wide), (unnamed, other)):
        store.features.fall_back(rep_id, stand_in, "70000 is beyond float16")
    store.put_study("a", {"study": "a"}, representations=[narrow])
    scrap = ledger.chunk_key(narrow, 0, 2)
    store.objects.put(scrap, b"of a late writer")
    assert {(r.what, r.id) for r in plan_collection(store).removals} == {
        ("representation", other),
        ("leftover", narrow),
    }
    age(store)
    plan = plan_collection(store)
    assert {(r.what, r.id): set(r.objects) for r in plan.removals} == {
        ("representation", other): set(of(store, other)),
        ("leftover", unnamed): {ledger.fallback_key(unnamed)},
        ("leftover", narrow): {scrap},
    }
    assert [(k.id, k.studies) for k in plan.kept] == [(wide, ("a",))]
    carry_out(store, plan)
    assert store.features.fallback(narrow) == wide
    assert_readable(store, wide)
    store.put_study("a", {"study": "a"}, representations=[wide])  # as a plan that knows of the overflow names it
    age(store)
    assert plan_collection(store).removals == ()
    store.put_study("a", {"study": "a"}, representations=[narrow])
    store.objects.put(ledger.fallback_key(narrow), b"{}")
    assert "what stands in for a representation can't be read" in collection_text(plan_collection(store))


def test_what_a_newer_drfarm_wrote_stays(store):
    rep_id = write(store, "newer")
    name = ledger.opened_key(rep_id)
    record = records.from_bytes(store.objects.get(name), where=name)
    store.objects.put(name, records.to_bytes({**record, "format": 2}))
    plan = plan_collection(store, now=LATER)
    assert plan.removals == ()
    assert "Upgrade drfarm" in plan.kept[0].why
    store.objects.put(name, b"damaged")
    assert [r.id for r in plan_collection(store, now=LATER).removals] == [rep_id]


class Killed(Exception):
    pass


class Dying:
    """Objects whose process is killed before the n-th deletion."""

    def __init__(self, objects, left):
        self._objects, self.left = objects, left

    def __getattr__(self, name):
        return getattr(self._objects, name)

    def delete(self, keys):
        for key in keys:
            if not self.left:
                raise Killed("killed")
            self.left -= 1
            self._objects.delete([key])


def test_killed_at_any_step_nothing_half_removed_is_readable(store):
    kept, gone = write(store, "kept"), write(store, "gone")
    write(store, "orphan", neurons=[1, 2, 3])
    store.put_study("a", {"study": "a"}, representations=[kept])
    age(store)
    whole = {i: len(of(store, i)) for i in store.features.ids()}
    n_left = sum(len(r.objects) for r in plan_collection(store).removals)
    assert n_left > 20
    while n_left:
        with contextlib.suppress(Killed):
            carry_out(Store(Dying(store.objects, 1)), plan_collection(store))  # each run gets one step further
        n_left -= 1
        for rep_id, n_objects in whole.items():
            if store.features.status(rep_id) == "complete":
                assert len(of(store, rep_id)) == n_objects
                assert_readable(store, rep_id)
        assert sum(len(r.objects) for r in plan_collection(store).removals) == n_left
    assert of(store, gone) == []
    assert store.neuron_sets.digests() == []
    assert store.features.ids() == [kept]
    assert_readable(store, kept)


states = st.sampled_from(["complete", "begun", "forgotten", "fallen", "damaged"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(states, st.sets(st.sampled_from("ab"))), max_size=5), st.integers(0, 60))
def test_whatever_is_there_what_is_named_stays_and_nothing_else(there, kill_after):
    store = open_store(f"memory://{uuid.uuid4()}", create=True)
    named = {"a": [], "b": []}
    ids = []
    for i, (state, studies) in enumerate(there):
        rep_id = write(store, f"w{i}", seal=state == "complete", dtype="float16" if state == "fallen" else "float32")
        ids.append(rep_id)
        for study in studies:
            named[study].append(rep_id)
        if state == "forgotten":
            store.features.forget(rep_id)
        elif state == "fallen":
            store.features.fall_back(rep_id, f"{i:064x}", "because")
        elif state == "damaged":
            store.objects.put(ledger.opened_key(rep_id), b"?")
    for name, own in named.items():
        store.put_study(name, {"study": name}, representations=own)
    store.results.write("probes", "b", [make_probe_row("b", "j")])
    before = everything(store)
    plan = plan_collection(store, now=LATER)
    assert plan.refusals == ()
    assert [n for r in plan.removals for n in r.objects] == list(
        dict.fromkeys(n for r in plan.removals for n in r.objects)
    )
    gone = {n for r in plan.removals for n in r.objects}
    for rep_id, (state, studies) in zip(ids, there, strict=True):
        mine = {n for n in before if rep_id in n}
        if state == "forgotten":
            assert mine <= gone
        elif studies:
            assert not mine & gone
        else:
            assert mine <= gone
    assert all(any(i in n for i in ids) for n in gone)
    dying = Store(Dying(store.objects, kill_after))
    try:
        carry_out(dying, plan)
    except Killed:
        assert kill_after < len(gone)
    assert {n: d for n, d in before.items() if n not in gone}.items() <= everything(store).items()
    for rep_id, (state, _) in zip(ids, there, strict=True):
        if store.features.status(rep_id) == "complete":
            assert state == "complete"
            assert_readable(store, rep_id)
    text = collection_text(plan)
    assert "results stay, all of them" in text
    assert all(r.path in text for r in plan.removals)


def test_what_is_shown(store):
    kept, gone = write(store, "kept"), write(store, "gone", model="other")
    begun = write(store, "begun", seal=False, model="third")
    store.put_study("a", {"study": "a"}, representations=[kept])
    lines = collection_text(plan_collection(store)).splitlines()
    assert lines[0].split() == ["to", "remove", "path", "stored", "why"]
    assert lines[1].startswith(f"representation  features/other/digits/train/penultimate/{gone}")
    assert lines[1].endswith("KiB  no study names it")
    assert lines[2].endswith("KiB in all")
    assert lines[3].startswith("2 representations stay, ")
    assert lines[3].endswith("; study a names 1")
    assert lines[4] == f"  {store.features.key(begun).path}: begun, and written to within the hour"
    assert lines[5:] == ["results stay, all of them: they are small, and say what they were measured on."]


def test_an_empty_store(tmp_path):
    store = open_store(tmp_path / "empty", create=True)
    text = collection_text(plan_collection(store))
    assert text.splitlines() == [
        "there is nothing to remove.",
        "0 representations stay, 0 B",
        "note: no study names anything in this store.",
        "results stay, all of them: they are small, and say what they were measured on.",
    ]
    assert carry_out(store, plan_collection(store)) == ()
