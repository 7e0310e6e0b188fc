"""A statistics object: named arrays with the checksum of the whole. Pure (no I/O).

    8 bytes     "drfstat" and a zero
    8 bytes     length of the header, little-endian
    header      JSON: format, representation, rows, arrays as [name, dtype, shape]; then zeros up to a multiple of 64
    arrays      one after the other, little-endian, C order, each begun at a multiple of 64
    16 bytes    XXH3-128 of all bytes before, in every version of the format

A reader holds the checksum before it believes the header, and its arrays are views of the bytes that it read.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.codecs import checksum
from store.errors import Corrupt, InvalidRequest, UnsupportedFormat
from store.ids import canonical_json

STATISTICS_FORMAT = 1
"""Version of the statistics objects."""

DIGEST_BYTES = 16
"""Size of the checksum at the end."""

_MAGIC = b"drfstat\0"
_ALIGNED = 64
_DTYPES = ("<f8", "<i8")


def encode(rep_id: str, rows: str, arrays: Mapping[str, NDArray[Any]]) -> memoryview:
    """Serialise arrays; equal arrays give equal bytes.

    Raises
    ------
    InvalidRequest
        If there is none, or one is not float64 or int64.
    """
    if not arrays:
        raise InvalidRequest(f"statistics {rows!r} of representation {rep_id} have no array.")
    for name, array in arrays.items():
        if array.dtype.newbyteorder("<").str not in _DTYPES:
            raise InvalidRequest(f"statistics {rows!r}: {name} must be float64 or int64, got {array.dtype}.")
    described = [[n, a.dtype.newbyteorder("<").str, list(a.shape)] for n, a in sorted(arrays.items())]
    header = canonical_json({"format": STATISTICS_FORMAT, "representation": rep_id, "rows": rows, "arrays": described})
    place = len(_MAGIC) + 8 + len(header)
    places = []
    for name in sorted(arrays):
        place = _aligned(place)
        places.append((name, place))
        place += arrays[name].nbytes
    out = np.zeros(place + DIGEST_BYTES, np.uint8)
    start = _MAGIC + len(header).to_bytes(8, "little") + header
    out[: len(start)] = np.frombuffer(start, np.uint8)
    for name, at in places:
        a = arrays[name]
        out[at : at + a.nbytes].view(a.dtype.newbyteorder("<")).reshape(a.shape)[...] = a
    out[place:] = np.frombuffer(bytes.fromhex(checksum(out[:place])), np.uint8)
    return out.data


def decode(data: NDArray[np.uint8], digest: str, *, rep_id: str, rows: str, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays in ``data``, as views of it.

    Parameters
    ----------
    data
        The object's bytes.
    digest
        Checksum of all of them but the last `DIGEST_BYTES`, as `store.codecs.checksum` gives it.
    rep_id, rows
        What it must be the statistics of.
    name
        The object's name, for messages.

    Raises
    ------
    Corrupt
        If they are not what `encode` made for this representation and these rows.
    UnsupportedFormat
        If a newer drfarm wrote them.
    """
    if len(data) < DIGEST_BYTES or data[-DIGEST_BYTES:].tobytes().hex() != digest:
        raise not_what_was_written(name, "its checksum does not hold")
    at = len(_MAGIC) + 8
    size = int.from_bytes(data[len(_MAGIC) : at].tobytes(), "little")
    if data[: len(_MAGIC)].tobytes() != _MAGIC or at + size > len(data):
        raise not_what_was_written(name, "it is no statistics object")
    try:
        header = json.loads(data[at : at + size].tobytes())
        version = header["format"]
    except (ValueError, KeyError, TypeError) as e:
        raise not_what_was_written(name, "it has no header") from e
    if version != STATISTICS_FORMAT:
        raise UnsupportedFormat(
            f"{name} has statistics format {version}; this drfarm reads and writes format {STATISTICS_FORMAT}. Upgrade "
            "drfarm."
        )
    if (header["representation"], header["rows"]) != (rep_id, rows):
        raise not_what_was_written(name, f"it is of rows {header['rows']!r} of {header['representation']}")
    found = {}
    place = at + size
    for array, dtype, shape in header["arrays"]:
        place = _aligned(place)
        n_bytes = 8 * math.prod(shape)
        found[array] = data[place : place + n_bytes].view(dtype).reshape(shape)
        place += n_bytes
    if place + DIGEST_BYTES != len(data):
        raise not_what_was_written(name, f"its arrays end at byte {place}")
    return found


def not_what_was_written(name: str, why: str) -> Corrupt:
    """Return the error of a damaged object."""
    return Corrupt(
        f"{name} is not what was written: {why}. Run `drfarm store verify --discard` and then the study again: it is "
        "made anew."
    )


def _aligned(place: int) -> int:
    return -(-place // _ALIGNED) * _ALIGNED
