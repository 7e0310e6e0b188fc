"""The study file: what to measure, on what, and how. Parsed once, at the edge, into frozen and checked values."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from drfarm._study_errors import explain
from drfarm._study_part import Part
from drfarm.errors import InvalidStudy
from drfarm.study_inputs import (
    DatasetEntry,
    LayerEntry,
    ShortLayer,
    ShortModel,
    TransformEntry,
    absolute,
    absolute_files,
    absolute_weights,
)
from drfarm.study_measures import AccuracyMeasure, CkaMeasure, Measure
from drfarm.study_subsets import SubsetsEntry
from extract import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec
from probe import Validation, parse_method
from store import check_name


class Study(Part):
    """A whole study, as its file says it; paths are absolute after `load_study`."""

    study: str
    """Its name: letters, digits and ``. _ + @ -``."""
    store: str = "./store"
    """Where results live: a folder or ``s3://bucket/prefix``."""
    models: tuple[ShortModel, ...] = Field(min_length=1)
    """Networks: a mapping each, or the source alone, such as ``timm:resnet18.tv_in1k``."""
    layers: tuple[ShortLayer, ...] = (LayerEntry(layer="penultimate"),)
    """Layers of every network: a mapping each, or the name alone."""
    datasets: tuple[DatasetEntry, ...] = Field(min_length=1)
    """Data sets."""
    transform: TransformEntry = TransformEntry()
    """How images are prepared."""
    dtype: Literal["float32", "float16"] = "float32"
    """Stored type of the activations; a representation with values beyond float16 falls back to float32."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the networks: float32, or automatic mixed precision."""
    compile: bool = False
    """Whether networks go through ``torch.compile``."""
    weights_folder: str | None = None
    """Folder of the zoo's weights; by default ``$DRFARM_WEIGHTS``, or ``~/.cache/drfarm/weights``."""
    data_folder: str | None = None
    """Folder of the zoo's and torchvision's data sets; by default ``$DRFARM_DATA``, or ``~/.cache/drfarm/data``."""
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

    def _repr_html_(self) -> str:
        from drfarm.notebook import study_html

        return study_html(self)

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
                weights_folder=self.weights_folder,
                trust=m.trust,
            )
            for m in self.models
        )

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Return what the extraction needs of the layers."""
        return tuple(LayerSpec(layer=entry.layer, pool=entry.pool, keep=entry.keep) for entry in self.layers)

    def dataset_specs(self) -> tuple[DatasetSpec, ...]:
        """Return what the extraction needs of the data sets; a split that no measure reads is left out."""
        needed = ("train", "test", "val") if self.accuracies else ("train", "test") if self.learns else ("test",)
        return tuple(
            DatasetSpec(
                name=d.name,
                source=d.source,
                splits={r: s for r in needed if (s := getattr(d.splits, r)) is not None},
                classes=d.classes,
                root=d.root or self.data_folder,
            )
            for d in self.datasets
        )

    def extract_options(
        self, *, batch_size: int | None = None, device: Any = "auto", decode_workers: int | None = None
    ) -> ExtractOptions:
        """Return how to run the extraction."""
        return ExtractOptions(
            batch_size=batch_size,
            precision=self.precision,
            compiled=self.compile,
            device=device,
            decode_workers=decode_workers,
            dtype=self.dtype,
            on_corrupt=self.on_corrupt,
            codec=self.codec,
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

    def validation(self, dataset: DatasetEntry, val_id: str | None, clean_id: str | None) -> Validation | None:
        """Return the rows on which epochs, step sizes and penalties are chosen for a data set, if any.

        Parameters
        ----------
        val_id
            Representation of a validation split of its own.
        clean_id
            Representation of the training split under the test transform, where held-out rows are shown anew.
        """
        if val_id is not None:
            return Validation(split_id=val_id)
        if dataset.splits.val_fraction is not None:
            return Validation(fraction=dataset.splits.val_fraction, seed=dataset.splits.val_seed, clean_id=clean_id)
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
            "store": absolute(study.store, base),
            "models": tuple(absolute_weights(m, base) for m in study.models),
            "weights_folder": study.weights_folder and absolute(study.weights_folder, base),
            "data_folder": study.data_folder and absolute(study.data_folder, base),
            "datasets": tuple(absolute_files(d, base) for d in study.datasets),
        }
    )
