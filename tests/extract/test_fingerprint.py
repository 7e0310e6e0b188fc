"""What a split is called for ever, and what may be believed of a fingerprint that was kept."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import extract._folder
from extract import DatasetSpec, fingerprint, open_samples
from extract._fingerprint import cached_fingerprint, manifest_digest
from extract._kept import keep, kept
from extract._stamp import Stamp, sizes_and_times


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Keep fingerprints of small splits too, at once, in a folder of the test's own."""
    monkeypatch.setenv("DRFARM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("extract._fingerprint.KEPT_BYTES", 0)
    monkeypatch.setattr("extract._stamp.SETTLED_S", -60.0)
    return tmp_path / "cache" / "fingerprints"


@pytest.fixture
def pets(tmp_path, write_images):
    write_images(tmp_path / "pets", {"train": {"cat": 3, "dog": 2}})
    spec = DatasetSpec(name="d", source=f"folder:{tmp_path}/pets", splits={"train": "train"})
    return lambda: open_samples(spec, "train")


@pytest.fixture
def reads(monkeypatch):
    """Count the samples whose content is read."""
    seen = []
    content = extract._folder.FolderSamples.content
    monkeypatch.setattr("extract._folder.FolderSamples.content", lambda self, i: seen.append(i) or content(self, i))
    return seen


def test_values_are_those_of_stores_that_exist():
    digits = DatasetSpec(name="d", source="sklearn:digits", splits={"train": "train", "test": "test"})
    test = open_samples(digits, "test")
    assert manifest_digest(test) == "01c65f0e31729c27c46b29487d3d09f700ba28d1f1769cc14a42387f37c04259"
    expected = "59102b1c8e4bbf5a3868521bac30690c1bcf0b9096bfd90074f2e4dbd0714392"
    assert fingerprint(test) == cached_fingerprint(test, place="x") == expected


def test_a_kept_fingerprint_reads_nothing(cache, pets, reads):
    first = cached_fingerprint(pets(), place="here")
    assert first == fingerprint(pets())
    assert len(list(cache.iterdir())) == 1
    reads.clear()
    assert cached_fingerprint(pets(), place="here") == first
    assert reads == []
    assert cached_fingerprint(pets(), place="elsewhere") == first
    assert reads == [0, 1, 2, 3, 4]


def put_back(file, old: os.stat_result):
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))


@pytest.mark.parametrize("change", ["content", "content in old clothes", "size", "name", "time", "new", "gone"])
def test_what_changes_finds_nothing(cache, pets, reads, tmp_path, change):
    before = cached_fingerprint(pets(), place="here")
    file = tmp_path / "pets/train/dog/001.png"
    old, content = file.stat(), bytearray(file.read_bytes())
    time.sleep(0.02)  # a tick of the file system's clock
    if change.startswith("content"):
        content[-1] ^= 1
        file.write_bytes(content)
        if change != "content":
            put_back(file, old)
            assert file.stat().st_mtime_ns == old.st_mtime_ns
    elif change == "size":
        file.write_bytes(content + b"x")
        put_back(file, old)
    elif change == "name":
        file.rename(file.with_name("002.png"))
    elif change == "time":
        os.utime(file)
    elif change == "new":
        file.with_name("002.png").write_bytes(content)
    else:
        file.unlink()
    reads.clear()
    after = cached_fingerprint(pets(), place="here")
    assert len(reads) == len(pets())
    assert after == fingerprint(pets())
    assert (after == before) == (change == "time")


@pytest.mark.parametrize("damage", [b"", b"x", "flip", "cut", "other"])
def test_damaged_entries_are_ignored_and_written_again(cache, pets, reads, damage):
    first = cached_fingerprint(pets(), place="here")
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    other = bytearray(whole)
    other[-1] ^= 1  # another digit in the digest itself
    bad = {"flip": bytes(other), "cut": whole[:-5], "other": whole[:64] + b"0" * (len(whole) - 64)}.get(damage, damage)
    entry.write_bytes(bad)
    reads.clear()
    assert cached_fingerprint(pets(), place="here") == first
    assert len(reads) == 5
    assert entry.read_bytes() == whole


def test_what_has_just_changed_is_not_kept(cache, pets, monkeypatch):
    monkeypatch.setattr("extract._stamp.SETTLED_S", 2.0)
    assert cached_fingerprint(pets(), place="here") == fingerprint(pets())
    assert not cache.exists()


def test_small_splits_leave_no_trace(tmp_path, pets, monkeypatch):
    monkeypatch.setenv("DRFARM_CACHE", str(tmp_path / "cache"))
    cached_fingerprint(pets(), place="here")
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_refuses_only_costs_time(cache, pets):
    cache.parent.write_text("a file where the folder should be")
    assert cached_fingerprint(pets(), place="here") == fingerprint(pets())


def test_classes_that_are_kept_have_a_fingerprint_of_their_own(cache, tmp_path, write_images):
    write_images(tmp_path / "pets", {"train": {"cat": 3, "dog": 2, "eel": 1}})
    spec = DatasetSpec(name="d", source=f"folder:{tmp_path}/pets", splits={"train": "train"})
    whole = open_samples(spec, "train")
    part = open_samples(replace(spec, classes=("dog", "cat")), "train")
    digests = [cached_fingerprint(s, place="here") for s in (whole, part, whole, part)]
    assert digests[:2] == digests[2:] == [fingerprint(whole), fingerprint(part)]
    assert digests[0] != digests[1]


def test_arrays_are_stamped_by_their_file(cache, tmp_path, monkeypatch):
    x = np.zeros((4, 2, 2), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.array([0, 1, 0, 1]))
    spec = DatasetSpec(name="d", source=f"npz:{tmp_path}/a.npz", splits={"train": "train"})
    first = cached_fingerprint(open_samples(spec, "train"), place="here")
    time.sleep(0.02)
    x[3, 1, 1] = 1
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.array([0, 1, 0, 1]))
    again = open_samples(spec, "train")
    assert cached_fingerprint(again, place="here") == fingerprint(again) != first


def test_many_writers_leave_one_whole_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("DRFARM_CACHE", str(tmp_path))
    payload = bytes(range(256)) * 100
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: keep("things", "one", payload), range(40)))
    assert kept("things", "one") == payload
    assert kept("things", "two") is None
    assert len(list((tmp_path / "things").iterdir())) == 1


def test_files_are_looked_at_in_order(tmp_path):
    paths = []
    for i in range(9000):
        paths.append(str(tmp_path / f"{i}"))
        if i % 3000 != 7:
            (tmp_path / f"{i}").write_bytes(b"x" * (i % 5))
    sizes, times_ns, missing = sizes_and_times(paths)
    assert missing == [7, 3007, 6007]
    good = np.ones(9000, bool)
    good[missing] = False
    assert np.array_equal(sizes[good], (np.arange(9000) % 5)[good])
    assert times_ns[100].tolist() == [(tmp_path / "100").stat().st_mtime_ns, (tmp_path / "100").stat().st_ctime_ns]
    assert Stamp.of(times_ns).newest_ns == times_ns.max()
    assert Stamp.of(times_ns).digest != Stamp.of(times_ns[::-1]).digest
    assert not Stamp.of(np.array([[time.time_ns() + 10**12] * 2])).settled  # a server whose clock runs ahead
    assert Stamp.of(np.array([[time.time_ns() - 10**10] * 2])).settled
