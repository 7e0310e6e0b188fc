"""Content addresses and safe names. Pure (no I/O)."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote

from store.errors import InvalidRequest

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
"""A value that JSON can carry."""

_LONGEST_SEGMENT = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*\Z")


def canonical_json(value: JSON) -> bytes:
    """Serialise to one JSON text, whatever the order of keys: sorted, no spaces, UTF-8; 1, 1.0 and True are distinct.

    Raises
    ------
    InvalidRequest
        If JSON can't carry it: NaN or infinity, text that is not Unicode, two keys of one name, another type.
    """
    try:
        text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except InvalidRequest:
        raise
    except (TypeError, ValueError) as e:
        raise InvalidRequest(f"a value can't be written as JSON: {e}.") from e


def _plain(value: JSON) -> object:
    if isinstance(value, Mapping):
        plain = {str(k): _plain(v) for k, v in value.items()}
        if len(plain) != len(value):
            raise InvalidRequest(f"two of the keys {list(value)!r} have one name in JSON.")
        return plain
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def content_id(value: JSON) -> str:
    """Return the sha256 of a value's canonical JSON, as 64 hexadecimal characters."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def check_name(what: str, name: str) -> str:
    """Return ``name`` where it can stand for a study, model or data set; it can't leave the store's root.

    Raises
    ------
    InvalidRequest
        If it has other characters than letters, digits and ``. _ + @ -``, or does not begin with a letter or digit.
    """
    if not _NAME.match(name) or len(name) > 120:
        raise InvalidRequest(
            f"{what} {name!r}: a name has 1 to 120 letters, digits and . _ + @ -, and begins with a letter or digit."
        )
    return name


def path_segment(name: str) -> str:
    """Return ``name`` as one readable path segment of at most 200 characters; distinct names stay distinct."""
    segment = quote(name, safe="+@", errors="surrogatepass")
    if segment.startswith("."):
        segment = "%2E" + segment[1:]
    # `quote` leaves no comma, so one marks what no name spells: the empty name, and a long one cut to fit file systems.
    if len(segment) > _LONGEST_SEGMENT:
        digest = hashlib.sha256(segment.encode()).hexdigest()
        return f"{segment[: _LONGEST_SEGMENT - len(digest) - 1]},{digest}"
    return segment or ","
