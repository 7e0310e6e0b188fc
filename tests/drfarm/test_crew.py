"""Who works, as the scheduler says it: asked again and again from a thread of its own, and never in the way."""

import threading

import pytest

from drfarm.farm import crew
from drfarm.farm.dashboard import dashboard_line, dashboard_settings
from drfarm.progress import WorkerState

INFO = {
    "tcp://b": {"metrics": {"memory": 2000}, "memory_limit": 4000, "resources": {"GPU": 1}},
    "tcp://a": {"metrics": {}, "memory_limit": 0, "resources": None},
}


class Scheduler:
    """A client's scheduler: a fake at the boundary. Each answer is given once, the last for ever."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def scheduler_info(self, *, n_workers):
        assert n_workers == -1  # all of them
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"workers": answer}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(crew, "EVERY_S", 0.001)


def test_workers_are_told_by_address_with_their_memory():
    assert crew.worker_states(INFO) == (
        WorkerState(address="tcp://a", memory_bytes=0, memory_limit_bytes=0, gpu=False),
        WorkerState(address="tcp://b", memory_bytes=2000, memory_limit_bytes=4000, gpu=True),
    )
    assert [w.fullness for w in crew.worker_states(INFO)] == [0.0, 0.5]


def test_a_scheduler_that_does_not_answer_is_asked_again_and_another_client_may_take_over():
    told, enough = [], threading.Event()

    def tell(workers):
        told.append(len(workers))
        if len(told) == 3:
            enough.set()

    first = Scheduler(OSError("gone"), ValueError("closing"), INFO, TimeoutError("slow"))
    second = Scheduler({})
    asked = []

    def client():
        asked.append(1)
        return first if len(asked) <= 4 else second

    with crew.watched_crew(client, tell):
        assert enough.wait(30)
    assert told[:3] == [2, 0, 0]
    n = len(asked)
    assert not [t for t in threading.enumerate() if t.name == "drfarm-crew"]
    assert len(asked) == n


def test_nothing_is_asked_where_nobody_wants_to_know():
    def client():
        pytest.fail("it was asked")

    with crew.watched_crew(client, None):
        pass


def test_the_dashboard_is_for_this_machine_and_off_unless_asked_for():
    assert dashboard_settings(0) == {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    assert dashboard_line(8787) == "Dask's dashboard at http://127.0.0.1:8787/status"
