"""The face of the package: complete, sorted, and light."""

import pickle
import subprocess
import sys

import pytest

import probe
from probe import errors


def test_all_is_sorted_and_complete():
    assert sorted(probe.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n)) == probe.__all__
    assert all(hasattr(probe, name) for name in probe.__all__)


@pytest.mark.parametrize("name", ["InvalidProbe", "Mismatch", "ProbeError"])
def test_errors_survive_the_trip_between_processes(name):
    error = getattr(errors, name)("what, where, what to do")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == "what, where, what to do"


def test_importing_loads_no_torch():
    code = "import sys, probe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
