"""When each batch of results was made, and by which process: kept in the footer of the file that holds the batch.

Columns of the results are a contract, and a batch has one such record whatever its rows; so it is no column. A merged
file has the records of all its batches. Pure (no I/O).
"""

import base64
import json
import os
import socket
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

TIMINGS = pa.schema(
    [
        ("kind", pa.string()),
        ("batch_id", pa.string()),
        ("n_jobs", pa.int64()),
        ("worker", pa.string()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("elapsed_s", pa.float64()),
    ]
)
"""One row for each batch. ``worker`` is the process that made it, as HOST:PID; it and the times are null in files of
earlier versions."""

KEY = "drfarm.timings"
"""Where they are in a file's footer."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTiming:
    """When a batch was made, and where."""

    worker: str
    """The process, as HOST:PID."""
    started_at: datetime
    """When work on it began (UTC)."""
    finished_at: datetime
    """When it was written (UTC)."""

    @property
    def elapsed_s(self) -> float:
        """Seconds between the two, by the clock of the host."""
        return (self.finished_at - self.started_at).total_seconds()


def timing_here(started_at: datetime) -> BatchTiming:
    """Return the record of a batch that this process has been making since then, and writes now."""
    return BatchTiming(
        worker=f"{socket.gethostname()}:{os.getpid()}",
        started_at=started_at.astimezone(UTC),
        finished_at=datetime.now(UTC),
    )


def packed(timings: Mapping[str, BatchTiming]) -> str:
    """Return records by batch as one line of ASCII: a merged file has a hundred thousand of them."""
    rows = [
        (batch, t.worker, (t.started_at - _EPOCH) // _MICROSECOND, (t.finished_at - _EPOCH) // _MICROSECOND)
        for batch, t in sorted(timings.items())
    ]
    return base64.b64encode(zlib.compress(json.dumps(rows, separators=(",", ":")).encode())).decode()


def unpacked(text: bytes, batches: Collection[str]) -> dict[str, BatchTiming]:
    """Return the records of some batches; nothing of one that has none."""
    return {
        batch: BatchTiming(
            worker=worker,
            started_at=_EPOCH + started * _MICROSECOND,
            finished_at=_EPOCH + finished * _MICROSECOND,
        )
        for batch, worker, started, finished in json.loads(zlib.decompress(base64.b64decode(text)))
        if batch in batches
    }
