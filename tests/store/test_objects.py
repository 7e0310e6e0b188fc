import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from store import InvalidRequest, NotFound, StorageFailure, open_store
from store.objects import open_objects
from store.testing import ObjectsContract


class TestLocalFolder(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path):
        return open_objects(tmp_path / "root", create=True)


class TestFileUrl(ObjectsContract):
    @pytest.fixture
    def objects(self, tmp_path):
        return open_objects(f"file://{tmp_path}/a%20root", create=True)

    def test_the_url_is_decoded(self, objects, tmp_path):
        objects.put("a", b"1")
        assert (tmp_path / "a root" / "a").read_bytes() == b"1"


class TestMemory(ObjectsContract):
    @pytest.fixture
    def objects(self):
        return open_objects(f"memory://{uuid.uuid4()}")


def test_an_absent_folder_is_not_made_unasked(tmp_path):
    with pytest.raises(NotFound, match=r"there is no store at .*absent"):
        open_objects(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_an_empty_address_is_refused():
    with pytest.raises(InvalidRequest, match="address is empty"):
        open_objects("")


def test_home_and_relative_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert open_objects("~/a", create=True).local_root == tmp_path / "a"
    assert open_objects("b", create=True).local_root == tmp_path / "b"


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageFailure, match="A file stands where a folder is needed"):
            open_store(place, create=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs Linux's /sys, which nobody can write")
def test_a_place_that_can_not_be_written():
    with pytest.raises(StorageFailure, match="read-only for this user: choose another store"):
        open_store("/sys/kernel/drfarm", create=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path):
    objects = open_objects(tmp_path / "s", create=True)
    (tmp_path / "s").chmod(0o555)
    with pytest.raises(StorageFailure, match="read-only for this user"):
        objects.put("a", b"1")


_FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from store import StorageFailure, open_store
objects = open_store(sys.argv[1]).objects
objects.put("kept", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for key in ("kept", "new"):
    try:
        objects.put(key, b"x" * 5000)
    except StorageFailure as e:
        print(e)
"""


def test_a_limit_on_file_sizes_leaves_nothing_half_written(tmp_path):
    objects = open_store(tmp_path / "s", create=True).objects
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path / "s")], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.count("a limit on file sizes is reached: raise it") == 2, done.stdout + done.stderr
    assert objects.get("kept") == b"old"
    assert [o.key for o in objects.list("")] == ["drfarm.json", "kept"]
    objects.put("new", b"x" * 5000)
    assert objects.get("new") == b"x" * 5000
