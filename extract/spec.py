"""What a caller asks of extraction: models, layers, data sets and how to run. Pure (no I/O)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from store.errors import InvalidRequest, UnknownName
from store.ids import JSON, canonical_json, check_name

MODEL_SOURCES = ("timm", "torchvision", "python", "zoo")
DATASET_SOURCES = ("folder", "sklearn", "npz", "torchvision", "zoo", "webdataset")
ROLES = ("train", "val", "test")
POOLS = ("avg", "max", "cls", "flatten")
KEEPS = ("auto", "whole", "subsets")
TRUSTS = ("tensors", "pickle")
PRECISIONS = ("float32", "bfloat16", "float16")
MOST_WHOLE = 65_536
"""Layers with more neurons are stored whole only where the study says so."""
MOST_DECODE_THREADS = 8
"""More decode workers than this are processes, where nobody says: threads would queue for the interpreter."""
PENULTIMATE = "penultimate"
"""Name of the layer whose output the classifier reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One frozen network: its code, its weights and what its input looks like."""

    name: str
    """Name in tables and paths; not part of any identity."""
    source: str
    """``timm:NAME``, ``torchvision:NAME``, ``python:MODULE:CALLABLE`` or ``zoo:NAME`` (a network of the paper)."""
    arguments: Mapping[str, JSON] = field(default_factory=dict)
    """Keyword arguments of the constructor, such as ``{"num_classes": 1001}``."""
    weights: str
    """Path of a file in any format that `extract.checkpoints` reads, ``hub``, or ``random:SEED``.

    For ``zoo:NAME``, ``hub`` means the file that the zoo expects, in `weights_folder`.
    """
    weights_folder: str | None = None
    """Folder of the zoo's weights; None is ``$DRFARM_WEIGHTS``, or ``~/.cache/drfarm/weights``. Not in any identity."""
    trust: Literal["tensors", "pickle"] = "tensors"
    """What may be read of a torch file: tensors only, or Python objects too, whose pickle can run any code."""
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
        if self.trust not in TRUSTS:
            raise UnknownName.among("trust", self.trust, TRUSTS, where=where)
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
    keep: str = "auto"
    """Which neurons are stored: the ``whole`` layer, the union of the study's ``subsets``, or ``auto``: subsets where
    the layer has more than `MOST_WHOLE` neurons."""

    def __post_init__(self) -> None:
        if not self.layer:
            raise InvalidRequest("layer: a module's name, a glob or `penultimate`, got an empty text.")
        if self.pool is not None and self.pool not in POOLS:
            raise UnknownName.among("pool", self.pool, POOLS, where=f"layer {self.layer!r}")
        if self.keep not in KEEPS:
            raise UnknownName.among("keep", self.keep, KEEPS, where=f"layer {self.layer!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """One data set: where it is, and which of its splits play which role."""

    name: str
    """Name in tables and paths; not part of any identity."""
    source: str
    """``folder:PATH``, ``npz:FILE``, ``sklearn:digits``, ``torchvision:CLASS``, ``webdataset:PATH`` or ``zoo:NAME``."""
    splits: Mapping[str, str]
    """Role (``train``, ``val``, ``test``) to the split's name in the source."""
    root: str | None = None
    """Folder in which torchvision's classes look; None is ``$DRFARM_DATA``, or ``~/.cache/drfarm/data``. Not in any
    identity: the fingerprint is."""
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
class TransformSpec:
    """How the images of a split are prepared, and how many passes are stored."""

    name: str = "test"
    """Name of a transform: see `extract.transforms.TRANSFORMS`."""
    views: int = 1
    """Passes that are stored; more than one only of a transform with randomness."""
    seed: int = 0
    """Seed of a transform with randomness; each (sample, view) has a random stream of its own."""

    def __post_init__(self) -> None:
        if self.views < 1:
            raise InvalidRequest(f"views must be >= 1, got {self.views}.")
        if self.seed < 0:
            raise InvalidRequest(f"the seed of a transform must be >= 0, got {self.seed}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How to run; `dtype`, `precision` and `compiled` enter identities."""

    batch_size: int | None = None
    """Images per forward pass; None finds the fastest that fits the device, and keeps to it when a job is resumed."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the network: ``float32``, or automatic mixed precision with one of the others."""
    compiled: bool = False
    """Whether the network goes through ``torch.compile``."""
    decoders: Literal["auto", "threads", "processes"] = "auto"
    """What decodes images; ``auto`` takes processes where more than 8 decode workers are there."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; ``auto`` is CUDA where there is a device."""
    decode_workers: int | None = None
    """Threads or processes that read and decode images; None: as many as there are cores, at most 16."""
    dtype: Literal["float32", "float16"] = "float32"
    """Stored type of the activations."""
    on_corrupt: Literal["stop", "mask"] = "stop"
    """What a file that can't be decoded does: stop the job, or keep its row as NaN and mask it."""
    codec: str = "lz4"
    """Codec of the stored chunks: ``lz4``, ``zstd`` or ``none``; it changes no value."""
    threads: int | None = None
    """Threads of one forward pass on the CPU; None leaves torch's setting."""

    def decodes_in_processes(self, n_workers: int) -> bool:
        """Say whether so many decode workers are processes."""
        return self.decoders == "processes" or (self.decoders == "auto" and n_workers > MOST_DECODE_THREADS)

    @property
    def arithmetic(self) -> str:
        """What a representation's key calls it: the precision, and ``+compile`` where the network is compiled."""
        return f"{self.precision}+compile" if self.compiled else self.precision

    def __post_init__(self) -> None:
        for what, got, allowed in (
            ("device", self.device, ("auto", "cpu", "cuda")),
            ("precision", self.precision, PRECISIONS),
            ("decoders", self.decoders, ("auto", "threads", "processes")),
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
