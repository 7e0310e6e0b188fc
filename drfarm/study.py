"""The study file: what to measure, on what, and how. Parsed once, at the edge, into frozen and checked values."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from drfarm._study_errors import explain
from drfarm.errors import InvalidStudy
from extract import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec
from probe import METHODS, PAPER_FRACTIONS, SgdProtocol, Validation, sgd_protocol, size_of_fraction
from store import InvalidRequest, check_name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ModelEntry(_Part):
    """One network. A string ``timm:NAME`` stands for that network with the weights of its hub."""

    name: str
    """Name in tables and paths."""
    source: str
    """``timm:NAME``, ``torchvision:NAME`` or ``python:MODULE:CALLABLE``."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor."""
    weights: str = "hub"
    """A file (safetensors or state dict), ``hub``, or ``random:SEED``."""
    input_size: int | None = None
    """Side of the input in pixels; by default what the source says."""
    mean: tuple[float, ...] | None = None
    """Normalisation; by default the model's own."""
    std: tuple[float, ...] | None = None
    """Normalisation; by default the model's own."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Free words for grouping, such as ``upstream: imagenet1k``."""


class LayerEntry(_Part):
    """One layer, or several by a glob. A string stands for the layer with its default pooling."""

    layer: str
    """``penultimate``, a module's name, or a glob such as ``blocks.*``."""
    pool: Literal["avg", "max", "cls", "flatten"] | None = None
    """How positions or tokens become one vector."""


class SplitsEntry(_Part):
    """Which splits are trained, validated and scored on."""

    train: str = "train"
    """Split that probes are trained on."""
    test: str = "test"
    """Split that they are scored on."""
    val: str | None = None
    """Split on which the best epoch is chosen."""
    val_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Fraction of the training split that is held out for choosing the best epoch, instead of ``val``."""
    val_seed: int = 0
    """Seed of the held-out rows."""

    @model_validator(mode="after")
    def _one_validation(self) -> Self:
        if self.val is not None and self.val_fraction is not None:
            raise ValueError("val and val_fraction exclude each other: name a split or hold out a fraction")
        return self


class DatasetEntry(_Part):
    """One data set."""

    name: str
    """Name in tables and paths."""
    source: str
    """``folder:PATH``, ``npz:FILE`` or ``sklearn:digits``."""
    splits: SplitsEntry = SplitsEntry()
    """Its splits."""
    classes: tuple[str, ...] | None = None
    """Classes to keep; by default all."""

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return tuple(str(v) for v in value) if isinstance(value, list | tuple) else value


class TransformEntry(_Part):
    """How images are prepared."""

    train: Literal["test"] = "test"
    """Transform of the training split."""
    test: Literal["test"] = "test"
    """Transform of the test split."""
    views: Literal[1] = 1
    """Augmented passes that are stored; the ``test`` transform has no randomness, hence one."""


class SubsetsEntry(_Part):
    """Which subsets are measured."""

    methods: tuple[Literal[METHODS], ...] = ("random",)  # type: ignore[valid-type]
    """How neurons are chosen."""
    fractions: tuple[float, ...] | None = None
    """Sizes as fractions f of the width: k = int(f d)."""
    n_neurons: tuple[int, ...] | None = None
    """Sizes in neurons."""
    grid: Literal["paper"] | None = None
    """``paper``: the 22 fractions of the paper's ResNet-50 curves."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Seeds of the draws; a number n stands for 1 to n."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError(f"at least one seed is needed, got {value}")
            return tuple(range(1, value + 1))
        return value

    @field_validator("fractions")
    @classmethod
    def _fractions(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        for f in value or ():
            if not 0 < f <= 1:
                raise ValueError(f"a fraction lies in (0, 1], got {f}")
        return value

    @field_validator("n_neurons")
    @classmethod
    def _sizes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        for k in value or ():
            if k < 1:
                raise ValueError(f"a subset has at least one neuron, got {k}")
        return value

    @model_validator(mode="after")
    def _one_grid(self) -> Self:
        given = [n for n in ("fractions", "n_neurons", "grid") if getattr(self, n) is not None]
        if len(given) != 1:
            got = ", ".join(given) or "none of them"
            raise ValueError(f"give exactly one of fractions, n_neurons and grid, got {got}")
        for name in ("fractions", "n_neurons", "seeds", "methods"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) != len(values)):
                raise ValueError(f"{name} holds each value once and at least one, got {list(values)}")
        return self

    def sizes(self, width: int) -> tuple[int, ...]:
        """Return the sizes for a layer of this width, rising, the whole layer always among them (DR compares with it).

        A fraction below one neuron gives no size, as in the paper's curves. Raises `InvalidRequest` for a number of
        neurons above the width.
        """
        if self.n_neurons is not None:
            if max(self.n_neurons) > width:
                raise InvalidRequest(
                    f"n_neurons {max(self.n_neurons)} is more than the {width} neurons of the layer: sizes run from 1 "
                    f"to {width}."
                )
            return tuple(sorted({*self.n_neurons, width}))
        fractions = PAPER_FRACTIONS if self.fractions is None else self.fractions
        return tuple(sorted({size_of_fraction(f, width) for f in fractions} - {0} | {width}))


class AccuracyMeasure(_Part):
    """Accuracy of a linear probe."""

    measure: Literal["accuracy"]
    solver: Literal["sgd"] = "sgd"
    """How the probe is fitted."""
    protocol: str = "paper"
    """Named settings of the solver."""

    @field_validator("protocol")
    @classmethod
    def _known(cls, value: str) -> str:
        return sgd_protocol(value).name

    def settings(self) -> SgdProtocol:
        """Return the solver's settings."""
        return sgd_protocol(self.protocol)


class CkaMeasure(_Part):
    """Linear CKA of a part against the whole layer (``cka``), or of two parts of equal size (``cka_pair``)."""

    measure: Literal["cka", "cka_pair"]
    k: Literal["every"] | None = None
    """``every``: at every size from 1 to the width; by default at the study's sizes."""


Measure = Annotated[AccuracyMeasure | CkaMeasure, Field(discriminator="measure")]


def _short_model(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value.partition(":")[2].replace(":", "-") or value, "source": value, "weights": "hub"}
    return value


def _short_layer(value: Any) -> Any:
    return {"layer": value} if isinstance(value, str) else value


class Study(_Part):
    """A whole study, as its file says it; paths are absolute after `load_study`."""

    study: str
    """Its name."""
    store: str = "./store"
    """Where results live: a folder or ``s3://bucket/prefix``."""
    models: tuple[Annotated[ModelEntry, BeforeValidator(_short_model)], ...] = Field(min_length=1)
    """Networks."""
    layers: tuple[Annotated[LayerEntry, BeforeValidator(_short_layer)], ...] = (LayerEntry(layer="penultimate"),)
    """Layers of every network."""
    datasets: tuple[DatasetEntry, ...] = Field(min_length=1)
    """Data sets."""
    transform: TransformEntry = TransformEntry()
    """How images are prepared."""
    dtype: Literal["float32", "float16"] = "float32"
    """Stored type of the activations."""
    codec: Literal["lz4", "zstd", "none"] = "lz4"
    """How chunks are compressed; it changes no value."""
    on_corrupt: Literal["stop", "mask"] = "stop"
    """What an image that can't be decoded does: stop its job, or keep its row masked."""
    subsets: SubsetsEntry
    """Subsets that are measured."""
    measures: tuple[Measure, ...] = Field(default=(AccuracyMeasure(measure="accuracy"),), min_length=1)
    """What is measured on each."""
    deltas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.9,)
    """Thresholds of Eq. 1."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        check_name("study", self.study)
        for what, entries in (("models", self.models), ("datasets", self.datasets)):
            names = [e.name for e in entries]
            for name in names:
                check_name(what.removesuffix("s"), name)
            double = sorted({n for n in names if names.count(n) > 1})
            if double:
                raise ValueError(f"{what}: the name {double[0]!r} is given twice; names tell results apart")
        return self

    def model_specs(self) -> tuple[ModelSpec, ...]:
        """Return what the extraction needs of the models."""
        return tuple(
            ModelSpec(
                name=m.name,
                source=m.source,
                arguments=m.args,
                weights=m.weights,
                input_size=m.input_size,
                mean=m.mean,
                std=m.std,
            )
            for m in self.models
        )

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Return what the extraction needs of the layers."""
        return tuple(LayerSpec(layer=entry.layer, pool=entry.pool) for entry in self.layers)

    def dataset_specs(self) -> tuple[DatasetSpec, ...]:
        """Return what the extraction needs of the data sets; a split that no measure reads is left out."""
        needed = ("train", "test", "val") if self.accuracies else ("test",)
        return tuple(
            DatasetSpec(
                name=d.name,
                source=d.source,
                splits={r: s for r in needed if (s := getattr(d.splits, r)) is not None},
                classes=d.classes,
            )
            for d in self.datasets
        )

    def extract_options(self, *, batch_size: int = 64, device: Any = "auto") -> ExtractOptions:
        """Return how to run the extraction."""
        return ExtractOptions(
            batch_size=batch_size, device=device, dtype=self.dtype, on_corrupt=self.on_corrupt, codec=self.codec
        )

    @property
    def accuracies(self) -> tuple[AccuracyMeasure, ...]:
        """The measures that train probes."""
        return tuple(m for m in self.measures if isinstance(m, AccuracyMeasure))

    @property
    def ckas(self) -> tuple[CkaMeasure, ...]:
        """The measures that compare representations."""
        return tuple(m for m in self.measures if isinstance(m, CkaMeasure))

    def validation(self, dataset: DatasetEntry, val_id: str | None) -> Validation | None:
        """Return the rows on which a data set's best epoch is chosen, if any."""
        if val_id is not None:
            return Validation(split_id=val_id)
        if dataset.splits.val_fraction is not None:
            return Validation(fraction=dataset.splits.val_fraction, seed=dataset.splits.val_seed)
        return None


def load_study(path: str | Path) -> Study:
    """Read a study file.

    Parameters
    ----------
    path
        YAML; relative paths in it are relative to the file.

    Raises
    ------
    InvalidStudy
        If it can't be read or is wrong: every fault is named with its key, the value, what is allowed and the nearest
        match.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise InvalidStudy(f"the study file {path} can't be read: {reason}. Give the path of a YAML file.") from e
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise InvalidStudy(f"{path} is not YAML: {_yaml_fault(e)}. Correct that line.") from e
    if not isinstance(raw, dict):
        got = "an empty file" if raw is None else f"a {type(raw).__name__}"
        raise InvalidStudy(f"{path}: expected keys such as study, models, datasets; got {got}.")
    return study_from_dict(raw, base=file.parent, where=str(path))


def _yaml_fault(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', None) or 'a syntax error'}"


def study_from_dict(raw: dict[str, Any], *, base: Path, where: str = "study") -> Study:
    """Check a study given as plain values; relative paths are relative to ``base``."""
    try:
        study = Study.model_validate(raw)
    except ValidationError as e:
        raise InvalidStudy(explain(e, Study, where=where)) from e
    return study.model_copy(
        update={
            "store": _absolute(study.store, base),
            "models": tuple(_absolute_weights(m, base) for m in study.models),
            "datasets": tuple(
                d.model_copy(update={"source": _absolute_source(d.source, base)}) for d in study.datasets
            ),
        }
    )


def _absolute(path: str, base: Path) -> str:
    return path if "://" in path else str((base / Path(path).expanduser()).resolve())


def _absolute_weights(model: ModelEntry, base: Path) -> ModelEntry:
    if model.weights == "hub" or model.weights.startswith("random:"):
        return model
    return model.model_copy(update={"weights": _absolute(model.weights, base)})


def _absolute_source(source: str, base: Path) -> str:
    kind, _, rest = source.partition(":")
    return f"{kind}:{_absolute(rest, base)}" if kind in ("folder", "npz") and rest else source
