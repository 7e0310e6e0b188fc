"""Who may join: plain addresses are refused beyond this machine, and certificates are checked first."""

import datetime as dt
import ipaddress
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from drfarm.certificates import ROLES, certificate_files
from store import InvalidRequest

if TYPE_CHECKING:
    from cryptography import x509
    from distributed import Security

TLS_VARIABLE = "DRFARM_TLS"
"""Environment variable that stands for ``--tls``."""

_MAKE = "`drfarm certs FOLDER` makes certificates"


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, and nobody else's way to it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_encrypted(address: str, *, tls: Path | None, insecure: bool) -> None:
    """Refuse an address of a scheduler that does not fit what is known of certificates.

    Parameters
    ----------
    address
        Such as ``tls://10.0.0.5:8786``.
    tls
        Folder of certificates, where there is one.
    insecure
        Whether an open connection beyond this machine was asked for.

    Raises
    ------
    InvalidRequest
        If it is plain on another host and that was not asked for, or certificates and address contradict each other.
    """
    parts = urlsplit(address)
    if parts.scheme == "tls":
        if tls is None and not _configured():
            raise InvalidRequest(
                f"{address} needs certificates: say --tls FOLDER (or {TLS_VARIABLE}). {_MAKE} for the whole cluster."
            )
        return
    if tls is not None:
        raise InvalidRequest(
            f"{address} is not encrypted, and --tls {tls} asks for it. A scheduler that was started with --tls is at "
            f"tls://{parts.netloc}; for a plain one leave --tls (and {TLS_VARIABLE}) out."
        )
    _check_plain(address, parts.hostname or "", insecure=insecure, then=f", and use tls://{parts.netloc}")


def check_listens(host: str, *, tls: Path | None, insecure: bool) -> None:
    """Refuse to open a scheduler that is not encrypted to other machines, unless that was asked for.

    Raises
    ------
    InvalidRequest
        If it would be, or if ``tls`` and ``insecure`` are both given.
    """
    if tls is None:
        _check_plain(host, host, insecure=insecure, then="")
    elif insecure:
        raise InvalidRequest(f"--tls {tls} (or {TLS_VARIABLE}) and --insecure exclude each other. Give one of them.")


def tls_security(folder: Path, *roles: str) -> "Security":
    """Return the library's settings for connections that both ends must prove themselves on.

    Parameters
    ----------
    folder
        Made by `drfarm.certificates.make_certificates`; the authority's certificate and the files of ``roles`` do.
    roles
        Of `ROLES`: what this process is; by default all three, as for who starts a whole cluster.

    Raises
    ------
    InvalidRequest
        If a file is missing, can't be read, is no certificate, has expired, or is not of this authority.
    """
    from distributed import Security

    folder = folder.expanduser().absolute()  # worker processes may be started elsewhere
    found: dict[str, str] = {}
    for role in roles or ROLES:
        files = certificate_files(folder, role)
        _check_files(folder, role)
        found["tls_ca_file"] = str(files.authority)
        found[f"tls_{role}_cert"] = str(files.certificate)
        found[f"tls_{role}_key"] = str(files.key)
    return Security(require_encryption=True, **found)


def security_of(tls: Path | None, *roles: str) -> "Security":
    """Return `tls_security`, or what Dask's own configuration says where there is no folder."""
    if tls is not None:
        return tls_security(tls, *roles)
    from distributed import Security

    return Security()


def why_not_joined(error: BaseException, address: str, *, tls: Path | None) -> str:
    """Return what a failure to connect means, for people: certificates that do not fit, or nobody there."""
    chain = _chain(error)
    if any(isinstance(e, ssl.SSLError) or type(e).__name__ == "FatalCommClosedError" for e in chain):
        ours = f"those in {tls}" if tls is not None else "those of Dask's configuration"
        return (
            f"the scheduler at {address} and this process do not accept each other's certificates ({ours}): they are "
            "of different authorities, or the scheduler was not started with --tls. Use the folder that "
            "`drfarm certs` made for this cluster."
        )
    hint = "" if tls is not None else "; one that was started with --tls is at tls:// and needs --tls here"
    return (
        f"no scheduler answers at {address} ({type(error).__name__}). Start one with `drfarm scheduler`, or check the "
        f"address{hint}."
    )


def _check_plain(shown: str, host: str, *, insecure: bool, then: str) -> None:
    if insecure or is_loopback(host):
        return
    raise InvalidRequest(
        f"{shown} is not this machine only, and without TLS anyone who can reach it reads what is sent and runs "
        f"programs as you. {_MAKE}: say --tls FOLDER to the scheduler, its "
        f"workers and to what uses them{then}. Inside a network that you trust, say --insecure."
    )


def _configured() -> bool:
    """Say whether Dask's own configuration names certificates."""
    import dask
    import distributed.config  # noqa: F401 - fills in the configuration

    return dask.config.get("distributed.comm.tls.ca-file", None) is not None


def _check_files(folder: Path, role: str) -> None:
    from cryptography.exceptions import InvalidSignature

    if not folder.is_dir():
        raise InvalidRequest(f"--tls {folder}: there is no such folder. {_MAKE}.")
    files = certificate_files(folder, role)
    authority, certificate = _certificate(files.authority), _certificate(files.certificate)
    _readable(files.key)
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        raise InvalidRequest(
            f"{files.certificate} was not signed by the authority of {files.authority}: the folder holds files of two "
            f"clusters. Use those that one `drfarm certs` made."
        ) from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError):  # never repeated: the file holds a secret
        raise InvalidRequest(
            f"{files.key} is not the key of {files.certificate}. Use the pair that one `drfarm certs` made."
        ) from None


def _certificate(path: Path) -> "x509.Certificate":
    from cryptography import x509

    data = _readable(path)
    try:
        found = x509.load_pem_x509_certificate(data)
    except ValueError:
        raise InvalidRequest(f"{path} is no certificate (PEM). {_MAKE}.") from None
    now = dt.datetime.now(dt.UTC)
    if now > found.not_valid_after_utc:
        raise InvalidRequest(
            f"{path} has expired on {found.not_valid_after_utc:%Y-%m-%d}; `drfarm certs FOLDER` makes others for the "
            "whole cluster."
        )
    if now < found.not_valid_before_utc:
        raise InvalidRequest(
            f"{path} is good from {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and here it is {now:%Y-%m-%d %H:%M} "
            "UTC: set this machine's clock."
        )
    return found


def _readable(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        there = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".pem", ".key"))
        raise InvalidRequest(
            f"--tls {path.parent}: there is no {path.name} (it holds {', '.join(there) or 'no certificates'}). {_MAKE}."
        ) from None
    except OSError as e:
        raise InvalidRequest(
            f"{path} can't be read by this user ({e.strerror}): the keys are their owner's only (uid {os.getuid()} "
            "asks)."
        ) from None


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and what led to it."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
