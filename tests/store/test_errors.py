import pickle

import pytest

from store import errors
from store.errors import DrfarmError, InvalidRequest, NotFound, StorageFailure, UnknownName

CLASSES = sorted(
    (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, DrfarmError)), key=lambda c: c.__name__
)


def test_there_are_as_many_as_the_docstring_draws():
    assert len(CLASSES) == 11
    for cls in CLASSES:
        assert cls.__name__ in errors.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_survives_the_trip_between_processes(cls):
    error = cls("the store at 's' is full: free some space.")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert copy.args == error.args
    assert str(copy) == "the store at 's' is full: free some space."


def test_refines_the_builtin_that_callers_know():
    assert issubclass(InvalidRequest, ValueError)
    assert issubclass(UnknownName, KeyError)
    assert issubclass(NotFound, KeyError)
    assert issubclass(StorageFailure, OSError)


@pytest.mark.parametrize(
    "got, near", [("lz5", "lz4"), ("LZ4", "lz4"), ("Zstandard", "zstd"), ("zst", "zstd"), ("", None)]
)
def test_an_unknown_name_suggests_the_nearest(got, near):
    error = UnknownName.among("codec", got, ["zstd", "lz4", "none"], where="study.yaml: codec")
    assert str(error).startswith(f"study.yaml: codec: there is no codec {got!r}.")
    assert ("Did you mean" in str(error)) is (near is not None)
    assert near is None or f"Did you mean {near!r}?" in str(error)
    assert str(error).endswith("Known: lz4, none, zstd.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_long_list_is_cut():
    names = [f"layer{i:03d}" for i in range(100)]
    assert "Known" not in str(UnknownName.among("layer", "layer01", names))
    assert str(UnknownName.among("layer", "conv", names)).endswith("layer011, ... (100 in all).")


def test_nothing_to_suggest():
    assert str(UnknownName.among("layer", "x", [])) == "there is no layer 'x'."
