"""The kernel ends processes with their parent, whatever they are at; no other way is tested than the real one."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from store.orphans import lifeline, tie

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only this kernel is asked")

_TIED = "import sys, time; from store.orphans import tie; tie(sys.argv[1]); print('tied', flush=True); time.sleep(600)"

_PARENT = """
    import os, subprocess, sys, threading, time
    from store.orphans import lifeline

    {before}
    def start():
        child = subprocess.Popen([sys.executable, "-c", {child!r}, lifeline()], stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "tied\\n"
        print(child.pid, flush=True)

    thread = threading.Thread(target=start)  # which ends while its process lives
    thread.start()
    thread.join()
    {after}
    time.sleep(600)
"""


@pytest.fixture
def family():
    """Start a process with a tied child; yield both."""
    started = []

    def start(*, before: str = "", after: str = "") -> tuple[subprocess.Popen, psutil.Process]:
        script = textwrap.dedent(_PARENT).format(child=_TIED, before=before, after=after)
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        started.append(parent)
        child = psutil.Process(int(parent.stdout.readline()))
        started.append(child)
        return parent, child

    yield start
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        if isinstance(process, subprocess.Popen):
            process.wait()
            process.stdout.close()


def is_over(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition, timeout_s: float = 20):
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_one_that_made_the_lifeline(family, stopped, number):
    parent, child = family()
    if stopped:
        child.suspend()
        wait_for(lambda: child.status() == psutil.STATUS_STOPPED)
    parent.send_signal(number)
    wait_for(lambda: is_over(child))
    assert parent.wait() == -number


def test_it_lives_as_long_as_that_does(family):
    parent, child = family()
    child.suspend()
    time.sleep(0.5)
    assert child.is_running()
    child.resume()
    wait_for(lambda: child.status() == psutil.STATUS_SLEEPING)
    assert parent.poll() is None


def test_a_process_that_was_forked_from_the_parent_keeps_nobody_alive(family):
    parent, child = family(after="os.fork() or time.sleep(600); print('forked', flush=True)")
    forked = psutil.Process(parent.pid).children()
    try:
        assert parent.stdout.readline() == "forked\n"
        forked = [p for p in psutil.Process(parent.pid).children() if p != child]
        assert len(forked) == 1
        child.suspend()
        parent.kill()
        wait_for(lambda: is_over(child))
        assert not is_over(forked[0])  # it was not tied itself
    finally:
        for process in forked:
            process.kill()


@pytest.mark.parametrize("reaped", [False, True])
def test_who_comes_too_late_ends_at_once(family, reaped):
    parent, child = family()
    line = f"{parent.pid}:5"
    parent.kill()
    if reaped:
        parent.wait()
    wait_for(lambda: is_over(child))
    late = subprocess.run([sys.executable, "-c", _TIED, line], check=False, capture_output=True, timeout=60)
    assert late.returncode == -signal.SIGKILL
    assert late.stdout == b""


def test_there_is_one_for_a_process_and_its_files_are_not_inherited():
    assert lifeline() == lifeline()
    pid, _, reading = lifeline().partition(":")
    assert int(pid) == os.getpid()
    assert not os.get_inheritable(int(reading))


def test_one_whose_files_are_not_shown_is_left_alone():
    """As on hardened systems: of a process that lives, nothing that could be opened there is found."""
    code = _TIED.replace("time.sleep(600)", "")
    left = subprocess.run(
        [sys.executable, "-c", code, f"{os.getpid()}:{2**20}"], check=False, capture_output=True, timeout=60
    )
    assert left.returncode == 0
    assert left.stdout == b"tied\n"


def test_where_there_is_no_lifeline_nothing_is_tied(monkeypatch):
    tie("")
    monkeypatch.setattr(sys, "platform", "darwin")
    tie("1:2")
    assert lifeline.__wrapped__() == ""


@pytest.mark.parametrize("line", ["x:y", "1"])
def test_what_is_no_lifeline_is_refused(line):
    with pytest.raises(ValueError, match=r"invalid literal|not enough values"):
        tie(line)
