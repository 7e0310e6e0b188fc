"""How OpenMP threads wait: set by the command before torch is loaded, unless the user has said how."""

import os
import subprocess
import sys

import pytest

from drfarm.openmp import SPINS, wait_briefly


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, str(SPINS)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_the_user_has_the_last_word(monkeypatch, given, expected):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    wait_briefly()
    found = os.environ.pop("GOMP_SPINCOUNT", None)
    assert found == expected


def test_the_command_says_it_before_torch_is_loaded():
    code = (
        "import sys, drfarm.__main__\n"
        "def told():\n"
        "    assert 'torch' not in sys.modules\n"
        "    print('before torch')\n"
        "drfarm.__main__.wait_briefly = told\n"
        "sys.argv = ['drfarm', '--version']\n"
        "drfarm.__main__.main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("before torch")
