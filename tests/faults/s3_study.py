"""The demo's whole study through the command, on a real S3 server: two drivers, a killed server, a wrong secret."""

import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from rados_gateway import SECRET

from drfarm.demo import make_demo
from drfarm.progress import TerminalReporter
from store import open_store, verify
from store.schema import KINDS


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """The demo's study and its network, and the study's store on disk, to compare with."""
    file = make_demo(tmp_path_factory.mktemp("demo"), TerminalReporter())
    done = drfarm("run", file)
    assert done.returncode == 0, done.stderr
    return file


def start(folder, *words):
    command = [sys.executable, "-m", "drfarm", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def drfarm(*words, **environment):
    command = [sys.executable, "-m", "drfarm", *map(str, words)]
    with tempfile.TemporaryDirectory() as folder:  # reports are written where one stands
        return subprocess.run(
            command, capture_output=True, text=True, timeout=900, env={**os.environ, **environment}, cwd=folder
        )


def measured(url, kind):
    """Return what was measured of each job; every job must be in the store's files once."""
    store = open_store(url)
    table = store.results.dataset(kind).to_table()
    ids = table["job_id"].to_pylist()
    assert len(ids) == len(set(ids)), f"{len(ids) - len(set(ids))} rows of {kind} are doubled"
    value = {"probes": "accuracy", "cka": "value"}[kind]
    return dict(zip(ids, table[value].to_pylist(), strict=True))


def assert_the_same(url, study):
    for kind in KINDS:
        expected = measured(study.parent / "store", kind)
        found = measured(url, kind)
        assert expected, kind
        assert found.keys() == expected.keys()
        for job, value in expected.items():
            assert found[job] == pytest.approx(value, rel=1e-6, abs=1e-9), (kind, job)
    assert [c.problem for c in verify(open_store(url)) if c.problem] == []


def test_two_drivers_at_once_lose_and_double_nothing(s3, study, tmp_path):
    url = f"{s3}/{uuid.uuid4()}"
    drivers = [start(tmp_path, "run", study, "--store", url) for _ in range(2)]
    for driver in drivers:
        out, err = driver.communicate(timeout=900)
        assert driver.returncode == 0, (out + err)[-3000:]
        assert SECRET not in out + err
    assert_the_same(url, study)
    again = drfarm("run", study, "--store", url)
    assert "nothing was left to do" in again.stderr
    compacted = drfarm("store", "compact", "--store", url)
    assert compacted.returncode == 0, compacted.stderr
    assert_the_same(url, study)
    collected = drfarm("store", "gc", "--store", url)
    assert collected.returncode == 0, collected.stderr
    assert_the_same(url, study)


def test_the_server_is_killed_and_restarted_under_a_study(gateway, s3, study, tmp_path):
    url = f"{s3}/{uuid.uuid4()}"
    driver = start(tmp_path, "run", study, "--store", url)
    while driver.poll() is None:
        time.sleep(6)
        gateway.kill_gateway()
        time.sleep(2)
        gateway.start_gateway()
    out, err = driver.communicate()
    assert driver.returncode == 0, (out + err)[-3000:]
    assert_the_same(url, study)


def test_a_wrong_secret_is_one_clear_message(s3, study):
    done = drfarm("run", study, "--store", f"{s3}/{uuid.uuid4()}", AWS_SECRET_ACCESS_KEY="not-the-secret")
    assert done.returncode == 2
    assert re.fullmatch(r"drfarm: s3://.* refused the credentials \(SignatureDoesNotMatch\).*\n", done.stderr), (
        done.stderr
    )
    assert "not-the-secret" not in done.stdout + done.stderr


def test_a_bucket_that_is_not_there_is_one_clear_message(s3, study):
    done = drfarm("run", study, "--store", "s3://no-such-bucket/x")
    assert done.returncode == 2
    assert re.fullmatch(r"drfarm: s3://no-such-bucket/x: there is no such bucket at .*\n", done.stderr), done.stderr
