"""A client comes back soon to a scheduler that was away for long: it knocks again and again."""

import time

import distributed.client
import pytest
from distributed import LocalCluster

from drfarm.farm._returning import KNOCK_S
from drfarm.farm.joined import joined_farm

PATIENCE_S = 300.0
N_AWAY = 3

pytestmark = pytest.mark.slow


def _scheduler(port=0):
    return LocalCluster(
        n_workers=0,
        host="127.0.0.1",
        protocol="tcp://",
        scheduler_port=port,
        dashboard_address="127.0.0.1:0",
        processes=False,
    )


def test_each_attempt_to_come_back_is_short(monkeypatch):
    connect, allowed = distributed.client.connect, []

    async def away(address, timeout=None, **words):
        allowed.append(timeout)
        if len(allowed) <= N_AWAY:
            raise OSError(f"{address} does not answer")
        return await connect(address, timeout=timeout, **words)

    with _scheduler() as first:
        port, address = int(first.scheduler.port), first.scheduler_address
        with joined_farm(address, gpu=False, checked=False, patience_s=PATIENCE_S) as farm:
            known = farm.client.id
            monkeypatch.setattr(distributed.client, "connect", away)
            first.close()
            with _scheduler(port):
                until = time.monotonic() + 60
                while len(allowed) <= N_AWAY or farm.client.status != "running":
                    assert time.monotonic() < until, (farm.client.status, allowed)
                    time.sleep(0.01)
                assert farm.workers() == ()
                assert farm.client.id == known
    assert len(allowed) > N_AWAY
    assert set(allowed) == {KNOCK_S}


def test_the_first_attempt_has_all_its_time(monkeypatch):
    connect, allowed = distributed.client.connect, []

    async def noted(address, timeout=None, **words):
        allowed.append(timeout)
        return await connect(address, timeout=timeout, **words)

    monkeypatch.setattr(distributed.client, "connect", noted)
    with (
        _scheduler() as cluster,
        joined_farm(cluster.scheduler_address, gpu=False, checked=False, patience_s=PATIENCE_S),
    ):
        pass
    assert allowed[0] == PATIENCE_S
