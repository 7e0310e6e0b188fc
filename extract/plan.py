"""What would run: one job per model and data set split, with all its layers. Pure, but for `plan_extraction`.

Describing reads the world (weights, images); `combine_jobs` is pure, so that a caller who kept the descriptions plans a
finished study without loading a network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from extract.describe import ModelDescription, SplitDescription, describe_model, describe_split
from extract.layers import ResolvedLayer
from extract.spec import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec, TransformSpec
from extract.transforms import check_transform, is_random, transform_version
from store.errors import InvalidRequest
from store.keys import RepresentationKey

_ITEM_BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPass:
    """A split under one transform."""

    split: SplitDescription
    """The images."""
    transform: TransformSpec = field(default_factory=TransformSpec)
    """How they are prepared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptNeurons:
    """Neurons of a huge layer that are stored: a set that the store holds under its digest."""

    digest: str
    """What the store calls the set."""
    n: int
    """Neurons in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """One representation that a job makes."""

    layer: ResolvedLayer
    """What is recorded."""
    key: RepresentationKey
    """What it is called for ever."""
    kept: KeptNeurons | None = None
    """Neurons that are stored; None where all are."""

    @property
    def width(self) -> int:
        """Neurons that are stored."""
        return self.layer.width if self.kept is None else self.kept.n


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionJob:
    """One network over one split under one transform: everything that extraction needs, and picklable."""

    model: ModelDescription
    """The network."""
    split: SplitDescription
    """The images."""
    transform: str
    """Versioned name of the transform."""
    transform_seed: int | None
    """Seed of a transform with randomness; None of one without."""
    n_views: int
    """Passes that are stored."""
    precision: str
    """Arithmetic of the network, as in `store.RepresentationKey`."""
    layers: tuple[PlannedLayer, ...]
    """What is recorded, in one pass."""

    @property
    def name(self) -> str:
        """Readable name: model, data set, split, and the transform where it is not the plain one."""
        name = f"{self.model.spec.name} / {self.split.spec.name} / {self.split.split}"
        if self.transform_seed is None:
            return name
        views = "" if self.n_views == 1 else f", {self.n_views} views"
        return f"{name} / {self.transform}{views}"

    @property
    def n_samples(self) -> int:
        """Images of the split."""
        return self.split.n_samples

    @property
    def n_forwards(self) -> int:
        """Forward passes of an extraction from nothing, in images."""
        return self.n_samples * self.n_views

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the representations, in the order of the layers."""
        return tuple(p.key.id for p in self.layers)

    @property
    def n_bytes(self) -> int:
        """Predicted size of all activations before encoding, in bytes."""
        return sum(self.n_forwards * p.width * _ITEM_BYTES[p.key.dtype] for p in self.layers)

    @property
    def flop(self) -> float:
        """Floating-point operations of an extraction from nothing; 0 where they are not known."""
        return self.n_forwards * self.model.flop


def combine_jobs(
    models: Sequence[ModelDescription],
    passes: Sequence[SplitPass],
    *,
    dtype: str = "float32",
    precision: str = "float32",
    kept: Callable[[int], KeptNeurons] | None = None,
    settle: Callable[[RepresentationKey], RepresentationKey] = lambda key: key,
) -> tuple[ExtractionJob, ...]:
    """Return one job per model and pass, models outermost. Pure where its callables are.

    Parameters
    ----------
    models, passes
        What runs over what.
    dtype
        Stored type: ``float32`` or ``float16``.
    precision
        Arithmetic of the networks, as in `store.RepresentationKey`.
    kept
        Gives the neurons to store of a layer of so many, where a layer's ``keep`` is ``subsets``.
    settle
        Gives the key that is really used: one that overflowed float16 has fallen back to float32.

    Raises
    ------
    UnknownName
        If there is no such transform.
    InvalidRequest
        If views are asked of a transform without randomness, or a layer is to be stored in part and nobody says which.
    """
    for p in passes:
        check_transform(p.transform, where=f"dataset {p.split.spec.name!r}, split {p.split.split!r}")

    def planned(model: ModelDescription, over: SplitPass, layer: ResolvedLayer) -> PlannedLayer:
        neurons = None
        if layer.keep == "subsets":
            if kept is None:
                raise InvalidRequest(
                    f"model {model.spec.name!r}: layer {layer.name!r} has {layer.width:,} neurons and is not stored "
                    "whole; say which neurons to keep, or set `keep: whole`."
                )
            neurons = kept(layer.width)
        key = settle(_key(model, over, layer, dtype, precision, neurons))
        return PlannedLayer(layer=layer, key=key, kept=neurons)

    return tuple(
        ExtractionJob(
            model=model,
            split=over.split,
            transform=transform_version(over.transform.name),
            transform_seed=over.transform.seed if is_random(over.transform.name) else None,
            n_views=over.transform.views,
            precision=precision,
            layers=tuple(planned(model, over, layer) for layer in model.layers),
        )
        for model in models
        for over in passes
    )


def in_float32(planned: PlannedLayer) -> PlannedLayer:
    """Return the representation that takes the place of one that overflows float16."""
    return replace(planned, key=replace(planned.key, dtype="float32"))


def plan_extraction(
    models: Sequence[ModelSpec],
    datasets: Sequence[DatasetSpec],
    layers: Sequence[LayerSpec],
    options: ExtractOptions,
    *,
    transform: TransformSpec | None = None,
    kept: Callable[[int], KeptNeurons] | None = None,
) -> tuple[ExtractionJob, ...]:
    """Describe every model and split, and combine them: one job per model and split, with all its layers.

    Raises
    ------
    InvalidRequest
        If anything of it can't run; nothing has been written then.
    """
    transform = transform or TransformSpec()
    check_transform(transform, where="plan_extraction")
    passes = [SplitPass(split=describe_split(d, n), transform=transform) for d in datasets for n in d.split_names]
    described = [describe_model(m, layers) for m in models]
    return combine_jobs(described, passes, dtype=options.dtype, precision=options.arithmetic, kept=kept)


def _key(
    model: ModelDescription,
    over: SplitPass,
    layer: ResolvedLayer,
    dtype: str,
    precision: str,
    kept: KeptNeurons | None,
) -> RepresentationKey:
    transform = over.transform
    return RepresentationKey(
        model=model.spec.name,
        dataset=over.split.spec.name,
        split=over.split.split,
        layer=layer.name,
        weights=model.weights,
        architecture=model.spec.source,
        arguments=model.spec.arguments,
        pool=layer.pool,
        transform=transform_version(transform.name),
        transform_seed=transform.seed if is_random(transform.name) else None,
        mean=model.mean,
        std=model.std,
        input_size=model.input_size,
        dataset_fingerprint=over.split.fingerprint,
        n_views=transform.views,
        dtype=dtype,
        neurons=None if kept is None else kept.digest,
        precision=precision,
    )
