"""Where a bucket is and with which credentials: its address and the usual environment. No request is made."""

import configparser
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from obstore.store import S3Store

from store.errors import InvalidRequest

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Variables that name the server, the first that is set counts."""

_KEYLESS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Variables of machines that hold no key: a role is theirs."""

_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long to try before a request is given up."""

    connect_s: int
    """Seconds for a connection."""
    request_s: int
    """Seconds for one request, its body included."""
    retries: int
    """Further attempts, with pauses that double up to `pause_s`."""
    pause_s: int
    """Longest pause, in seconds."""
    total_s: int
    """Seconds after which there is no further attempt."""


FIRST = Waiting(connect_s=2, request_s=5, retries=2, pause_s=1, total_s=8)
"""For the first request of a command: who mistyped an address should not wait."""

WORK = Waiting(connect_s=5, request_s=120, retries=20, pause_s=5, total_s=60)
"""For work: a server that restarts within a minute costs nothing but that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAddress:
    """Where a root in a bucket is. It holds no secret."""

    bucket: str
    """The bucket."""
    prefix: str
    """Folder in the bucket, without slashes at its ends; may be empty."""
    endpoint: str
    """Address of the server, for people."""


def bucket_address(url: str) -> BucketAddress:
    """Read ``s3://bucket/prefix`` and the environment's endpoint.

    Raises
    ------
    InvalidRequest
        If the address is no such one, or the endpoint's is not of http or https.
    """
    # An address with a secret in it is refused without being repeated.
    if "@" in url or "?" in url or "#" in url:
        raise InvalidRequest(
            "the store's address has one of the characters @ ? #: expected s3://bucket/prefix. Credentials and the "
            "endpoint are read from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL)."
        )
    parts = urlsplit(url)
    segments = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if not parts.netloc or any(s in ("", ".", "..") for s in segments):
        raise InvalidRequest(f"{url!r} is no address of a store: expected s3://bucket/prefix.")
    endpoint = _endpoint()
    if endpoint is None:
        shown = "Amazon S3"
    else:
        if not endpoint.lower().startswith(("http://", "https://")):
            raise InvalidRequest(
                f"the endpoint is {_shown(endpoint)!r}: expected AWS_ENDPOINT_URL to begin with http:// or https://."
            )
        shown = _shown(endpoint)
    return BucketAddress(bucket=parts.netloc, prefix="/".join(segments), endpoint=shown)


def connected(address: BucketAddress, waiting: Waiting, *, bulk_delete: bool = True) -> S3Store:
    """Return the library's store of this address, with the credentials of this process.

    Parameters
    ----------
    address
        Where it is.
    waiting
        How patient its requests are.
    bulk_delete
        Whether the server knows S3's DeleteObjects.

    Raises
    ------
    InvalidRequest
        If the environment asks for a profile that there is not, or for no credentials of the machine and has none.
    """
    endpoint = _endpoint()
    options: dict[str, Any] = dict(_credentials())
    if not bulk_delete:
        options["disable_bulk_delete"] = True
    if endpoint is not None:
        options["endpoint"] = endpoint
    client: Any = {
        "connect_timeout": f"{waiting.connect_s}s",
        "timeout": f"{waiting.request_s}s",
        "read_timeout": f"{min(30, waiting.request_s)}s",
    }
    if endpoint is not None and endpoint.lower().startswith("http://"):
        client["allow_http"] = True
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        client_options=client,
        retry_config={
            "max_retries": waiting.retries,
            "retry_timeout": timedelta(seconds=waiting.total_s),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=waiting.pause_s),
                "base": 2,
            },
        },
        **options,
    )


def conditional_puts_trusted() -> bool:
    """Say whether the environment leaves a server's create-only puts to be used (DRFARM_CONDITIONAL_PUT)."""
    return os.environ.get("DRFARM_CONDITIONAL_PUT", "on").strip().lower() in _TRUE


def _endpoint() -> str | None:
    return next((v for name in _ENDPOINTS if (v := os.environ.get(name, "").strip())), None)


def _shown(endpoint: str) -> str:
    """Return an endpoint without what may be a secret in it."""
    scheme, _, rest = endpoint.rpartition("://")
    host = rest.split("?", 1)[0].rpartition("@")[2].rstrip("/")
    return f"{scheme}://{host}" if scheme else host


def _credentials() -> dict[str, str]:
    """Return credentials that the library does not find by itself: those of a profile in the shared file."""
    given = os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")
    anonymous = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in _TRUE
    if given or anonymous or any(os.environ.get(name) for name in _KEYLESS):
        return {}
    profile = os.environ.get("AWS_PROFILE", "").strip()
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        found = dict(parser[profile or "default"])
    except (configparser.Error, KeyError, OSError, UnicodeDecodeError):  # never repeated: the file holds secrets
        found = {}
    names = {
        "access_key_id": "aws_access_key_id",
        "secret_access_key": "aws_secret_access_key",
        "session_token": "aws_session_token",
    }
    credentials = {ours: found[theirs] for ours, theirs in names.items() if theirs in found}
    if {"access_key_id", "secret_access_key"} <= set(credentials):
        return credentials
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() in _TRUE
    if profile or disabled:
        where = f"profile {profile!r} in {path}" if profile else f"the environment and {path}"
        raise InvalidRequest(
            f"no credentials for the bucket: looked in {where}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    return {}
