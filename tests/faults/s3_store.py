"""The contracts of storage on a real S3 server, and what happens when it is killed, refuses, or is not there."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pytest
from rados_gateway import SECRET

from store import NotFound, StorageFailure, open_store, verify
from store.objects import open_objects
from store.testing import ObjectsContract, StoreContract, make_key


class TestGatewayObjects(ObjectsContract):
    @pytest.fixture
    def objects(self, s3):
        return open_objects(f"{s3}/{uuid.uuid4()}")


class TestGatewayStore(StoreContract):
    @pytest.fixture
    def store(self, s3):
        return open_store(f"{s3}/{uuid.uuid4()}/a store", create=True)


def test_the_server_has_create_only_puts(s3):
    """Else the tests above would have tested claims."""
    objects = open_objects(f"{s3}/{uuid.uuid4()}")
    objects.put_new("a", b"1")
    assert objects._bucket._conditional is True


def test_claims_decide_where_create_only_puts_are_not_trusted(s3, monkeypatch):
    monkeypatch.setenv("DRFARM_CONDITIONAL_PUT", "off")
    url = f"{s3}/{uuid.uuid4()}"
    won, gate = [], threading.Barrier(8)

    def write(me):
        objects = open_objects(url)
        gate.wait()
        if objects.put_new("race", b"%d" % me):
            won.append(me)

    threads = [threading.Thread(target=write, args=(me,)) for me in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(won) == 1
    assert open_objects(url).get("race") == b"%d" % won[0]
    assert [o.key for o in open_objects(url).list("")] == ["race"]


@pytest.mark.parametrize(
    ("changes", "address", "message"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong-secret"},
            None,
            r"refused the credentials \(SignatureDoesNotMatch\).*Set AWS",
        ),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, None, r"refused the credentials \(InvalidAccessKeyId\).*Set AWS_ACCESS"),
        ({}, "s3://no-such-bucket/x", "there is no such bucket at http://127.0.0.1.*Create it, or correct"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, None, r"127.0.0.1:1 does not answer \(connection refused\)"),
        ({"AWS_ENDPOINT_URL": "http://no.such.host.invalid"}, None, r"does not answer \(no such host\)"),
    ],
)
def test_a_wrong_address_or_secret_is_said_at_once(s3, monkeypatch, changes, address, message):
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(StorageFailure, match=message) as failed:
        open_store(address or f"{s3}/{uuid.uuid4()}", create=True)
    assert time.monotonic() - began < 15
    for text in (str(failed.value), repr(failed.value), pickle.dumps(failed.value).decode("latin-1")):
        assert SECRET not in text
        assert "wrong-secret" not in text


def test_what_is_opened_holds_no_secret(s3):
    store = open_store(f"{s3}/{uuid.uuid4()}", create=True)
    assert SECRET not in repr(store) + repr(store.objects) + pickle.dumps(store).decode("latin-1")
    assert SECRET not in str(store.objects.obstore) + str(store.objects.obstore.config)


def test_an_empty_prefix_is_no_store(s3):
    with pytest.raises(NotFound, match="there is no drfarm store at s3://"):
        open_store(f"{s3}/{uuid.uuid4()}")


_WRITER = """
import sys
import numpy as np
from store import open_store
from store.testing import make_key
store = open_store(sys.argv[1], create=True)
rows, width, n = 512, 1024, 60
for turn in range(3):
    writer = store.features.create(make_key(layer=f"layer{turn}"), width=width, labels=np.zeros(rows * n, int),
        sample_ids=[str(i) for i in range(rows * n)], classes=["a"], rows_per_chunk=rows, codec="none")
    for view, chunk in writer.missing():
        rng = np.random.default_rng([turn, chunk])
        writer.write_chunk(view, chunk, rng.standard_normal((rows, width)).astype(np.float32))
    print(turn, flush=True)
    writer.seal()
print("done", flush=True)
"""


def _check_written(store):
    for turn in range(3):
        features = store.features.open(make_key(layer=f"layer{turn}").id)
        for start, _, block in features.blocks():
            expected = np.random.default_rng([turn, start // 512]).standard_normal((512, 1024)).astype(np.float32)
            np.testing.assert_array_equal(block, expected)
    assert [c.problem for c in verify(store) if c.problem] == []


def test_writers_outlive_a_server_that_is_killed_and_restarted(gateway, s3):
    """Three writers of one root; the gateway is killed three times under them and comes back after seconds."""
    url = f"{s3}/{uuid.uuid4()}"
    open_store(url, create=True)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for i in range(3)
    ]
    kills = 0
    for _ in range(3):
        time.sleep(4)
        if all(w.poll() is None for w in writers):
            gateway.kill_gateway()
            kills += 1
            time.sleep(2)
            gateway.start_gateway()
    for writer in writers:
        out, err = writer.communicate(timeout=300)
        assert writer.returncode == 0, err[-2000:]
        assert out.split()[-1] == "done"
    assert kills
    _check_written(open_store(url))


def test_a_server_that_stays_away_is_an_error_and_nothing_is_half_readable(gateway, s3, monkeypatch):
    """The writer gives up with one message; with the server back, another one goes on where it was."""
    url = f"{s3}/{uuid.uuid4()}"
    open_store(url, create=True)
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not open_store(url).objects.first("ledger"):
        time.sleep(0.05)
    time.sleep(0.5)
    gateway.kill_gateway()
    began = time.monotonic()
    try:
        _, err = writer.communicate(timeout=300)
        assert writer.returncode != 0
        assert time.monotonic() - began < 240
        last = err.strip().splitlines()[-1]
        assert "StorageFailure" in last
        assert "does not answer" in last
        assert SECRET not in err
    finally:
        gateway.start_gateway()
    store = open_store(url)
    assert all(not i.complete for i in store.features.catalogue())
    assert [c.problem for c in verify(store) if c.problem] == []
    again = subprocess.run([sys.executable, "-c", _WRITER, url], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr[-2000:]
    _check_written(store)


def test_a_killed_writer_leaves_what_is_finished(s3):
    url = f"{s3}/{uuid.uuid4()}"
    open_store(url, create=True)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE, text=True)
        time.sleep(2.5)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        assert [c.problem for c in verify(open_store(url)) if c.problem] == []
    subprocess.run([sys.executable, "-c", _WRITER, url], check=True, timeout=300, stdout=subprocess.DEVNULL)
    _check_written(open_store(url))
