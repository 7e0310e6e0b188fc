"""The study file: what to measure, on what, and how. Parsed once, at the edge, into frozen and checked values."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from drfarm._study_errors import explain
from drfarm._study_part import Part
from drfarm.errors import InvalidStudy
from drfarm.study_measures import AccuracyMeasure, CkaMeasure, Measure
from drfarm.study_subsets import SubsetsEntry
from extract import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec
from probe import Validation, parse_method
from store import check_name


class ModelEntry(Part):
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


class LayerEntry(Part):
    """One layer, or several by a glob. A string stands for the layer with its default pooling."""

    layer: str
    """``penultimate``, a module's name, or a glob such as ``blocks.*``."""
    pool: Literal["avg", "max", "cls", "flatten"] | None = None
    """How positions or tokens become one vector."""


class SplitsEntry(Part):
    """Which splits are trained, validated and scored on."""

    train: str = "train"
    """Split that probes are trained on."""
    test: str = "test"
    """Split that they are scored on."""
    val: str | None = None
    """Split on which the best epoch, step size or penalty is chosen."""
    val_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Fraction of the training split that is held out for that choice, instead of ``val``."""
    val_seed: int = 0
    """Seed of the held-out rows."""

    @model_validator(mode="after")
    def _one_validation(self) -> Self:
        if self.val is not None and self.val_fraction is not None:
            raise ValueError("val and val_fraction exclude each other: name a split or hold out a fraction")
        return self


class DatasetEntry(Part):
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


class TransformEntry(Part):
    """How images are prepared."""

    train: Literal["test"] = "test"
    """Transform of the training split."""
    test: Literal["test"] = "test"
    """Transform of the test split."""
    views: Literal[1] = 1
    """Augmented passes that are stored; the ``test`` transform has no randomness, hence one."""


def _short_model(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value.partition(":")[2].replace(":", "-") or value, "source": value, "weights": "hub"}
    return value


def _short_layer(value: Any) -> Any:
    return {"layer": value} if isinstance(value, str) else value


class Study(Part):
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
    def _rows_to_choose_on(self) -> Self:
        bare = [d.name for d in self.datasets if d.splits.val is None and d.splits.val_fraction is None]
        for measure in self.accuracies if bare else ():
            if measure.n_candidates > 1:
                values = "step sizes" if measure.solver == "sgd" else "penalties"
                raise ValueError(
                    f"measures: {measure.solver} has {measure.n_candidates} {values} to choose from, and dataset "
                    f"{bare[0]!r} no validation rows: give its splits `val` or `val_fraction`, or one value"
                )
        return self

    @model_validator(mode="after")
    def _methods_of_measures(self) -> Self:
        for measure in self.measures:
            missing = sorted(set(measure.methods or ()) - set(self.subsets.methods))
            if missing:
                raise ValueError(
                    f"measures: method {missing[0]!r} is not among subsets.methods ({', '.join(self.subsets.methods)})"
                )
            anew = [m for m in measure.methods or self.subsets.methods if not parse_method(m).nested]
            if measure.k == "every" and anew:
                raise ValueError(
                    f"measures: k: every needs nested subsets, and {anew[0]!r} draws each size anew: list its sizes, "
                    "or leave it out with `methods: [...]`"
                )
        if self.subsets.refine is not None and not any(m.k is None for m in self.accuracies):
            raise ValueError(
                "subsets.refine adds sizes to the curves of accuracy, and no measure has such a curve: leave it out "
                "(cka and ridge take `k: every`)"
            )
        return self

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
        needed = ("train", "test", "val") if self.accuracies else ("train", "test") if self.learns else ("test",)
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

    @property
    def learns(self) -> bool:
        """Whether something is fitted to training rows: a probe, or the directions or ranks of a method."""
        return bool(self.accuracies) or any(
            parse_method(label).needs_statistics for m in self.ckas for label in m.methods or self.subsets.methods
        )

    def validation(self, dataset: DatasetEntry, val_id: str | None) -> Validation | None:
        """Return the rows on which epochs, step sizes and penalties are chosen for a data set, if any."""
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
