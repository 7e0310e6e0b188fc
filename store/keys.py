"""What a representation is: the fields that decide its values, and the address computed from them. Pure (no I/O)."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from store.errors import InvalidRequest, UnsupportedFormat
from store.ids import JSON, canonical_json, check_name, content_id, path_segment

FEATURES_FORMAT = 1
"""Version of the layout below ``features/`` and ``ledger/``; it enters every id."""

DTYPES = ("float32", "float16")
_LATER: dict[str, Any] = {"neurons": None, "precision": "float32"}
"""Fields that came later, with the value that leaves ids, and what is written of a key, as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepresentationKey:
    """Activations of one model at one layer for one split of one data set under one transform."""

    model: str
    """Readable name; not part of the id."""
    dataset: str
    """Readable name; not part of the id."""
    split: str
    """Split of the data set, such as ``train``."""
    layer: str
    """Layer, as named in the network, or ``penultimate``."""
    weights: str
    """Digest of the weights."""
    architecture: str
    """Where the network's code comes from, such as ``timm:mobilenetv2_100``."""
    arguments: Mapping[str, JSON]
    """Arguments that built it."""
    pool: str
    """How positions or tokens became one vector."""
    transform: str
    """Named, versioned transform."""
    transform_seed: int | None
    """Seed of an augmenting transform; None where it has no randomness."""
    mean: tuple[float, ...]
    """Normalisation, per channel of an image in [0, 1]."""
    std: tuple[float, ...]
    """Normalisation, per channel."""
    input_size: int
    """Side of the network's input in pixels."""
    dataset_fingerprint: str
    """Digest of the split's samples, labels and order."""
    n_views: int
    """Passes that are stored (1 for a transform without randomness)."""
    dtype: str
    """``float32`` or ``float16``."""
    neurons: str | None = None
    """Digest of the indices of the neurons that are kept, where they are not all; None where they are."""
    precision: str = "float32"
    """Arithmetic of the network: ``float32``, ``bfloat16`` or ``float16`` (mixed), and ``+compile`` where compiled."""

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_name("dataset", self.dataset)
        check_name("split", self.split)
        # Equal keys have equal ids: 0 and 0.0, a list and a tuple are one value.
        object.__setattr__(self, "arguments", json.loads(canonical_json(self.arguments)))
        object.__setattr__(self, "mean", tuple(float(v) + 0.0 for v in self.mean))
        object.__setattr__(self, "std", tuple(float(v) + 0.0 for v in self.std))
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)):
            raise InvalidRequest(f"normalisation must be finite, got mean {self.mean} and std {self.std}.")
        if self.dtype not in DTYPES:
            raise InvalidRequest(f"dtype {self.dtype!r}: a representation is stored as one of {', '.join(DTYPES)}.")
        if self.n_views < 1:
            raise InvalidRequest(f"views must be >= 1, got {self.n_views}.")

    def __hash__(self) -> int:
        return hash((self.id, self.model, self.dataset))

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that decide the values: all but the readable names of model and data set."""
        fields = asdict(self) | {"features_format": FEATURES_FORMAT, "arguments": dict(self.arguments)}
        return {k: v for k, v in _without_defaults(fields).items() if k not in ("model", "dataset")}

    @property
    def id(self) -> str:
        """Content address: sha256 of `identity`, 64 hexadecimal characters."""
        return content_id(self.identity)

    @property
    def path(self) -> str:
        """Readable path of the Zarr group below the store's root."""
        names = (self.model, self.dataset, self.split, self.layer)
        return "/".join(("features", *(path_segment(n) for n in names), self.id))

    def to_dict(self) -> dict[str, Any]:
        """Return every field, as JSON can carry it; those that came later only where they say something."""
        return _without_defaults(asdict(self) | {"arguments": dict(self.arguments)})

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "RepresentationKey":
        """Read one back from `to_dict` through JSON; `UnsupportedFormat` where a newer drfarm wrote it."""
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise UnsupportedFormat(
                f"a representation has {', '.join(unknown)}, which this drfarm does not know: a newer one wrote it. "
                "Upgrade drfarm."
            )
        return cls(**{**value, "mean": tuple(value["mean"]), "std": tuple(value["std"])})


def _without_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if k not in _LATER or v != _LATER[k]}
