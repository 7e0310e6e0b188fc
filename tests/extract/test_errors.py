import pickle

import pytest

import extract.errors
from store.errors import DrfarmError

CLASSES = sorted(
    (v for v in vars(extract.errors).values() if isinstance(v, type) and v.__module__ == "extract.errors"),
    key=lambda c: c.__name__,
)


def test_every_error_is_drawn_in_the_tree():
    assert len(CLASSES) == 13
    for cls in CLASSES:
        assert f"── {cls.__name__} " in extract.errors.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_the_trip_between_processes(cls):
    error = pickle.loads(pickle.dumps(cls("expected this, got that")))
    assert type(error) is cls
    assert isinstance(error, DrfarmError)
    assert str(error) == "expected this, got that"
