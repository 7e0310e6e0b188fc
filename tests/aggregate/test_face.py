"""The face of the package: what it exports, what it costs to import, that its errors travel."""

import inspect
import pickle
import subprocess
import sys

import pytest

import aggregate
from aggregate import errors
from store.errors import DrfarmError, InvalidRequest

ERRORS = [value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__]


def test_exports_are_sorted_and_there():
    assert aggregate.__all__ == sorted(
        aggregate.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    assert all(hasattr(aggregate, name) for name in aggregate.__all__)
    assert {error.__name__ for error in ERRORS} <= set(aggregate.__all__)


def test_import_is_light():
    heavy = ("matplotlib", "scipy", "duckdb", "torch")
    code = f"import aggregate, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("error", ERRORS)
def test_errors_survive_pickling(error):
    original = error("expected this, got that")
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is error
    assert copy.args == original.args
    assert str(copy) == "expected this, got that"
    assert isinstance(copy, DrfarmError)


def test_wrong_requests_are_recognised_as_such():
    assert issubclass(errors.InvalidOption, InvalidRequest)
    assert issubclass(errors.InvalidTable, InvalidRequest)
    assert not issubclass(errors.ConflictingResults, InvalidRequest)
