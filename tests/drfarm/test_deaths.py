"""Asking a cluster to tell of deaths: whoever is just starting there holds nobody up."""

import threading
import time
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster
from distributed.comm import connect

from drfarm.farm import _deaths
from drfarm.farm._deaths import Deaths

pytestmark = pytest.mark.slow


def test_a_nanny_that_hangs_while_it_starts_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(_deaths, "_ASK_S", 0.2)
    with (
        LocalCluster(
            n_workers=0, host="127.0.0.1", protocol="tcp://", dashboard_address="127.0.0.1:0", processes=False
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        hanging = client.sync(connect, cluster.scheduler_address)
        client.sync(hanging.write, {"op": "register_nanny", "address": "tcp://127.0.0.1:1"})
        assert client.sync(hanging.read)["status"] == "OK"

        deaths = Deaths(farm=SimpleNamespace(client=client, blames_lost=True))
        watching = threading.Thread(target=deaths.watch, daemon=True)
        watching.start()
        watching.join(30)
        assert not watching.is_alive()
        assert "drfarm-log" not in cluster.scheduler.worker_plugins, "the nanny did not hold up anything"

        client.sync(hanging.close)  # from now on all are asked
        until = time.monotonic() + 30
        while "drfarm-log" not in cluster.scheduler.worker_plugins:
            assert time.monotonic() < until, cluster.scheduler.nanny_plugins
            time.sleep(0.01)
        assert "drfarm-deaths" in cluster.scheduler.nanny_plugins
