"""Certificates of a cluster: an authority of its own, and one certificate for each role, signed by it."""

import datetime as dt
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import InvalidRequest

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

ROLES = ("scheduler", "worker", "client")
"""Who has a certificate: who schedules, who works, who drives."""

ALWAYS = ("localhost", "127.0.0.1", "::1")
"""Names that every certificate holds, beside those that are asked for."""

_LONGEST_DAYS = 3650
_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*\Z")
_EARLIER = dt.timedelta(minutes=10)
"""Certificates are good from a little before now: the clocks of a cluster differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """The files of one role in a folder of certificates."""

    authority: Path
    """Certificate of the authority; every process has it."""
    certificate: Path
    """Of the role."""
    key: Path
    """Of the role; secret."""


def certificate_files(folder: Path, role: str) -> CertificateFiles:
    """Return where the files of a role are."""
    return CertificateFiles(authority=folder / "ca.pem", certificate=folder / f"{role}.pem", key=folder / f"{role}.key")


def make_certificates(folder: Path, *, hosts: Sequence[str] = (), days: int = 365) -> tuple[Path, ...]:
    """Make an authority, and a certificate for a scheduler, for workers and for clients.

    Keys are on the curve P-256; only their owner can read them. A client's certificate can't stand for a scheduler or
    a worker. ``ca.key`` is needed to sign further certificates only: no process of a cluster reads it.

    Parameters
    ----------
    folder
        Where they go; it may exist, but holds none of the files yet.
    hosts
        Names and addresses of the machines, beside `ALWAYS`.
    days
        How long they are good.

    Returns
    -------
    tuple of Path
        The files: first the authority's.

    Raises
    ------
    InvalidRequest
        If a file is there already, a host is no name or address, or the folder can't be written.
    """
    if not 1 <= days <= _LONGEST_DAYS:
        raise InvalidRequest(f"--days {days}: certificates are good for 1 to {_LONGEST_DAYS:,} days.")
    names = [_general_name(host) for host in dict.fromkeys((*ALWAYS, *hosts))]
    there = [p.name for r in ("ca", *ROLES) for p in (folder / f"{r}.pem", folder / f"{r}.key") if p.exists()]
    if there:
        raise InvalidRequest(
            f"{folder} holds certificates already ({', '.join(there)}), and those in use must not be replaced. Give "
            "another folder, or remove them first."
        )
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    ca_key, ca = _authority(until)
    made = [("ca", ca_key, ca)]
    made += [(role, *_signed(role, names, until, ca_key, ca)) for role in ROLES]
    files: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, key, certificate in made:
            files += [folder / f"{name}.pem", folder / f"{name}.key"]
            _write_new(files[-2], _pem(certificate), 0o644)
            _write_new(files[-1], _private_pem(key), 0o600)
    except OSError as e:
        raise InvalidRequest(f"certificates can't be written to {folder}: {e.strerror or e}.") from e
    return tuple(files)


def _general_name(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    # Digits and dots only would be a mistyped address.
    if _HOST.match(host) is None or re.fullmatch(r"[0-9.]+", host):
        raise InvalidRequest(f"--host {host!r} is neither a host's name nor its address, such as 10.0.0.5.")
    return x509.DNSName(host)


def _authority(until: dt.datetime) -> "tuple[ec.EllipticCurvePrivateKey, x509.Certificate]":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number tells the authorities of several clusters apart.
    name = _name(f"drfarm authority {x509.random_serial_number():x}"[:60])
    built = (
        _begun(name, name, key, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_others=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, built


def _signed(
    role: str,
    names: "Sequence[x509.GeneralName]",
    until: dt.datetime,
    ca_key: "ec.EllipticCurvePrivateKey",
    ca: "x509.Certificate",
) -> "tuple[ec.EllipticCurvePrivateKey, x509.Certificate]":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    # A client never listens, so its certificate is not good for that; schedulers and workers do both.
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH] + [ExtendedKeyUsageOID.SERVER_AUTH] * (role != "client")
    built = (
        _begun(_name(f"drfarm {role}"), ca.subject, key, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(_usage(signs_others=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return key, built


def _begun(
    subject: "x509.Name", issuer: "x509.Name", key: "ec.EllipticCurvePrivateKey", until: dt.datetime
) -> "x509.CertificateBuilder":
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.now(dt.UTC) - _EARLIER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_others: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_others,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _private_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet; it never is more open than ``mode``, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
