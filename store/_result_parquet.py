"""A results file: plain Parquet whose footer holds the checksum of the whole file. Pure (no I/O).

A flipped bit in a Parquet footer or page header can rename a column or hide rows without any reader noticing, and the
format's page checksums cover neither. So the file's metadata has one more key, ``drfarm.results``, with the value
``<format>:<xxh3-128>``: the digest of the file as it is while the digest itself is all zeros.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from store import timings
from store.errors import Corrupt, UnsupportedFormat
from store.schema import RESULTS_FORMAT

if TYPE_CHECKING:
    import pyarrow.dataset as pads

_KEY = b"drfarm.results"
_ZEROS = b"0" * 32
_BINARY_FIELD = 0x18
"""Header of the value in a Thrift key-value pair, before its length.
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""
_ROW_GROUP = 131_072


def encode(table: pa.Table, made: Mapping[str, timings.BatchTiming] | None = None) -> bytes:
    """Serialise a table, and when its batches were made.

    No statistics are written: nobody needs them, and they make small files twice as large.
    """
    sink = pa.BufferOutputStream()
    schema = table.schema.remove_metadata()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_statistics=False) as writer:
        writer.write_table(table.replace_schema_metadata(None), row_group_size=_ROW_GROUP)
        if made:
            writer.add_key_value_metadata({timings.KEY: timings.packed(made)})
        writer.add_key_value_metadata({_KEY.decode(): f"{RESULTS_FORMAT}:{_ZEROS.decode()}"})
    data = bytearray(sink.getvalue())
    start, stop = _digest_span(data, "a new file")
    data[start:stop] = _digest(data, start, stop)
    return bytes(data)


def held(data: bytes, name: str) -> bytes:
    """Return ``data`` where it is what `encode` made.

    Raises
    ------
    Corrupt
        If it is not; the message names it.
    UnsupportedFormat
        If a newer drfarm wrote it.
    """
    start, stop = _digest_span(data, name)
    if _digest(data, start, stop) != data[start:stop]:
        raise _not_what_was_written(name, "its checksum does not hold")
    version = _version(data, start)
    if version != str(RESULTS_FORMAT):
        raise UnsupportedFormat(
            f"{name} has results format {version}; this drfarm reads and writes format {RESULTS_FORMAT}. Upgrade "
            "drfarm."
        )
    return data


def made_when(data: bytes, batches: Collection[str]) -> dict[str, timings.BatchTiming]:
    """Return when some of the batches of a file were made; nothing of those that an earlier version wrote."""
    text = (pq.read_metadata(pa.BufferReader(data)).metadata or {}).get(timings.KEY.encode())
    return {} if text is None else timings.unpacked(text, batches)


def dataset(files: Sequence[bytes], schema: pa.Schema) -> "pads.Dataset":
    """Return files that are held in memory as one lazy dataset: columns are decoded when they are asked for."""
    import pyarrow.dataset as pads  # it imports pandas: a second that no worker needs

    form = pads.ParquetFileFormat()
    return pads.FileSystemDataset([form.make_fragment(_owned(f)) for f in files], schema, form)


def _digest_span(data: bytes | bytearray, name: str) -> tuple[int, int]:
    """Return where the digest is: it ends the value that follows the last occurrence of the key."""
    at = data.rfind(_KEY) + len(_KEY)
    value = at + 2
    if at < len(_KEY) or value > len(data) or data[at] != _BINARY_FIELD:
        raise _not_what_was_written(name, "it has no checksum")
    stop = value + data[at + 1]
    start = stop - len(_ZEROS)
    if start <= value or stop > len(data):
        raise _not_what_was_written(name, "it has no checksum")
    return start, stop


def _version(data: bytes, start: int) -> str:
    at = data.rfind(_KEY) + len(_KEY) + 2
    return data[at : start - 1].decode("utf-8", "replace")


def _digest(data: bytes | bytearray, start: int, stop: int) -> bytes:
    view = memoryview(data)
    whole = xxhash.xxh3_128()
    for part in (view[:start], _ZEROS, view[stop:]):
        whole.update(part)
    return whole.hexdigest().encode()


def _not_what_was_written(name: str, why: str) -> Corrupt:
    return Corrupt(
        f"{name} is not what was written: {why}. Run `drfarm store verify --discard`, then the study again: what is "
        "missing is computed anew."
    )


def _owned(data: bytes) -> pa.Buffer:
    """Copy bytes into memory of Arrow's own: its threads may free it when the process ends.

    To free Python's bytes they need the interpreter, and the process aborts where that is over already.
    """
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return buffer
