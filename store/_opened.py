"""What ``representation.json`` says: a representation's identity, shape and codec, and digests of its small arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store import ledger, records
from store.codecs import Codec, checksum
from store.codecs import codec as codec_named
from store.errors import Corrupt, NotFound, UnsupportedFormat
from store.grid import Grid
from store.keys import FEATURES_FORMAT, RepresentationKey
from store.objects import Objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What ``representation.json`` says."""

    key: RepresentationKey
    """What it is."""
    grid: Grid
    """Its chunks."""
    layer_width: int
    """Neurons of the whole layer."""
    codec: Codec
    """How chunks are stored."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the labels."""
    labels: str
    """Digest of the labels."""
    digests: Mapping[str, str]
    """Checksum of every object of the group but the chunks of ``activations``."""
    created_at: datetime
    """When it was opened for writing (UTC)."""


def opening_record(
    key: RepresentationKey,
    grid: Grid,
    codec: Codec,
    *,
    layer_width: int,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    objects: Mapping[str, bytes],
) -> bytes:
    """Serialise the record of a representation that is opened now, whose group has these objects."""
    record: dict[str, Any] = {
        "format": FEATURES_FORMAT,
        "key": key.to_dict(),
        "width": grid.width,
        "n_samples": grid.n_samples,
        "chunk_rows": grid.chunk_rows,
        "codec": codec.name,
        "classes": list(classes),
        "labels": labels_digest(labels),
        "digests": {n: checksum(d) for n, d in objects.items() if n.startswith(key.path)},
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if key.neurons is not None:  # of a whole layer it is the width, and its record stays as it always was
        record["layer_width"] = layer_width
    return records.to_bytes(record)


def read_opened(objects: Objects, rep_id: str) -> Opened | None:
    """Read the record of a representation; None where there is none.

    Raises
    ------
    Corrupt
        If it is not what was written, or of another representation.
    UnsupportedFormat
        If a newer drfarm wrote it.
    """
    name = ledger.opened_key(rep_id)
    if not ledger.is_id(rep_id):
        return None
    try:
        record = records.from_bytes(objects.get(name), where=name)
    except NotFound:
        return None
    if record.get("format") != FEATURES_FORMAT:
        raise UnsupportedFormat(
            f"{objects.url}: {name} has format {record.get('format')}; this drfarm reads and writes features "
            f"of format {FEATURES_FORMAT}. Upgrade drfarm."
        )
    key = RepresentationKey.from_dict(record["key"])
    if key.id != rep_id:
        raise Corrupt(
            f"{objects.url}: {name} describes representation {key.id}. Run `drfarm store verify --discard`, "
            "then the study again: it is made anew."
        )
    return Opened(
        key=key,
        grid=Grid(
            n_views=key.n_views,
            n_samples=record["n_samples"],
            width=record["width"],
            chunk_rows=record["chunk_rows"],
        ),
        layer_width=record.get("layer_width", record["width"]),
        codec=codec_named(record["codec"]),
        classes=tuple(record["classes"]),
        labels=record["labels"],
        digests=record["digests"],
        created_at=datetime.fromisoformat(record["created_at"]),
    )


def labels_digest(labels: NDArray[np.int64]) -> str:
    """Return the checksum of labels, shape (n_samples,), int64."""
    return checksum(np.ascontiguousarray(labels, dtype="<i8"))
