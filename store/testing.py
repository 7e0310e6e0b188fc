"""For tests, ours and others': the contract of `Objects`, and small keys and rows to store.

A test class for one kind of storage supplies only how to build it::

    class TestLocalFolder(ObjectsContract):
        @pytest.fixture
        def objects(self, tmp_path):
            return open_objects(tmp_path / "root", create=True)
"""

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store.errors import Corrupt, InvalidRequest, NotFound
from store.keys import RepresentationKey
from store.objects import Objects


def make_key(**changes: Any) -> RepresentationKey:
    """Return the key of a small representation, with some fields changed."""
    fields: dict[str, Any] = {
        "model": "tiny",
        "dataset": "digits",
        "split": "train",
        "layer": "penultimate",
        "weights": "sha256:0123",
        "architecture": "timm:tiny",
        "arguments": {"num_classes": 10},
        "pool": "none",
        "transform": "test-1",
        "transform_seed": None,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "input_size": 32,
        "dataset_fingerprint": "sha256:4567",
        "n_views": 1,
        "dtype": "float32",
    }
    return RepresentationKey(**{**fields, **changes})


def make_probe_row(batch_id: str, job_id: str, **changes: Any) -> dict[str, Any]:
    """Return one row of ``probes``, with some columns changed."""
    row = {
        "study": "s",
        "model": "tiny",
        "layer": "penultimate",
        "dataset": "digits",
        "solver": "sgd",
        "protocol": "paper",
        "method": "random",
        "seed": 1,
        "n_neurons": 5,
        "width": 10,
        "fraction": 0.5,
        "accuracy": 0.75,
        "n_test": 100,
        "class_accuracy": [0.5, 1.0],
        "predicted_count": [60, 40],
        "val_accuracy": None,
        "converged": True,
        "elapsed_s": 0.1,
        "batch_id": batch_id,
        "train_id": "a" * 64,
        "test_id": "b" * 64,
        "job_id": job_id,
        "hyperparameter": None,
        "gradient_norm": None,
    }
    return {**row, **changes}


def make_cka_row(batch_id: str, job_id: str, **changes: Any) -> dict[str, Any]:
    """Return one row of ``cka``, with some columns changed."""
    row = {
        "study": "s",
        "model": "tiny",
        "layer": "penultimate",
        "dataset": "digits",
        "kind": "part_whole",
        "method": "random",
        "seed": 1,
        "seed_b": None,
        "n_neurons": 5,
        "width": 10,
        "fraction": 0.5,
        "value": 0.9,
        "n_samples": 100,
        "batch_id": batch_id,
        "test_id": "b" * 64,
        "job_id": job_id,
        "elapsed_s": 0.1,
        "estimator": "biased",
        "ci_low": None,
        "ci_high": None,
    }
    return {**row, **changes}


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
