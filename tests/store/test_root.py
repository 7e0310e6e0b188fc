import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest

from store import Corrupt, InvalidRequest, NotFound, Store, UnsupportedFormat, open_store, verify

FROZEN = Path(__file__).parents[1] / "data" / "store_format_1"


def test_a_store_is_made_only_when_asked(tmp_path):
    with pytest.raises(NotFound, match="there is no store"):
        open_store(tmp_path / "s")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match=r"there is no drfarm store at .*empty .no drfarm.json in it"):
        open_store(tmp_path / "empty")
    made = open_store(tmp_path / "empty", create=True)
    assert open_store(tmp_path / "empty").url == made.url == str(tmp_path / "empty")
    assert made.objects.get("drfarm.json") == b'{"store_format":1}'


def test_a_folder_that_is_no_store_is_refused_and_untouched(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "thesis.txt").write_text("mine")
    with pytest.raises(UnsupportedFormat, match=r"not empty: it holds 'below/thesis.txt'. Choose an empty folder"):
        open_store(tmp_path, create=True)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["below", "below/thesis.txt"]


@pytest.mark.parametrize("mark", [b'{"store_format":2}', b'{"store_format":"1"}', b"{}", b'{"stnre_format":1}'])
def test_a_newer_store_is_refused_and_untouched(store, mark):
    store.objects.put("drfarm.json", mark)
    for create in (True, False):
        with pytest.raises(UnsupportedFormat, match=r"this drfarm reads and writes format 1\. Upgrade drfarm"):
            open_store(store.url, create=create)
    assert store.objects.get("drfarm.json") == mark


@pytest.mark.parametrize("mark", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_mark_says_what_it_must_read(store, mark):
    store.objects.put("drfarm.json", mark)
    with pytest.raises(Corrupt, match=r'drfarm.json is damaged. .* write {"store_format":1} into it'):
        open_store(store.url, create=True)
    store.objects.put("drfarm.json", b'{"store_format":1}')
    assert open_store(store.url).url == store.url


def test_no_flip_of_the_mark_goes_unnoticed(store):
    mark = store.objects.get("drfarm.json")
    for bit in range(8 * len(mark)):
        flipped = bytearray(mark)
        flipped[bit // 8] ^= 1 << bit % 8
        store.objects.put("drfarm.json", bytes(flipped))
        with pytest.raises((Corrupt, UnsupportedFormat), match=r"is damaged|has store format"):
            open_store(store.url)


def test_studies_are_kept_by_name(store):
    store.put_study("a", {"study": "a", "seeds": [1, 2]})
    store.put_study("b", {"study": "b"})
    store.put_study("a", {"study": "a", "seeds": [3]})
    assert store.studies() == [{"study": "a", "seeds": [3]}, {"study": "b"}]
    with pytest.raises(InvalidRequest, match=r"study '../drfarm': a name has"):
        store.put_study("../drfarm", {})
    data = store.objects.get("studies/a.json")
    store.objects.put("studies/a.json", data.replace(b"3", b"7"))
    with pytest.raises(Corrupt, match=r"studies/a\.json is not the JSON that was written"):
        store.studies()


def test_a_study_says_which_representations_it_names(store):
    a, b = "a" * 64, "b" * 64
    store.put_study("s", {"study": "s"}, representations=[b, a, b])
    store.put_study("old", {"study": "old"})
    store.put_study("none", {"study": "none"}, representations=iter(()))
    assert store.studies() == [
        {"study": "none", "representations": []},
        {"study": "old"},
        {"study": "s", "representations": [a, b]},
    ]
    assert store.named_representations() == {"none": frozenset(), "old": None, "s": frozenset({a, b})}
    store.drop_study("old")
    store.drop_study("old")
    assert set(store.named_representations()) == {"none", "s"}
    with pytest.raises(InvalidRequest, match=r"study '../drfarm': a name has"):
        store.drop_study("../drfarm")


def test_verify_names_a_study_that_is_damaged(store):
    for name in "ab":
        store.put_study(name, {"study": name}, representations=["a" * 64])
    data = store.objects.get("studies/a.json")
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        store.objects.put("studies/a.json", bytes(flipped))
        with pytest.raises(Corrupt, match=r"studies/a\.json is not the JSON"):
            store.named_representations()
        (problem,) = (c.problem for c in verify(store) if c.problem)
        assert (problem.kind, problem.name) == ("study", "studies/a.json")
    problem.discard()
    assert [s["study"] for s in store.studies()] == ["b"]


def test_a_store_travels_by_its_address(store):
    copy = pickle.loads(pickle.dumps(store))
    assert isinstance(copy, Store)
    assert copy.url == store.url


def test_a_store_in_memory_is_shared_by_name(write_features):
    url = f"memory://{uuid.uuid4()}"
    writer, values, *_ = write_features(open_store(url, create=True))
    np.testing.assert_array_equal(open_store(url).features.open(writer.id).numpy(), values[0])
    assert all(c.problem is None for c in verify(open_store(url)))


def test_a_store_of_format_1_is_read_for_ever():
    # Made by make_frozen_store.py; never made anew.
    store = open_store(FROZEN)
    infos = store.features.catalogue()
    assert [(i.key.dtype, i.complete, i.n_chunks_done) for i in infos] == [
        ("float16", True, 6),
        ("float32", True, 3),
        ("float32", False, 1),
    ]
    values = (np.arange(35).reshape(7, 5) - 10) / 8
    for info in infos[:2]:
        features = store.features.open(info.key.id)
        for view in range(features.n_views):
            expected = (values + view).astype(info.key.dtype)
            if info.key.dtype == "float32":
                expected[4] = np.nan
            np.testing.assert_array_equal(features.numpy(view), expected)
        assert features.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert features.sample_ids == [f"caf\u00e9/{i}.png" for i in range(7)]
        assert features.classes == ("a", "b", "c")
    assert features.valid.tolist() == [True, True, True, True, False, True, True]
    assert store.results.jobs("probes") == {"p0", "p1", "p2", "p3"}
    assert store.results.jobs("cka") == {"c0"}
    assert store.results.table("probes", columns=["accuracy"])["accuracy"].to_pylist() == [0.0, 0.25, 0.5, 0.75]
    assert store.studies() == [{"study": "frozen"}]
    assert [f["batch_id"] for f in store.results.failures()] == ["bad"]
    checked = list(verify(store))
    assert [c.name for c in checked if c.problem] == []
    assert len(checked) > 30
    assert store.connect().sql("SELECT count(*) FROM probes").fetchall() == [(4,)]
