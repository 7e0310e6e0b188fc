"""A cache on the user's disk: one file per address, whole or absent, believed only with its own checksum."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from extract._user_folders import cache_folder

_DIGEST = 64


def kept(kind: str, address: str) -> bytes | None:
    """Return what was kept under an address; None where there is nothing, or where its file is damaged."""
    try:
        content = _path(kind, address).read_bytes()
    except OSError:
        return None
    payload = content[2 * _DIGEST + 1 :]
    return payload if content == _packed(address, payload) else None


def keep(kind: str, address: str, payload: bytes) -> None:
    """Keep something under an address, atomically; where the disk refuses, it is worked out again next time."""
    path = _path(kind, address)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_packed(address, payload))
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _packed(address: str, payload: bytes) -> bytes:
    return f"{_digest(address)}{hashlib.sha256(payload).hexdigest()}\n".encode() + payload


def _path(kind: str, address: str) -> Path:
    return cache_folder(kind) / _digest(address)


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
