"""What would run: one job per model and data set split, with all its layers.

Describing reads the world (weights, images); `combine_jobs` is pure, so that a caller who kept the descriptions plans
a finished study without loading a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from extract._fingerprint import fingerprint, manifest_digest
from extract.datasets import open_samples
from extract.layers import ResolvedLayer, resolve_layers
from extract.models import load_model
from extract.spec import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec
from extract.transforms import transform_version
from store.errors import InvalidRequest
from store.keys import RepresentationKey

_ITEM_BYTES = {"float32": 4, "float16": 2}
N_VIEWS = 1
"""A transform without randomness has one view."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """One representation that a job makes."""

    layer: ResolvedLayer
    """What is recorded."""
    key: RepresentationKey
    """What it is called for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionJob:
    """One network over one split: everything `run_extraction` needs, and picklable."""

    model: ModelDescription
    """The network."""
    split: SplitDescription
    """The images."""
    transform: str
    """Versioned name of the transform."""
    layers: tuple[PlannedLayer, ...]
    """What is recorded, in one pass."""

    @property
    def name(self) -> str:
        """Readable name: model, data set and split."""
        return f"{self.model.spec.name} / {self.split.spec.name} / {self.split.split}"

    @property
    def n_samples(self) -> int:
        """Images of the split, hence forwards of an extraction from nothing."""
        return self.split.n_samples

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the representations, in the order of the layers."""
        return tuple(p.key.id for p in self.layers)

    @property
    def n_bytes(self) -> int:
        """Predicted size of all activations before encoding, in bytes."""
        return sum(self.n_samples * p.layer.width * p.key.n_views * _ITEM_BYTES[p.key.dtype] for p in self.layers)


def describe_model(spec: ModelSpec, layers: Sequence[LayerSpec]) -> ModelDescription:
    """Load a network and find its layers; it is not kept.

    Raises
    ------
    InvalidRequest
        One of `load_model`'s or `resolve_layers`' errors.
    """
    if not layers:
        raise InvalidRequest(f"model {spec.name!r}: no layers were asked for; name at least one, such as penultimate.")
    loaded = load_model(spec)
    return ModelDescription(
        spec=spec,
        weights=loaded.weights,
        input_size=loaded.input_size,
        mean=loaded.mean,
        std=loaded.std,
        layers=resolve_layers(loaded, layers, where=f"model {spec.name!r}"),
    )


def describe_split(spec: DatasetSpec, split: str) -> SplitDescription:
    """List a split and hash its content.

    Raises
    ------
    InvalidRequest
        One of `open_samples`' errors.
    """
    samples = open_samples(spec, split)
    return SplitDescription(
        spec=spec,
        split=split,
        fingerprint=fingerprint(samples),
        manifest=manifest_digest(samples),
        n_samples=len(samples),
        n_bytes=sum(samples.size_bytes(i) for i in range(len(samples))),
        classes=samples.classes,
    )


def combine_jobs(
    models: Sequence[ModelDescription],
    splits: Sequence[SplitDescription],
    *,
    transform: str = "test",
    dtype: str = "float32",
) -> tuple[ExtractionJob, ...]:
    """Return one job per model and split, models outermost. Pure.

    Raises
    ------
    UnknownName
        If there is no such transform.
    """
    version = transform_version(transform)
    return tuple(
        ExtractionJob(
            model=model,
            split=split,
            transform=version,
            layers=tuple(
                PlannedLayer(layer=layer, key=_key(model, split, layer, version, dtype)) for layer in model.layers
            ),
        )
        for model in models
        for split in splits
    )


def plan_extraction(
    models: Sequence[ModelSpec],
    datasets: Sequence[DatasetSpec],
    layers: Sequence[LayerSpec],
    options: ExtractOptions,
    *,
    transform: str = "test",
) -> tuple[ExtractionJob, ...]:
    """Describe every model and split, and combine them: one job per model and split, with all its layers.

    Raises
    ------
    InvalidRequest
        If anything of it can't run; nothing has been written then.
    """
    transform_version(transform)
    splits = [describe_split(d, name) for d in datasets for name in d.split_names]
    described = [describe_model(m, layers) for m in models]
    return combine_jobs(described, splits, transform=transform, dtype=options.dtype)


def _key(
    model: ModelDescription, split: SplitDescription, layer: ResolvedLayer, transform: str, dtype: str
) -> RepresentationKey:
    return RepresentationKey(
        model=model.spec.name,
        dataset=split.spec.name,
        split=split.split,
        layer=layer.name,
        weights=model.weights,
        architecture=model.spec.source,
        arguments=model.spec.arguments,
        pool=layer.pool,
        transform=transform,
        transform_seed=None,
        mean=model.mean,
        std=model.std,
        input_size=model.input_size,
        dataset_fingerprint=split.fingerprint,
        n_views=N_VIEWS,
        dtype=dtype,
    )
