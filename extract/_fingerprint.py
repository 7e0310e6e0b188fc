"""Digests of a split: which samples in which order, and what is in them."""

import hashlib

import numpy as np

from extract.datasets import Samples

WHOLE_BYTES = 1 << 30
"""Up to this size every sample's content is hashed."""
SAMPLED = 1024
"""Samples whose content is hashed in a larger split, evenly spaced; every name, label and size still counts."""


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
    n = len(samples)
    total = sum(samples.size_bytes(i) for i in range(n))
    rows = range(n) if total <= WHOLE_BYTES else np.linspace(0, n - 1, min(SAMPLED, n)).round().astype(int).tolist()
    digest = hashlib.sha256(f"drfarm fingerprint 1\n{manifest_digest(samples)}\n".encode())
    for i in rows:
        digest.update(hashlib.sha256(samples.content(i)).digest())
    return digest.hexdigest()
