"""What loading a network and opening a split told: plain data that travels, and that a caller may keep."""

from collections.abc import Sequence
from dataclasses import dataclass

from extract._fingerprint import cached_fingerprint, manifest_digest
from extract._trial import try_out
from extract.datasets import open_samples
from extract.layers import ResolvedLayer, resolve_layers
from extract.models import load_model
from extract.spec import DatasetSpec, LayerSpec, ModelSpec
from store.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What loading a network told of it."""

    spec: ModelSpec
    """As it was asked for."""
    weights: str
    """Digest of the weights, sha256, hexadecimal."""
    input_size: int
    """Side of the square input in pixels."""
    mean: tuple[float, ...]
    """Normalisation per channel of an image in [0, 1]."""
    std: tuple[float, ...]
    """Normalisation per channel."""
    layers: tuple[ResolvedLayer, ...]
    """What is recorded, with pooling and width."""
    flop: float = 0.0
    """Floating-point operations of one image's forward pass (a multiply-add is two); 0 where they are not known."""
    n_parameters: int = 0
    """Values in its state."""
    notes: tuple[str, ...] = ()
    """What a person should know of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitDescription:
    """What opening a split told of it."""

    spec: DatasetSpec
    """As it was asked for."""
    split: str
    """Name of the split in its source."""
    fingerprint: str
    """Digest of the samples and their content, sha256, hexadecimal."""
    manifest: str
    """Digest of names, labels and sizes alone, sha256, hexadecimal: what a running job checks."""
    n_samples: int
    """Samples."""
    n_bytes: int
    """Size of the samples' stored content, in bytes."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the labels."""


def describe_model(spec: ModelSpec, layers: Sequence[LayerSpec]) -> ModelDescription:
    """Load a network and find its layers; it is not kept.

    Raises
    ------
    InvalidRequest
        One of `load_model`'s or `resolve_layers`' errors.
    """
    where = f"model {spec.name!r}"
    if not layers:
        raise InvalidRequest(f"{where}: no layers were asked for; name at least one, such as penultimate.")
    loaded = load_model(spec)
    trial = try_out(loaded, where=where)
    return ModelDescription(
        spec=spec,
        weights=loaded.weights,
        input_size=loaded.input_size,
        mean=loaded.mean,
        std=loaded.std,
        layers=resolve_layers(loaded, layers, where=where, trial=trial),
        flop=trial.flop,
        n_parameters=sum(v.numel() for v in loaded.module.state_dict().values()),
        notes=loaded.notes,
    )


def describe_split(spec: DatasetSpec, split: str) -> SplitDescription:
    """List a split and hash its content.

    Raises
    ------
    InvalidRequest
        One of `open_samples`' errors.
    """
    samples = open_samples(spec, split)
    manifest = manifest_digest(samples)
    place = f"{spec.source}\n{split}\n{spec.root or ''}"
    return SplitDescription(
        spec=spec,
        split=split,
        fingerprint=cached_fingerprint(samples, place=place, manifest=manifest),
        manifest=manifest,
        n_samples=len(samples),
        n_bytes=sum(samples.size_bytes(i) for i in range(len(samples))),
        classes=samples.classes,
    )
