"""What a caller asks of extraction: models, layers, data sets and how to run. Pure (no I/O)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from store.errors import InvalidRequest, UnknownName
from store.ids import JSON, canonical_json, check_name

MODEL_SOURCES = ("timm", "torchvision", "python")
DATASET_SOURCES = ("folder", "sklearn", "npz")
ROLES = ("train", "val", "test")
POOLS = ("avg", "max", "cls", "flatten")
PENULTIMATE = "penultimate"
"""Name of the layer whose output the classifier reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One frozen network: its code, its weights and what its input looks like."""

    name: str
    """Name in tables and paths; not part of any identity."""
    source: str
    """``timm:NAME``, ``torchvision:NAME`` or ``python:MODULE:CALLABLE``."""
    arguments: Mapping[str, JSON] = field(default_factory=dict)
    """Keyword arguments of the constructor, such as ``{"num_classes": 1001}``."""
    weights: str
    """Path of a ``.safetensors`` or torch file, ``hub``, or ``random:SEED``."""
    input_size: int | None = None
    """Side of the square input in pixels; None takes what the source says."""
    mean: tuple[float, ...] | None = None
    """Normalisation per channel of an image in [0, 1] (3 values, or 1 for grey); None takes what the source says."""
    std: tuple[float, ...] | None = None
    """Normalisation per channel; given if and only if `mean` is."""

    def __post_init__(self) -> None:
        where = f"model {self.name!r}"
        check_name("model", self.name)
        kind, _, rest = self.source.partition(":")
        if kind not in MODEL_SOURCES:
            raise UnknownName.among("model source", kind, MODEL_SOURCES, where=where)
        if not rest or (kind == "python" and not all(rest.partition(":"))):
            form = "python:MODULE:CALLABLE" if kind == "python" else f"{kind}:NAME"
            raise InvalidRequest(f"{where}: a source has the form {form}, got {self.source!r}.")
        if not self.weights:
            raise InvalidRequest(f"{where}: weights are a file, `hub` or `random:SEED`, got an empty text.")
        try:
            canonical_json(self.arguments)
        except (TypeError, ValueError) as e:
            raise InvalidRequest(
                f"{where}: args enter the model's identity, so they are what JSON can carry: {e}, got {self.arguments}."
            ) from e
        if self.input_size is not None and self.input_size < 1:
            raise InvalidRequest(f"{where}: input_size must be >= 1 pixel, got {self.input_size}.")
        if (self.mean is None) != (self.std is None):
            missing = "std" if self.std is None else "mean"
            raise InvalidRequest(f"{where}: mean and std come together; {missing} is not given.")
        if self.mean is not None and self.std is not None:
            object.__setattr__(self, "mean", tuple(float(v) for v in self.mean))
            object.__setattr__(self, "std", tuple(float(v) for v in self.std))
            check_normalisation(self.mean, self.std, where=where)


def check_normalisation(mean: Sequence[float], std: Sequence[float], *, where: str) -> None:
    """Refuse a mean and std that no image fits.

    Raises
    ------
    InvalidRequest
        If they differ in length, are neither 1 nor 3 values long, or a std is not positive.
    """
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise InvalidRequest(
            f"{where}: mean and std have 3 values each (or 1 each for grey images), got {len(mean)} and {len(std)}."
        )
    if not all(s > 0 for s in std):
        raise InvalidRequest(f"{where}: every std must be > 0, got {tuple(std)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpec:
    """Which layers to record, and how positions or tokens become one vector."""

    layer: str = PENULTIMATE
    """``penultimate``, a module's dotted name, or a glob in which ``*`` stands inside one dotted segment."""
    pool: str | None = None
    """``avg``, ``max``, ``cls`` or ``flatten``; None: 4-D is averaged, 3-D takes the class token where there is one."""

    def __post_init__(self) -> None:
        if not self.layer:
            raise InvalidRequest("layer: a module's name, a glob or `penultimate`, got an empty text.")
        if self.pool is not None and self.pool not in POOLS:
            raise UnknownName.among("pool", self.pool, POOLS, where=f"layer {self.layer!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """One data set: where it is, and which of its splits play which role."""

    name: str
    """Name in tables and paths; not part of any identity."""
    source: str
    """``folder:PATH``, ``npz:FILE`` or ``sklearn:digits``."""
    splits: Mapping[str, str]
    """Role (``train``, ``val``, ``test``) to the split's name in the source."""
    classes: tuple[str, ...] | None = None
    """Classes to keep, in the order of the new labels 0, 1, ...; None keeps all."""

    def __post_init__(self) -> None:
        where = f"dataset {self.name!r}"
        check_name("dataset", self.name)
        kind, _, rest = self.source.partition(":")
        if kind not in DATASET_SOURCES:
            raise UnknownName.among("dataset source", kind, DATASET_SOURCES, where=where)
        if not rest:
            raise InvalidRequest(f"{where}: a source has the form {kind}:PLACE, got {self.source!r}.")
        if not self.splits:
            raise InvalidRequest(f"{where}: splits is empty; name at least one, such as train: train.")
        for role, split in self.splits.items():
            if role not in ROLES:
                raise UnknownName.among("role of a split", role, ROLES, where=where)
            check_name(f"{where}: split", split)
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(str(c) for c in self.classes))
            if len(set(self.classes)) != len(self.classes):
                raise InvalidRequest(f"{where}: classes are kept once each, got {', '.join(self.classes)}.")

    @property
    def split_names(self) -> tuple[str, ...]:
        """The distinct splits, in the order of the roles."""
        return tuple(dict.fromkeys(self.splits.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How to run; only `dtype` enters an identity."""

    batch_size: int = 64
    """Images per forward pass."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; ``auto`` is CUDA where there is a device."""
    decode_workers: int | None = None
    """Threads that read and decode images; None: as many as there are cores, at most 16."""
    dtype: Literal["float32", "float16"] = "float32"
    """Stored type of the activations."""
    on_corrupt: Literal["stop", "mask"] = "stop"
    """What a file that can't be decoded does: stop the job, or keep its row as NaN and mask it."""
    codec: str = "lz4"
    """Codec of the stored chunks: ``lz4``, ``zstd`` or ``none``; it changes no value."""
    threads: int | None = None
    """Threads of one forward pass on the CPU; None leaves torch's setting."""

    def __post_init__(self) -> None:
        for what, got, allowed in (
            ("device", self.device, ("auto", "cpu", "cuda")),
            ("dtype", self.dtype, ("float32", "float16")),
            ("on_corrupt", self.on_corrupt, ("stop", "mask")),
        ):
            if got not in allowed:
                raise UnknownName.among(what, got, allowed)
        for what, number in (
            ("batch_size", self.batch_size),
            ("decode_workers", self.decode_workers),
            ("threads", self.threads),
        ):
            if number is not None and number < 1:
                raise InvalidRequest(f"{what} must be >= 1, got {number}.")
