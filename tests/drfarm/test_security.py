"""What is refused before anything starts: plain addresses beyond this machine, and certificates that can't be right."""

import datetime as dt
import shutil
import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest

from drfarm import certificates
from drfarm.certificates import make_certificates
from drfarm.farm import FarmOptions
from drfarm.farm.security import check_encrypted, check_listens, is_loopback, tls_security, why_not_joined
from store import InvalidRequest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tls") / "certs"
    make_certificates(made)
    return made


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1", "[::1]"])
def test_this_machine_only(host):
    assert is_loopback(host)
    check_listens(host, tls=None, insecure=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.5", "node-7", "localhost.evil.example", "127.0.0.1.evil.example", ""]
)
def test_beyond_this_machine_a_scheduler_needs_certificates_or_a_word(folder, host):
    assert not is_loopback(host)
    with pytest.raises(InvalidRequest, match=r"not this machine only.*drfarm certs FOLDER.*--tls FOLDER.*--insecure"):
        check_listens(host, tls=None, insecure=False)
    check_listens(host, tls=None, insecure=True)
    check_listens(host, tls=folder, insecure=False)


def test_certificates_and_insecure_exclude_each_other(folder):
    with pytest.raises(InvalidRequest, match=r"--insecure exclude each other"):
        check_listens("10.0.0.5", tls=folder, insecure=True)


def test_a_plain_address_elsewhere_is_refused_unless_it_is_asked_for():
    address = "tcp://10.0.0.5:8786"
    with pytest.raises(InvalidRequest, match=r"(?s)runs programs as you.*tls://10.0.0.5:8786.*--insecure"):
        FarmOptions(scheduler=address)
    assert FarmOptions(scheduler=address, insecure=True).scheduler == address
    assert FarmOptions(scheduler="tcp://[::1]:8786").scheduler == "tcp://[::1]:8786"


def test_an_encrypted_address_needs_certificates(folder):
    with pytest.raises(InvalidRequest, match=r"needs certificates: say --tls FOLDER \(or DRFARM_TLS\)"):
        FarmOptions(scheduler="tls://10.0.0.5:8786")
    assert FarmOptions(scheduler="tls://10.0.0.5:8786", tls=folder).tls == folder


def test_certificates_in_dasks_own_configuration_are_enough():
    import dask

    with dask.config.set({"distributed.comm.tls.ca-file": "/somewhere/ca.pem"}):
        check_encrypted("tls://10.0.0.5:8786", tls=None, insecure=False)


def test_certificates_are_never_left_unused(folder):
    with pytest.raises(InvalidRequest, match=r"is not encrypted, and --tls .* asks for it.*tls://127.0.0.1:8786"):
        FarmOptions(scheduler="tcp://127.0.0.1:8786", tls=folder)


def test_connections_are_encrypted_and_both_ends_prove_themselves(folder):
    security = tls_security(folder)
    assert security.require_encryption
    for role in ("scheduler", "worker", "client"):
        context = security.get_connection_args(role)["ssl_context"]
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert security.get_listen_args("worker")["ssl_context"].verify_mode == ssl.CERT_REQUIRED


def test_a_role_needs_its_own_files_only(copy):
    for name in ("ca.key", "scheduler.pem", "scheduler.key", "client.pem", "client.key"):
        (copy / name).unlink()
    assert tls_security(copy, "worker").tls_scheduler_cert is None
    with pytest.raises(InvalidRequest, match=r"there is no client.pem \(it holds ca.pem, worker.key, worker.pem\)"):
        tls_security(copy, "client")


def test_paths_hold_wherever_a_worker_starts(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert Path(tls_security(Path(folder.name), "worker").tls_worker_key).is_absolute()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InvalidRequest, match=r"there is no such folder.*drfarm certs"):
        tls_security(tmp_path / "none")


@pytest.mark.parametrize("name", ["ca.pem", "worker.pem", "worker.key"])
def test_a_file_that_is_missing_or_something_else(copy, name):
    secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"
    (copy / name).write_text(secret)
    with pytest.raises(InvalidRequest, match=rf"{name} is (no certificate|not the key of)") as refused:
        tls_security(copy, "worker")
    assert "c2VjcmV0" not in str(refused.value)
    assert refused.value.__cause__ is None
    (copy / name).unlink()
    with pytest.raises(InvalidRequest, match=rf"there is no {name}"):
        tls_security(copy, "worker")


def test_a_file_that_is_a_folder(copy):
    (copy / "worker.key").unlink()
    (copy / "worker.key").mkdir()
    with pytest.raises(InvalidRequest, match=r"worker.key can't be read by this user"):
        tls_security(copy, "worker")


def test_files_of_two_clusters(copy, tmp_path):
    make_certificates(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "worker.key", copy)
    with pytest.raises(InvalidRequest, match=r"worker.key is not the key of"):
        tls_security(copy, "worker")
    shutil.copy(tmp_path / "other" / "worker.pem", copy)
    with pytest.raises(InvalidRequest, match=r"worker.pem was not signed by the authority of .*ca.pem"):
        tls_security(copy, "worker")


@pytest.mark.parametrize(("days", "told"), [(-2, "has expired on"), (2, "set this machine's clock")])
def test_certificates_that_are_not_good_now(tmp_path, monkeypatch, days, told):
    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.now(tz) + dt.timedelta(days=days)

    monkeypatch.setattr(certificates, "dt", SimpleNamespace(datetime=Clock, timedelta=dt.timedelta, UTC=dt.UTC))
    make_certificates(tmp_path / "certs", days=1)
    monkeypatch.undo()
    with pytest.raises(InvalidRequest, match=told):
        tls_security(tmp_path / "certs", "client")


def test_what_a_failure_to_join_means(folder):
    wrapped = OSError("no")
    wrapped.__cause__ = ssl.SSLError("unknown ca")
    assert "do not accept each other's certificates" in why_not_joined(wrapped, "tls://a:1", tls=folder)
    plain = why_not_joined(ConnectionRefusedError(), "tcp://127.0.0.1:1", tls=None)
    assert "no scheduler answers at tcp://127.0.0.1:1 (ConnectionRefusedError)" in plain
    assert "started with --tls is at tls://" in plain
