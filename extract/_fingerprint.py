"""Digests of a split: which samples in which order, and what is in them."""

import hashlib

import numpy as np

from extract._kept import keep, kept
from extract.datasets import Samples

WHOLE_BYTES = 1 << 30
"""Up to this size every sample's content is hashed."""
SAMPLED = 1024
"""Samples whose content is hashed in a larger split, evenly spaced; every name, label and size still counts."""
KEPT_BYTES = 64 << 20
"""From this size on a fingerprint is kept: below, reading everything again takes a blink."""


def manifest_digest(samples: Samples) -> str:
    """Return the sha256 over classes, ids, labels and sizes, hexadecimal: cheap, and told by a listing alone."""
    digest = hashlib.sha256(b"drfarm manifest 1\n")
    for name in samples.classes:
        digest.update(f"class\0{name}\n".encode())
    for i, (label, name) in enumerate(zip(samples.labels.tolist(), samples.sample_ids, strict=True)):
        digest.update(f"{label}\0{samples.size_bytes(i)}\0{name}\n".encode())
    return digest.hexdigest()


def fingerprint(samples: Samples) -> str:
    """Return the sha256 over the manifest and the samples' content, hexadecimal.

    Content is read whole up to `WHOLE_BYTES`, and of `SAMPLED` evenly spaced samples beyond.
    """
    return _with_content(samples, manifest_digest(samples))


def cached_fingerprint(samples: Samples, *, place: str, manifest: str | None = None) -> str:
    """Return `fingerprint`, from the user's cache where nothing has changed since it was computed.

    Parameters
    ----------
    samples
        A split.
    place
        Where it comes from: source, split and root. Equal copies of a data set are kept apart.
    manifest
        Its `manifest_digest`, where the caller has it already.

    Notes
    -----
    What may be trusted when: a split is listed at every call, so each name, label and size is looked at, and so is
    each file's stamp, when its content and its inode last changed. Manifest and stamp are part of the address under
    which a fingerprint is kept: what differs finds nothing. The one change that could hide keeps the file's size and
    falls in the same tick of the file system's clock as the look before it; so nothing is kept until the newest file
    has settled. An entry carries its checksum: a damaged one counts as absent and is written again.

    What is left is a file system that doesn't tell changes. There, empty ``$DRFARM_CACHE/fingerprints``.
    """
    manifest = manifest or manifest_digest(samples)
    stamp = samples.stamp
    if stamp is None or _total_bytes(samples) < KEPT_BYTES:
        return _with_content(samples, manifest)
    address = f"drfarm kept fingerprint 1\n{place}\n{manifest}\n{stamp.digest}\n"
    found = kept("fingerprints", address)
    if found is not None:
        return found.decode()
    settled = stamp.settled  # asked before anything is read: what changes from now on has another stamp
    digest = _with_content(samples, manifest)
    if settled:
        keep("fingerprints", address, digest.encode())
    return digest


def _with_content(samples: Samples, manifest: str) -> str:
    n = len(samples)
    rows = range(n)
    if _total_bytes(samples) > WHOLE_BYTES:
        rows = np.linspace(0, n - 1, min(SAMPLED, n)).round().astype(int).tolist()
    digest = hashlib.sha256(f"drfarm fingerprint 1\n{manifest}\n".encode())
    for i in rows:
        digest.update(hashlib.sha256(samples.content(i)).digest())
    return digest.hexdigest()


def _total_bytes(samples: Samples) -> int:
    return sum(samples.size_bytes(i) for i in range(len(samples)))
