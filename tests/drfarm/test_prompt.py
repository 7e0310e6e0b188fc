"""Messages of a farm go at once, however its streams came to be."""

from types import SimpleNamespace

from drfarm.farm import FarmOptions, run_tasks
from drfarm.farm._prompt import send_at_once
from probe import Names, ProbeSetting, ProbeTask, SubsetGroup, sgd_protocol


def stream():
    return SimpleNamespace(interval=0.01)


def test_streams_of_the_client_and_of_the_worker_send_at_once():
    client = SimpleNamespace(scheduler_comm=stream())
    scheduler = SimpleNamespace(stream_comms={"a": stream(), "b": stream()})
    send_at_once(client, scheduler, "a")
    assert client.scheduler_comm.interval == 0
    assert scheduler.stream_comms["a"].interval == 0
    assert scheduler.stream_comms["b"].interval == 0.01


def test_what_is_gone_is_passed_over():
    send_at_once(SimpleNamespace(scheduler_comm=None), SimpleNamespace(stream_comms={}), "gone")


def test_the_library_still_has_what_is_set(monkeypatch):
    """Where a new release names its streams otherwise, the farm would only become slow."""
    from distributed.batched import BatchedSend

    sent = []
    send = BatchedSend.send

    def noted(self, *messages):
        sent.append((self.interval, messages))
        send(self, *messages)

    monkeypatch.setattr(BatchedSend, "send", noted)
    done = []
    protocol = sgd_protocol("paper")
    tasks = [
        ProbeTask(
            store_url="nowhere",
            names=Names(study="s", model="m", layer="l", dataset="d"),
            setting=ProbeSetting(train_id="a" * 64, test_id="b" * 64, protocol=protocol, validation=None),
            groups=(SubsetGroup(method="random", seed=seed, sizes=(1,)),),
            predicted_s=1.0,
            predicted_bytes=1,
        )
        for seed in range(3)
    ]
    run_tasks(
        tasks,
        FarmOptions(n_workers=1),
        work=id,
        done=done.append,
        failed=lambda failure: None,
        retried=lambda task, why: None,
    )
    assert len(done) == 3
    asked = [
        interval
        for interval, messages in sent
        if any(isinstance(m, dict) and m.get("op") in ("update-graph", "compute-task") for m in messages)
    ]
    assert len(asked) == 6
    assert set(asked) == {0.0}
