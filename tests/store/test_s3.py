"""A store in a bucket, against `mock_s3`: a MOCK, in this process. `make faults` runs the contracts on a real one."""

import hashlib
import os
import pickle
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from mock_s3 import KEY, SECRET, MockS3

from store import (
    Corrupt,
    InvalidRequest,
    NotFound,
    StorageFailure,
    UnsupportedFormat,
    _objects_claims,
    _objects_s3,
    open_store,
)
from store.objects import open_objects
from store.testing import ObjectsContract, StoreContract

_VARIABLES = [name for name in os.environ if name.startswith("AWS_")]


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Start a mock of its own, with the environment of someone who may use it."""
    for name in _VARIABLES:
        monkeypatch.delenv(name)
    mock = MockS3().start()
    for name, value in mock.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    yield mock
    mock.stop()


@pytest.fixture
def url():
    return f"s3://bucket/{uuid.uuid4()}/a root"


class TestMockedObjects(ObjectsContract):
    @pytest.fixture
    def objects(self, server, url):
        return open_objects(url)


class TestMockedStore(StoreContract):
    @pytest.fixture
    def store(self, server, url):
        return open_store(url, create=True)


@pytest.fixture
def short_pause(monkeypatch):
    monkeypatch.setattr(_objects_claims, "PAUSE_S", 0.3)


class TestObjectsWithoutConditionalPuts(ObjectsContract):
    """A server that ignores `If-None-Match`: claims decide."""

    @pytest.fixture
    def objects(self, server, url, short_pause):
        server.conditional = "ignored"
        return open_objects(url)

    @pytest.mark.skip(reason="20 pauses a process; threads race in the test above")
    def test_one_of_many_processes_writes_a_new_object(self):
        pass


class TestStoreWithoutConditionalPuts(StoreContract):
    """A server that ignores `If-None-Match`, and knows no bulk delete."""

    @pytest.fixture
    def store(self, server, url, monkeypatch, request):
        # Writers of one name at once need a true pause; without others it may be as short as one likes.
        racing = request.node.name in ("test_doubles_agree_on_every_chunk", "test_the_first_setting_stays")
        monkeypatch.setattr(_objects_claims, "PAUSE_S", 0.4 if racing else 0.0)
        server.conditional = "ignored"
        server.bulk_delete = False
        return open_store(url, create=True)


def test_claims_leave_nothing_behind(server, url, monkeypatch):
    monkeypatch.setattr(_objects_claims, "PAUSE_S", 0.0)
    server.conditional = "refused"
    objects = open_objects(url)
    assert [objects.put_new("a", b"1"), objects.put_new("a", b"2")] == [True, False]
    assert objects.get("a") == b"1"
    assert [k.rsplit("/", 1)[-1] for _, k in server.objects] == ["a"]
    assert objects.first("") == "a"


def test_a_claim_of_a_writer_that_died_is_honoured_then_forgotten(server, url, monkeypatch):
    monkeypatch.setattr(_objects_claims, "PAUSE_S", 0.0)
    server.conditional = "ignored"
    objects = open_objects(url)
    smallest, other = sorted((b"x", b"y"), key=lambda d: hashlib.sha256(d).hexdigest())
    folder = f"{url.removeprefix('s3://bucket/')}/.drfarm/claims/{hashlib.sha256(b'a').hexdigest()}"
    place = ("bucket", f"{folder}/{hashlib.sha256(smallest).hexdigest()}")
    server.objects[place] = (smallest, datetime.now(UTC))
    assert objects.put_new("a", other) is False
    assert objects.get("a") == smallest
    objects.delete(["a"])
    server.objects[place] = (smallest, datetime.now(UTC) - timedelta(minutes=5))
    assert objects.put_new("a", other) is True
    assert objects.get("a") == other


def test_the_environment_can_distrust_create_only_puts(server, url, monkeypatch):
    monkeypatch.setenv("DRFARM_CONDITIONAL_PUT", "off")
    monkeypatch.setattr(_objects_claims, "PAUSE_S", 0.0)
    assert open_objects(url).put_new("a", b"1") is True
    assert not any(".drfarm" in k for _, k in server.objects)


@pytest.mark.parametrize("what", ["drop", 500, 503])
def test_a_create_only_put_whose_answer_is_lost(server, url, what):
    """It is written once. The writer knows, but where the library itself asked again and was told that it is there."""
    objects = open_objects(url)
    objects.put_new("first", b"0")  # now it is known that the server has them
    server.fail = [("PUT", what)]
    assert objects.put_new("a", b"mine") or what == "drop"
    assert objects.get("a") == b"mine"
    assert objects.put_new("a", b"other") is False
    assert not server.fail


def test_a_lost_answer_never_claims_what_another_wrote(server, url):
    objects = open_objects(url)
    objects.put_new("a", b"theirs")
    server.fail = [("PUT", "drop")]
    assert objects.put_new("a", b"mine") is False
    assert objects.get("a") == b"theirs"


@pytest.mark.parametrize("what", ["drop", "cut", 500, 503])
def test_reads_and_listings_outlive_a_failure(server, url, what):
    objects = open_objects(url)
    data = bytes(range(256)) * 4096
    objects.put("a/b", data)
    server.fail = [("GET", what)]
    assert objects.get("a/b") == data
    server.fail = [("GET", what)]
    assert [o.key for o in objects.list("a")] == ["a/b"]
    assert not server.fail


@pytest.mark.parametrize("what", ["drop", 503])
def test_puts_in_parts_and_bulk_deletes_outlive_a_failure(server, url, what):
    objects = open_objects(url)
    server.fail = [("POST", what), ("POST", what)]
    data = b"12345678" * 2**20 * 5
    objects.put("large", data)
    assert objects.get("large") == data
    server.fail = [("POST", what)]
    objects.delete(["large", "x", "y", "z"])
    assert objects.list("") == []


def test_a_server_without_bulk_deletes_is_asked_once(server, url):
    server.bulk_delete, server.bulk_refusal = False, 501
    objects = open_objects(url)
    for turn in range(2):
        for i in range(10):
            objects.put(f"a/{i}", b"1")
        objects.delete([f"a/{i}" for i in range(10)])
        assert objects.list("a") == []
        if turn == 0:
            asked = server.requests["POST"]
    assert server.requests["POST"] == asked
    assert server.requests["DELETE"] == 20


def test_bulk_deletes_keep_the_order_that_matters(server, url):
    """The first goes alone before all, the last two alone after all; a thousand between are one request."""
    objects = open_objects(url)
    names = [f"a/{i:04d}" for i in range(1003)]
    objects.delete(names)
    order = [[n.removeprefix(f"{url.removeprefix('s3://bucket/')}/") for n in group] for group in server.deleted]
    assert [sorted(group) for group in order] == [names[:1], names[1:1001], names[1001:1002], names[1002:]]


def test_listings_are_read_page_by_page(server, url):
    server.page = 7
    objects = open_objects(url)
    names = [f"a/{i:02d}" for i in range(50)]
    for name in names:
        objects.put(name, b"1")
    before = server.requests["GET"]
    assert [o.key for o in objects.list("a")] == names
    assert server.requests["GET"] - before == 8


def test_a_put_is_one_request_and_so_is_a_read(server, url):
    objects = open_objects(url)
    server.requests.clear()
    data = bytes(16 * 2**20)
    objects.put("a", data)
    objects.read_into("a", memoryview(bytearray(len(data))))
    assert objects.exists("a")
    assert server.requests == {"PUT": 1, "GET": 1, "HEAD": 1}


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(server, url, monkeypatch):
    monkeypatch.setattr(_objects_s3, "PIECE_BYTES", 1000)
    objects = open_objects(url)
    objects.put("a", b"1" * 999)
    server.objects["bucket", f"{url.removeprefix('s3://bucket/')}/b"] = (b"1" * 5000, datetime.now(UTC))
    assert objects.get("b") == b"1" * 5000
    place, pieces = ("bucket", f"{url.removeprefix('s3://bucket/')}/b"), []

    def seen(piece):
        pieces.append(len(piece))
        server.objects[place] = (b"2" * 5000, datetime.now(UTC))

    with pytest.raises(Corrupt, match="was replaced while it was read"):
        objects.read_into("b", memoryview(bytearray(5000)), seen)
    assert pieces == [1000]


@pytest.mark.parametrize(
    ("changes", "address", "message"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong-secret"},
            None,
            r"refused the credentials \(SignatureDoesNotMatch\).*Set AWS_",
        ),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, None, r"refused the credentials \(InvalidAccessKeyId\)"),
        ({"AWS_SKIP_SIGNATURE": "true"}, None, r"refused the credentials \(AccessDenied\)"),
        ({}, "s3://absent/x", "there is no such bucket at http://127.0.0.1.*Create it"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, None, r"127.0.0.1:1 does not answer \(connection refused\)"),
    ],
)
def test_what_is_wrong_is_said_at_once(server, url, monkeypatch, changes, address, message):
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(StorageFailure, match=message) as failed:
        open_store(address or url, create=True)
    assert time.monotonic() - began < 10
    assert "wrong-secret" not in repr(failed.value)
    assert isinstance(pickle.loads(pickle.dumps(failed.value)), StorageFailure)
    assert not server.objects


def test_only_a_server_that_nobody_knows_yet_is_not_waited_for(server, url):
    away = [("GET", 503)] * 4
    server.fail = [*away]
    with pytest.raises(StorageFailure, match=r"failed \(SlowDown\): could not open the store"):
        open_objects(url)
    server.fail = [*away]
    open_objects(url, patient=True)
    assert not server.fail
    server.fail = [*away]
    open_objects(url)  # it has answered this process
    assert not server.fail


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://", "is no address of a store"),
        ("s3:///prefix", "is no address of a store"),
        ("s3://bucket/a//b", "is no address of a store"),
        ("s3://bucket/../b", "is no address of a store"),
        ("s3://key:hush@bucket/b", "Credentials and the endpoint are read from the environment"),
        ("s3://bucket/b?secret=hush", "Credentials and the endpoint are read from the environment"),
    ],
)
def test_bad_addresses(server, address, message):
    with pytest.raises(InvalidRequest, match=message) as failed:
        open_store(address, create=True)
    assert "hush" not in str(failed.value)


def test_an_endpoint_without_a_scheme(server, url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "me:hush@localhost:9000")
    with pytest.raises(InvalidRequest, match=r"'localhost:9000'.*begin with http:// or https://") as failed:
        open_store(url)
    assert "hush" not in str(failed.value)


def test_a_server_of_another_address_for_s3_only_counts_first(server, url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.environment["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert open_store(url, create=True).url == url


def test_a_profile_of_the_shared_file(server, url, monkeypatch, tmp_path):
    file = tmp_path / "credentials"
    file.write_text(f"[work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_PROFILE", "work")
    store = open_store(url, create=True)
    assert SECRET not in repr(store) + pickle.dumps(store).decode("latin-1") + str(store.objects.obstore)
    monkeypatch.setenv("AWS_PROFILE", "play")
    with pytest.raises(InvalidRequest, match=r"looked in profile 'play' in .*credentials\. Set AWS_ACCESS_KEY_ID"):
        open_store(url)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InvalidRequest, match="no credentials for the bucket"):
        open_store(url)


def test_an_empty_bucket_holds_no_store_and_a_full_one_is_left_alone(server, url):
    with pytest.raises(NotFound, match="there is no drfarm store at s3://bucket"):
        open_store(url)
    open_objects(url).put("mine", b"1")
    with pytest.raises(UnsupportedFormat, match="is not a drfarm store, and not empty"):
        open_store(url, create=True)


_WORKER = """
import pickle, sys
store = pickle.loads(bytes.fromhex(sys.argv[1]))
print(store.url, store.objects.get("a").decode())
"""


def test_a_worker_takes_its_own_credentials(server, url):
    store = open_store(url, create=True)
    store.objects.put("a", b"seen")
    data = pickle.dumps(store)
    assert SECRET.encode() not in data
    assert KEY.encode() not in data
    command = [sys.executable, "-c", _WORKER, data.hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[-1] == "seen"
    wrong = {**os.environ, "AWS_SECRET_ACCESS_KEY": "wrong-secret"}
    done = subprocess.run(command, capture_output=True, text=True, env=wrong, timeout=60, check=False)
    assert "refused the credentials" in done.stderr
    assert "wrong-secret" not in done.stderr
