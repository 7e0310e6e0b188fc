"""Certificates: what they are good for, who can read the keys, and that nothing in use is replaced."""

import datetime as dt
import ipaddress
import stat

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from drfarm.certificates import ROLES, certificate_files, make_certificates
from store import InvalidRequest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tls") / "certs"
    make_certificates(made, hosts=["gpu-1.cluster", "10.0.0.5", "localhost"], days=30)
    return made


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_only_the_owner_reads_the_keys(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = sorted(p.name for p in folder.iterdir())
    assert names == sorted(f"{r}{s}" for r in ("ca", *ROLES) for s in (".pem", ".key"))
    for key in folder.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert not any(b"PRIVATE" in p.read_bytes() for p in folder.glob("*.pem"))


def test_each_role_is_signed_by_the_authority_and_holds_the_hosts(folder):
    authority = read(folder / "ca.pem")
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    keys = {authority.public_key().public_numbers()}
    for role in ROLES:
        found = read(certificate_files(folder, role).certificate)
        found.verify_directly_issued_by(authority)
        assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost", "gpu-1.cluster"]
        assert names.get_values_for_type(x509.IPAddress) == [
            ipaddress.ip_address(a) for a in ("127.0.0.1", "::1", "10.0.0.5")
        ]
        keys.add(found.public_key().public_numbers())
    assert len(keys) == 4  # no two share a key


def test_a_clients_certificate_can_not_stand_for_a_scheduler(folder):
    uses = {
        role: set(read(folder / f"{role}.pem").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        for role in ROLES
    }
    assert uses["client"] == {ExtendedKeyUsageOID.CLIENT_AUTH}
    assert uses["scheduler"] == uses["worker"] == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_they_are_good_for_as_long_as_was_asked(folder):
    now = dt.datetime.now(dt.UTC)
    for path in folder.glob("*.pem"):
        found = read(path)
        assert found.not_valid_before_utc < now
        assert abs(found.not_valid_after_utc - now - dt.timedelta(days=30)) < dt.timedelta(hours=1)


def test_two_authorities_have_two_names(folder, tmp_path):
    make_certificates(tmp_path / "other")
    assert read(folder / "ca.pem").subject != read(tmp_path / "other" / "ca.pem").subject


def test_what_is_there_is_not_replaced(folder):
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(InvalidRequest, match=r"holds certificates already \(ca.pem, ca.key, .*must not be replaced"):
        make_certificates(folder)
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


def test_one_file_that_is_there_is_enough_to_refuse(tmp_path):
    (tmp_path / "worker.key").write_text("mine")
    with pytest.raises(InvalidRequest, match=r"already \(worker.key\)"):
        make_certificates(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["worker.key"]


@pytest.mark.parametrize("host", ["", "a b", "10.0.0", "10.0.0.500", "-x", "tls://node", "node:8786", "a/../b", "x\0"])
def test_what_is_no_host_is_refused(tmp_path, host):
    with pytest.raises(InvalidRequest, match=r"neither a host's name nor its address"):
        make_certificates(tmp_path / "new", hosts=[host])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_how_long_is_bounded(tmp_path, days):
    with pytest.raises(InvalidRequest, match="good for 1 to 3,650 days"):
        make_certificates(tmp_path / "new", days=days)


def test_a_folder_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="certificates can't be written to"):
        make_certificates(tmp_path / "file" / "certs")


def test_the_command(drfarm, tmp_path):
    done = drfarm("certs", tmp_path / "certs", "--host", "10.0.0.5", "--host", "gpu-1", "--days", 7)
    assert done.code == 0, done.text
    assert "8 files in" in done.out
    assert "good for 7 days" in done.out
    names = read(tmp_path / "certs/worker.pem").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "gpu-1"]
    again = drfarm("certs", tmp_path / "certs")
    assert (again.code, "already" in again.err) == (2, True)
