"""A scheduler gives up silent workers whose host does not answer, and no others."""

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass, field

import pytest

from drfarm.farm import _lost_hosts
from drfarm.farm._lost_hosts import give_up_lost_hosts

SLEEP = asyncio.sleep


@dataclass
class Worker:
    address: str
    last_seen: float


@dataclass
class Scheduler:
    """What is asked of a scheduler."""

    workers: dict[str, Worker]
    removed: list[str] = field(default_factory=list)

    async def remove_worker(self, address, *, stimulus_id):
        assert stimulus_id.startswith("host-lost-")
        del self.workers[address]
        self.removed.append(address)


@pytest.fixture
def port():
    """A port where the system answers, and no process ever does: as that of a stopped worker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def shut():
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def watch(scheduler: Scheduler, monkeypatch, looks: int = 3) -> list[str]:
    """Let it look so many times; return the workers that were given up."""
    monkeypatch.setattr(_lost_hosts, "_LOOK_S", 0.0)
    n = 0

    async def sleep(seconds):
        nonlocal n
        n += 1
        if n > looks:
            raise asyncio.CancelledError
        await SLEEP(seconds)

    monkeypatch.setattr(_lost_hosts.asyncio, "sleep", sleep)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(give_up_lost_hosts(scheduler))
    assert n > looks
    return scheduler.removed


def workers(*found: tuple[str, float]) -> Scheduler:
    now = time.time()
    return Scheduler({address: Worker(address, now - silent_s) for address, silent_s in found})


def test_a_silent_worker_whose_host_does_not_answer_is_given_up(monkeypatch, shut):
    gone = f"tcp://127.0.0.1:{shut}"
    assert watch(workers((gone, 60.0)), monkeypatch) == [gone]


def test_a_silent_worker_whose_host_answers_is_busy(monkeypatch, port):
    assert watch(workers((f"tls://127.0.0.1:{port}", 3600.0)), monkeypatch) == []


def test_a_worker_that_was_just_heard_of_is_not_looked_after(monkeypatch, shut):
    assert watch(workers((f"tcp://127.0.0.1:{shut}", 0.0)), monkeypatch) == []


def test_where_many_workers_report_rarely_more_silence_is_allowed(monkeypatch, shut):
    silent = f"tcp://127.0.0.1:{shut}"
    many = [(f"tcp://10.0.0.1:{i}", 0.0) for i in range(1, 2000)]
    assert watch(workers((silent, 8.0), *many), monkeypatch) == []
    assert watch(workers((silent, 8.0)), monkeypatch) == [silent]


def test_a_worker_in_the_schedulers_own_process_is_always_there(monkeypatch):
    assert watch(workers(("inproc://127.0.0.1/1/2", 3600.0)), monkeypatch) == []


def test_one_that_can_not_be_given_up_does_not_end_the_watch(monkeypatch, shut):
    scheduler = workers((f"tcp://127.0.0.1:{shut}", 60.0))
    real, tries = scheduler.remove_worker, []

    async def fails_once(address, *, stimulus_id):
        tries.append(address)
        if len(tries) == 1:
            raise RuntimeError("busy")
        await real(address, stimulus_id=stimulus_id)

    scheduler.remove_worker = fails_once
    assert len(watch(scheduler, monkeypatch)) == 1
    assert len(tries) == 2
