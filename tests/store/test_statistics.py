"""Named arrays beside the features: what is put comes back bit for bit, whole or not at all."""

import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from store import Corrupt, InvalidRequest, NotFound, UnsupportedFormat, _statistics_file
from store.codecs import checksum
from store.objects import open_objects
from store.statistics import StatisticsStore

ID, OTHER = "a" * 64, "b" * 64

# What format 1 is: it must be readable for ever. `np.arange(3.0)` under "mean", [[7], [-8]] under "counts".
FROZEN = bytes.fromhex(
    "6472667374617400a2000000000000007b22617272617973223a5b5b22636f756e7473222c223c6938222c5b322c315d"
    "5d2c5b226d65616e222c223c6638222c5b335d5d5d2c22666f726d6174223a312c22726570726573656e746174696f6e"
    "223a22616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161"
    "61616161616161616161616161616161616161222c22726f7773223a22616c6c227d0000000000000000000000000000"
    "0700000000000000f8ffffffffffffff0000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000f03f0000000000000040405d431aa4dcc3f2"
    "0b590644891ba3f4"
)


def as_bytes(arrays):
    return {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()}


class StatisticsContract:
    """What the statistics store does, whatever the storage. A subclass supplies the fixture ``kept``."""

    def test_gets_what_was_put(self, kept):
        arrays = {
            "mean": np.array([1.5, -0.0, np.nan, np.inf]),
            "scatter": np.arange(12.0).reshape(3, 4),
            "counts": np.array([3, -(2**62)]),
            "none": np.empty((0, 5)),
            "one": np.array(7),
        }
        assert kept.put(ID, "all", arrays) == f"statistics/{ID}/all.arrays"
        found = kept.get(ID, "all")
        assert as_bytes(found) == as_bytes(arrays)
        assert all(a.flags.aligned and a.flags.c_contiguous and a.flags.writeable for a in found.values())

    def test_one_object_is_one_put(self, kept):
        kept.put(ID, "all", {"mean": np.arange(3.0), "counts": np.arange(2)})
        assert [o.key for o in kept._objects.list("")] == [f"statistics/{ID}/all.arrays"]

    def test_a_double_is_the_same_bytes_and_the_last_put_wins(self, kept):
        name = kept.put(ID, "all", {"a": np.arange(3.0), "b": np.arange(2)})
        first = kept._objects.get(name)
        kept.put(ID, "all", {"b": np.arange(2), "a": np.arange(3.0)})
        assert kept._objects.get(name) == first
        kept.put(ID, "all", {"a": np.arange(4.0)})
        assert as_bytes(kept.get(ID, "all")) == as_bytes({"a": np.arange(4.0)})

    def test_listing_and_discarding(self, kept):
        assert kept.ids() == []
        for rep_id, rows in ((ID, "train-0.9-seed-0"), (ID, "all"), (OTHER, "all")):
            assert not kept.exists(rep_id, rows)
            kept.put(rep_id, rows, {"a": np.arange(3.0)})
            assert kept.exists(rep_id, rows)
        assert kept.ids() == [ID, OTHER]
        assert kept.rows(ID) == ["all", "train-0.9-seed-0"]
        kept.discard(ID, "all")
        kept.discard(ID, "all")
        assert kept.rows(ID) == ["train-0.9-seed-0"]
        kept.put(ID, "all", {"a": np.arange(3.0)})
        kept.discard(ID)
        kept.discard(ID)
        assert kept.ids() == [OTHER]
        assert kept.rows(ID) == []

    def test_what_is_not_there(self, kept):
        kept.put(ID, "all", {"a": np.arange(3.0)})
        for rep_id, rows in ((OTHER, "all"), (ID, "al"), (ID, "all.arrays"), (ID, "train")):
            with pytest.raises(NotFound, match=f"no statistics of rows '{rows}'"):
                kept.get(rep_id, rows)

    def test_names_that_are_refused(self, kept):
        for rows in ("", "a/b", "..", "-a", "a b", "x" * 121):
            for ask in (lambda r: kept.put(ID, r, {"a": np.arange(3.0)}), lambda r: kept.get(ID, r)):
                with pytest.raises(InvalidRequest, match="a name has 1 to 120"):
                    ask(rows)
        for rep_id in ("", "..", "A" * 64, "a" * 63, "a" * 64 + "\n"):
            with pytest.raises(InvalidRequest, match="expected 64 hexadecimal"):
                kept.put(rep_id, "all", {"a": np.arange(3.0)})
            with pytest.raises(InvalidRequest, match="expected 64 hexadecimal"):
                kept.discard(rep_id)
        assert kept._objects.first("") is None

    @pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "complex128", "U3", "O"])
    def test_other_dtypes_are_refused(self, kept, dtype):
        with pytest.raises(InvalidRequest, match="a must be float64 or int64"):
            kept.put(ID, "all", {"a": np.zeros(3).astype(dtype)})

    def test_no_array_is_refused(self, kept):
        with pytest.raises(InvalidRequest, match="no array"):
            kept.put(ID, "all", {})

    def test_an_object_under_another_name_is_refused(self, kept):
        name = kept.put(ID, "all", {"a": np.arange(3.0)})
        for rep_id, rows in ((OTHER, "all"), (ID, "train")):
            kept._objects.put(f"statistics/{rep_id}/{rows}.arrays", kept._objects.get(name))
            with pytest.raises(Corrupt, match=r"it is of rows 'all' of aaaa.*verify --discard"):
                kept.get(rep_id, rows)

    def test_a_newer_format_is_refused(self, kept):
        name = kept.put(ID, "all", {"a": np.arange(3.0)})
        data = kept._objects.get(name)[:-16].replace(b'"format":1', b'"format":2')
        kept._objects.put(name, data + bytes.fromhex(checksum(data)))
        with pytest.raises(UnsupportedFormat, match=r"all\.arrays has statistics format 2; .*Upgrade"):
            kept.get(ID, "all")

    def test_what_is_no_statistics_object(self, kept):
        for data in (b"", b"drfstat\0", b"x" * 100, b"drfstat\0" + (2**62).to_bytes(8, "little") + b"{}"):
            kept._objects.put(f"statistics/{ID}/all.arrays", data + bytes.fromhex(checksum(data)))
            with pytest.raises(Corrupt, match="it is no statistics object"):
                kept.get(ID, "all")
        data = b"drfstat\0" + (2).to_bytes(8, "little") + b"[]"
        kept._objects.put(f"statistics/{ID}/all.arrays", data + bytes.fromhex(checksum(data)))
        with pytest.raises(Corrupt, match="it has no header"):
            kept.get(ID, "all")

    def test_the_first_format_is_readable_for_ever(self, kept):
        kept._objects.put(f"statistics/{ID}/all.arrays", FROZEN)
        arrays = {"mean": np.arange(3.0), "counts": np.array([[7], [-8]])}
        assert as_bytes(kept.get(ID, "all")) == as_bytes(arrays)
        kept.put(ID, "all", arrays)
        assert kept._objects.get(f"statistics/{ID}/all.arrays") == FROZEN


class TestLocalFolder(StatisticsContract):
    @pytest.fixture
    def kept(self, tmp_path):
        return StatisticsStore(open_objects(tmp_path / "root", create=True))


class TestMemory(StatisticsContract):
    @pytest.fixture
    def kept(self):
        return StatisticsStore(open_objects(f"memory://{uuid.uuid4()}"))


@given(
    arrays=st.dictionaries(
        st.text(max_size=5),
        npst.arrays(st.sampled_from(["<f8", "<i8", ">f8", ">i8"]), npst.array_shapes(min_dims=0, min_side=0)),
        min_size=1,
        max_size=4,
    )
)
def test_every_array_comes_back_bit_for_bit(arrays):
    data = np.frombuffer(_statistics_file.encode(ID, "all", arrays), np.uint8)
    found = _statistics_file.decode(data, checksum(data[:-16]), rep_id=ID, rows="all", name="x")
    little = {n: a.astype(a.dtype.newbyteorder("<")) for n, a in arrays.items()}
    assert as_bytes(found) == as_bytes(little)


def test_transposed_and_strided_arrays():
    a = np.arange(24.0).reshape(4, 6)
    arrays = {"t": a.T, "s": a[::2, ::3]}
    data = np.frombuffer(_statistics_file.encode(ID, "all", arrays), np.uint8)
    found = _statistics_file.decode(data, checksum(data[:-16]), rep_id=ID, rows="all", name="x")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_whole_object_is_the_only_memory(store):
    store.statistics.put(ID, "all", {"a": np.arange(1000.0), "b": np.arange(10)})
    found = store.statistics.get(ID, "all")
    assert found["a"].base is not None
    assert found["a"].base is found["b"].base
