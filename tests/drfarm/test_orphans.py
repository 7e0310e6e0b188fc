"""A driver or a node that is killed outright leaves nobody behind, not even workers that are stopped."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel sees to it, and only this one does"),
]

_DRIVER = """
    import sys, time
    from drfarm.farm._local import local_farm
    from drfarm.farm.gpus import Place

    if __name__ == "__main__":
        with local_farm((Place(),) * 2, 0, networks={networks}) as farm:
            while len(farm.workers()) < 2:
                time.sleep(0.05)
            print(*(nanny.pid for nanny in farm.cluster.workers.values()), flush=True)
            time.sleep(600)
"""


@pytest.fixture
def drivers(tmp_path):
    started = []

    def start(networks: bool) -> subprocess.Popen:
        script = tmp_path / "driver.py"
        script.write_text(textwrap.dedent(_DRIVER).format(networks=networks))
        driver = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(driver)
        return driver

    yield start
    for driver in started:
        for process in session(driver):
            process.kill()
        driver.wait()
        driver.stdout.close()


def session(driver: subprocess.Popen) -> list[psutil.Process]:
    """Return who lives of the session of a driver, dead or not."""
    there = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == driver.pid and process.status() != psutil.STATUS_ZOMBIE:
                there.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return there


def until(found, timeout_s: float = 60):
    end = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
    return value


def forked(driver: subprocess.Popen) -> list[psutil.Process]:
    try:
        own = [c for c in psutil.Process(driver.pid).children() if c.status() != psutil.STATUS_ZOMBIE]
        return [w for child in own if "forkserver" in " ".join(child.cmdline()) for w in child.children()]
    except psutil.NoSuchProcess:  # it died meanwhile
        return []


def suspended(process: psutil.Process) -> bool:
    """Stop a process; False where it was a short one that what is loaded starts, and is over."""
    try:
        process.suspend()
    except psutil.NoSuchProcess:
        return False
    return True


@pytest.mark.parametrize("networks", [False, True])
def test_workers_that_are_stopped_end_with_their_driver(drivers, networks):
    driver = drivers(networks)
    workers = [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]
    assert len(workers) == 2
    for worker in workers:
        worker.suspend()
    time.sleep(0.5)
    assert {w.status() for w in workers} == {psutil.STATUS_STOPPED}
    driver.kill()
    until(lambda: not session(driver), 30)
    assert driver.wait() == -signal.SIGKILL


def test_one_that_was_just_born_ends_too(drivers):
    driver = drivers(networks=False)
    until(lambda: any(suspended(child) for child in forked(driver)))
    driver.kill()
    until(lambda: not session(driver), 30)


def test_a_fork_server_that_was_started_again_is_tied_too(drivers):
    driver = drivers(networks=False)
    before = set(map(int, driver.stdout.readline().split()))
    psutil.Process(forked(driver)[0].ppid()).kill()  # its workers go on
    psutil.Process(min(before)).kill()
    until(lambda: any(suspended(w) for w in forked(driver) if w.pid not in before))
    driver.kill()
    until(lambda: not session(driver), 30)
