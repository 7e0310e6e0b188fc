"""Exit codes that several threads ask for at once: all get the code, nobody 255."""

import os
import sys
import threading
from multiprocessing import forkserver, popen_forkserver

import pytest

from drfarm.farm._exit_codes import read_codes_once


class Asked(popen_forkserver.Popen):
    """One whose pipe the test writes to."""

    def __init__(self):
        self.returncode = None
        self.sentinel, self.tells = os.pipe()


@pytest.fixture
def process():
    made = Asked()
    yield made
    os.close(made.sentinel)


@pytest.fixture(autouse=True)
def _once(monkeypatch):
    monkeypatch.setattr(popen_forkserver.Popen, "poll", popen_forkserver.Popen.poll)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    read_codes_once()
    yield
    sys.setswitchinterval(before)


def end(process, code=None):
    if code is not None:
        forkserver.write_signed(process.tells, code)
    os.close(process.tells)


@pytest.mark.parametrize("round_", range(100))
def test_threads_that_ask_at_once_get_one_code(process, round_):
    got = []
    asking = [
        threading.Thread(target=lambda flag=flag: got.append(process.poll(flag)))
        for flag in (0, 0, os.WNOHANG, 0, os.WNOHANG)
    ]
    for thread in asking:
        thread.start()
    end(process, -11)
    for thread in asking:
        thread.join()
    assert set(got) <= {-11, None}
    assert got.count(-11) >= 3  # those that waited
    assert process.poll() == -11


def test_while_it_lives_there_is_none_and_of_one_that_nobody_tells_of_it_is_255(process):
    assert process.poll() is None
    end(process)
    assert process.poll() == 255
