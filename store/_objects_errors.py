"""Our errors, with the address and what to do, for those of the storage library."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from store.errors import InvalidRequest, NotFound, StorageFailure, StoreError

_S3_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_CREDENTIALS = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN, where it has one) to those of a user who "
    "may read, write, list and delete in the bucket."
)
_NO_CREDENTIALS = ("169.254.169.254", "169.254.170.2", "/latest/api/token", "/latest/meta-data")
_REFUSED = (
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
)
_REGIONS = ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect")


@contextmanager
def translated(action: str, url: str, key: str, *, endpoint: str | None = None) -> Iterator[None]:
    """Raise our errors, with the address, for the library's; refuse a name that could leave the root.

    Parameters
    ----------
    action
        What is done, as in ``could not read``.
    url
        The root.
    key
        The object; empty for the root itself.
    endpoint
        Where the server of a bucket is; None where the root is in no bucket.
    """
    if key and any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidRequest(f"{url}: {key!r} can't name an object: it has an empty segment, or one of dots.")
    try:
        yield
    except StoreError:  # ours already
        raise
    except FileNotFoundError as e:
        if endpoint is not None and s3_code(e) == "NoSuchBucket":
            raise of_bucket(e, action, url, key, endpoint) from e
        raise NotFound(f"{url}: there is no object {key!r}.") from e
    except ValueError as e:
        raise InvalidRequest(f"{url}: {key!r} can't name an object: {e}.") from e
    except (BaseError, OSError) as e:
        if endpoint is not None:
            raise of_bucket(e, action, url, key, endpoint) from e
        raise _of_disk(e, action, url, key) from e


def s3_code(error: BaseException) -> str | None:
    """Return the code with which a server says what is wrong, such as ``NoSuchBucket``; None where it gave none."""
    match = _S3_CODE.search(str(error))
    return match[1] if match else None


def http_status(error: BaseException) -> int | None:
    """Return the status with which a server answered; None where it did not answer."""
    match = _STATUS.search(str(error))
    return int(match[1]) if match else None


def of_bucket(error: BaseException, action: str, url: str, key: str, endpoint: str) -> StorageFailure:
    """Return the error of a bucket. It has only codes of the server's answer: that may repeat what was signed."""
    text, code, status = str(error), s3_code(error), http_status(error)
    said = code or (str(status) if status else "no reason given")
    what = f"{action} {key!r}" if key else action
    if code == "NoSuchBucket":
        return StorageFailure(
            f"{url}: there is no such bucket at {endpoint}. Create it, or correct the store's address or "
            "AWS_ENDPOINT_URL."
        )
    if any(s in text for s in _NO_CREDENTIALS):
        return StorageFailure(f"{url}: no credentials were found. {_CREDENTIALS}")
    if code == "RequestTimeTooSkewed":
        return StorageFailure(f"{url}: {endpoint} refused a request, as this machine's clock is wrong. Set the clock.")
    if code in _REGIONS:
        return StorageFailure(
            f"{url}: {endpoint} refused the region ({code}). Set AWS_REGION to the region of the bucket."
        )
    if status in (401, 403) or code in _REFUSED or isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return StorageFailure(f"{url}: {endpoint} refused the credentials ({said}): could not {what}. {_CREDENTIALS}")
    if status == 507 or (code and "Quota" in code):
        return StorageFailure(
            f"{url}: the bucket's quota is reached ({said}): could not {what}. Raise it, or free space."
        )
    if status is None:
        return StorageFailure(
            f"{url}: {endpoint} does not answer ({_why_silent(text)}): could not {what}. Check AWS_ENDPOINT_URL and "
            "that the server runs, then run again: what is finished is kept."
        )
    return StorageFailure(
        f"{url}: {endpoint} failed ({said}): could not {what}. Check the server; it is safe to run again."
    )


def _why_silent(text: str) -> str:
    for sign, reason in (
        ("BadScheme", "its address must begin with https:// or http://"),
        ("dns error", "no such host"),
        ("Connection refused", "connection refused"),
        ("ertificate", "its certificate is not trusted"),
        ("TimedOut", "timed out"),
        ("timed out", "timed out"),
    ):
        if sign in text:
            return reason
    return "the connection broke"


def _of_disk(error: Exception, action: str, url: str, key: str) -> StorageFailure:
    text = str(error)
    remedy = "Check the disk, the address and the permissions; it is safe to run again."
    if "os error 28" in text or "No space left" in text:
        remedy = "The disk is full: free some space, then run again; what is finished is kept."
    elif any(s in text for s in ("os error 27", "File too large", "os error 122", "quota exceeded")):
        remedy = "A quota or a limit on file sizes is reached: raise it or free some space, then run again."
    elif any(s in text for s in ("os error 30", "os error 13", "os error 1)", "Permission denied")):
        remedy = "The place is read-only for this user: choose another store with --store, or change its permissions."
    elif any(s in text for s in ("os error 20", "os error 17", "Not a directory", "File exists")):
        remedy = "A file stands where a folder is needed: choose another store with --store."
    reason = text.split("\n", 1)[0]
    return StorageFailure(f"{url}: could not {action} {key!r}: {reason}. {remedy}")
