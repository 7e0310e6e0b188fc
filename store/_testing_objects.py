"""The contract of `Objects`, as a test class: named bytes on any kind of storage."""

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from store.errors import Corrupt, InvalidRequest, NotFound
from store.objects import Objects, open_objects

LARGE_BYTES = 40 * 2**20 + 3
"""Size of a large object: beyond the parts in which buckets are written and read."""

_RACER = """
import sys, time
from store.objects import open_objects
url, me, start = sys.argv[1], sys.argv[2], float(sys.argv[3])
objects = open_objects(url)
time.sleep(max(0.0, start - time.time()))
print(sum(objects.put_new(f"race/{i}", f"{me}-{i}".encode() * 50) for i in range(20)))
"""

_KILLED = """
import sys
from store.objects import open_objects
objects, data = open_objects(sys.argv[1]), bytes(range(256)) * (3 * 2**16)
print("ready", flush=True)
for i in range(1000):
    objects.put(f"killed/{i}", data)
"""


class ObjectsContract:
    """What every `Objects` must do. A subclass supplies the fixture ``objects``: an empty root."""

    def test_gets_what_was_put(self, objects: Objects) -> None:
        """Bytes and views of other buffers come back as they were, the empty object too."""
        for key, data in {"a": b"", "b/c.json": b"{}", "b/d": bytes(range(256)) * 1000}.items():
            objects.put(key, data)
            assert objects.get(key) == data
        objects.put("b/view", memoryview(b"seen"))
        assert objects.get("b/view") == b"seen"

    def test_put_replaces(self, objects: Objects) -> None:
        """The last put wins, whether longer or shorter."""
        for data in (b"first", b"the second is longer", b"3"):
            objects.put("a/b", data)
            assert objects.get("a/b") == data

    def test_put_new_never_replaces(self, objects: Objects) -> None:
        """The first put wins, and says so."""
        assert objects.put_new("a/b", b"first") is True
        assert objects.put_new("a/b", b"second") is False
        assert objects.get("a/b") == b"first"

    def test_absent_objects(self, objects: Objects) -> None:
        """What is not there is `NotFound`, and a folder is no object."""
        objects.put("folder/object", b"1")
        for key in ("absent", "folder/absent", "no/such/folder"):
            assert objects.exists(key) is False
            with pytest.raises(NotFound, match=key):
                objects.get(key)
            with pytest.raises(NotFound, match=key):
                objects.read_into(key, memoryview(bytearray(1)))
        assert objects.exists("folder/object") is True
        assert objects.exists("folder") is False

    def test_read_into_fills_the_buffer_exactly(self, objects: Objects) -> None:
        """A buffer of another size is refused, whichever is longer."""
        objects.put("a", b"12345678")
        buffer = bytearray(8)
        objects.read_into("a", memoryview(buffer))
        assert buffer == b"12345678"
        for size, word in ((7, "more"), (9, "fewer"), (0, "more")):
            with pytest.raises(Corrupt, match=f"{word} than {size} bytes"):
                objects.read_into("a", memoryview(bytearray(size)))

    def test_lists_whole_folders_in_order(self, objects: Objects) -> None:
        """A prefix is a folder: names that only begin alike are not in it."""
        before = datetime.now(UTC) - timedelta(minutes=1)
        for key in ("a/c/2", "a/b", "a/c/1", "ab", "b/a"):
            objects.put(key, key.encode())
        assert [o.key for o in objects.list("a")] == ["a/b", "a/c/1", "a/c/2"]
        assert [o.key for o in objects.list("")] == ["a/b", "a/c/1", "a/c/2", "ab", "b/a"]
        assert objects.list("absent") == []
        (info,) = objects.list("b")
        assert (info.key, info.size_bytes) == ("b/a", 3)
        assert before < info.modified < datetime.now(UTC) + timedelta(minutes=1)

    def test_first_names_one_object(self, objects: Objects) -> None:
        """It is None exactly where the listing is empty."""
        assert objects.first("") is None
        for key in ("a/b", "a/c"):
            objects.put(key, b"1")
        assert objects.first("a") in ("a/b", "a/c")
        assert objects.first("b") is None

    def test_delete_is_idempotent(self, objects: Objects) -> None:
        """Deleting what is not there is no error, and others stay."""
        for key in ("a/b", "a/c"):
            objects.put(key, b"1")
        objects.delete(["a/b", "a/absent", "a/b"])
        assert [o.key for o in objects.list("")] == ["a/c"]

    def test_names_keep_their_characters(self, objects: Objects) -> None:
        """A name is the same when it is put, listed and got."""
        names = ["a%2Fb/%2E", "blocks.3,x/y+z@w", "caf\u00e9/\u4e2d~"]
        for name in names:
            objects.put(name, name.encode())
            assert objects.get(name) == name.encode()
        assert {o.key for o in objects.list("")} == set(names)

    @pytest.mark.parametrize("key", ["../outside", "a/../../outside", "a//b", "./a", "/a"])
    def test_names_stay_below_the_root(self, objects: Objects, key: str) -> None:
        """A name that could leave the root is refused everywhere."""
        with pytest.raises(InvalidRequest, match="can't name an object"):
            objects.get(key)
        with pytest.raises(InvalidRequest, match="can't name an object"):
            objects.put(key, b"1")
        with pytest.raises(InvalidRequest, match="can't name an object"):
            objects.delete([key])
        assert objects.list("") == []

    def test_pickles_by_address(self, objects: Objects) -> None:
        """A copy in another process sees the same objects."""
        objects.put("a", b"1")
        copy = pickle.loads(pickle.dumps(objects))
        assert copy.url == objects.url
        assert copy.get("a") == b"1"

    def test_large_objects(self, objects: Objects) -> None:
        """Objects of many parts come back whole, and a reader who knows the size reads them in place."""
        data = (b"%07d\n" * 1000 % tuple(range(1000)) * (LARGE_BYTES // 8000 + 1))[:LARGE_BYTES]
        objects.put("large", memoryview(data))
        assert objects.get("large") == data
        buffer, seen = bytearray(len(data)), bytearray()
        objects.read_into("large", memoryview(buffer), seen.extend)
        assert buffer == data
        assert seen == data
        with pytest.raises(Corrupt, match="more than"):
            objects.read_into("large", memoryview(bytearray(LARGE_BYTES - 1)))
        objects.put("large", b"small")
        with pytest.raises(Corrupt, match="fewer than"):
            objects.read_into("large", memoryview(bytearray(LARGE_BYTES)))
        assert objects.get("large") == b"small"

    def test_a_large_object_is_never_seen_in_part(self, objects: Objects) -> None:
        """Who looks while it is written and replaced sees nothing, the old one or the new one."""
        first, second = b"1" * LARGE_BYTES, b"2" * (LARGE_BYTES + 1)
        over = threading.Event()
        sizes: set[int] = set()
        torn: list[int] = []

        def look() -> None:
            while not over.is_set():
                sizes.update(o.size_bytes for o in objects.list("folder"))
                try:
                    if objects.get("folder/large") not in (first, second):
                        torn.append(1)
                except (NotFound, Corrupt):  # replaced while it was read: said so, not given in part
                    pass

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            for data in (first, second):
                objects.put("folder/large", data)
        finally:
            over.set()
            watcher.join()
        assert sizes <= {len(first), len(second)}
        assert not torn
        assert objects.get("folder/large") == second

    def test_one_of_many_threads_writes_a_new_object(self, objects: Objects) -> None:
        """Exactly one writer is told that it won, and its bytes are there."""
        with ThreadPoolExecutor(16) as pool:
            for i in range(5):
                gate = threading.Barrier(16)

                def write(me: int, name: str = f"race/{i}", gate: threading.Barrier = gate) -> bool:
                    gate.wait()
                    return objects.put_new(name, b"%04d" % me * 500)

                won = list(pool.map(write, range(16)))
                assert won.count(True) == 1, won
                assert objects.get(f"race/{i}") == b"%04d" % won.index(True) * 500

    def test_one_of_many_processes_writes_a_new_object(self, objects: Objects) -> None:
        """Writers in processes of their own: every object is won once."""
        if objects.url.startswith("memory://"):
            pytest.skip("memory is of one process")
        start = datetime.now(UTC).timestamp() + 1.5
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", _RACER, objects.url, str(me), str(start)], stdout=subprocess.PIPE, text=True
            )
            for me in range(3)
        ]
        counts = [int(p.communicate(timeout=120)[0]) for p in racers]
        assert sum(counts) == 20, counts
        for i in range(20):
            data = objects.get(f"race/{i}")
            assert data in [f"{me}-{i}".encode() * 50 for me in range(3)]

    def test_a_writer_that_is_killed_leaves_whole_objects(self, objects: Objects) -> None:
        """Killed in the middle of a put of 48 MiB: every object that can be seen is whole."""
        if objects.url.startswith("memory://"):
            pytest.skip("memory is of one process")
        writer = subprocess.Popen([sys.executable, "-c", _KILLED, objects.url], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()
        timer = threading.Event()
        while not objects.exists("killed/0"):
            timer.wait(0.02)
        timer.wait(0.05)
        writer.kill()
        writer.communicate()
        found = objects.list("killed")
        assert found
        assert {o.size_bytes for o in found} == {3 * 2**24}

    def test_many_objects_are_listed_and_removed(self, objects: Objects) -> None:
        """More names than a page of a listing and than one bulk delete take; others stay."""
        names = [f"many/{i:05d}" for i in range(1200)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: objects.put(name, b"1"), names))
        objects.put("manyfold", b"1")
        assert [o.key for o in objects.list("many")] == names
        objects.delete([*names, "many/absent"])
        assert objects.list("many") == []
        assert objects.exists("manyfold")

    def test_a_repr_names_the_address(self, objects: Objects) -> None:
        """It says where the root is."""
        assert objects.url in repr(objects)

    def test_opens_again_by_its_address(self, objects: Objects) -> None:
        """Another opening sees the same objects."""
        objects.put("a/b", b"1")
        assert open_objects(objects.url).get("a/b") == b"1"
