"""The part of a study file that says what is run: networks, layers, data sets and transforms."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from drfarm._study_part import Part
from extract import TransformSpec, zoo_splits


class ModelEntry(Part):
    """One network. A string ``timm:NAME`` stands for that network with the weights of its hub."""

    name: str
    """Name in tables and paths."""
    source: str
    """``zoo:NAME``, ``timm:NAME``, ``torchvision:NAME`` or ``python:MODULE:CALLABLE``."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of its constructor."""
    weights: str = "hub"
    """A file, ``hub`` (for a network of the zoo: its file in ``weights_folder``), or ``random:SEED``."""
    trust: Literal["tensors", "pickle"] = "tensors"
    """What is read of a file: tensors only, or pickled Python objects too, which can run any code."""
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
    keep: Literal["auto", "whole", "subsets"] = "auto"
    """Which neurons are stored: all, the union of the study's subsets, or that for layers above 65,536 neurons."""


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
    """``zoo:NAME``, ``torchvision:CLASS``, ``folder:PATH``, ``webdataset:PATH``, ``npz:FILE``, ``sklearn:digits``."""
    splits: SplitsEntry = SplitsEntry()
    """Its splits; by default those of the paper for a data set of the zoo, else ``train`` and ``test``."""
    root: str | None = None
    """Folder in which torchvision's classes and the zoo look; by default the study's ``data_folder``."""
    classes: tuple[str, ...] | None = None
    """Classes to keep; by default all."""

    @model_validator(mode="before")
    @classmethod
    def _splits_of_the_zoo(cls, value: Any) -> Any:
        """Fill in the paper's splits; a validation that is named replaces the paper's."""
        if not isinstance(value, dict) or not str(value.get("source", "")).startswith("zoo:"):
            return value
        given = value.get("splits", {})
        if not isinstance(given, dict):
            return value
        known = zoo_splits(value["source"].partition(":")[2])
        if given.keys() & {"val", "val_fraction"}:
            known = {k: v for k, v in known.items() if not k.startswith("val")}
        return {**value, "splits": known | given}

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return tuple(str(v) for v in value) if isinstance(value, list | tuple) else value


class TransformEntry(Part):
    """How images are prepared."""

    train: Literal["test", "paper", "as-released"] = "test"
    """Transform of the training split."""
    test: Literal["test"] = "test"
    """Transform of the test split."""
    val: Literal["test", "train"] = "test"
    """Transform of validation rows: the test split's (the paper's text), or the training rows' (the released code)."""
    views: int = Field(default=1, ge=1)
    """Augmented passes over the training split that are stored."""
    seed: int = Field(default=0, ge=0)
    """Seed of the augmentation."""

    @model_validator(mode="after")
    def _views_differ(self) -> Self:
        if self.views > 1 and self.train == "test":
            raise ValueError(
                f"views: {self.views} passes were asked for, but the transform `test` has no randomness: set views: 1, "
                "or train: paper or as-released"
            )
        return self

    @property
    def of_train(self) -> TransformSpec:
        """Transform of the training rows."""
        return TransformSpec(name=self.train, views=self.views, seed=self.seed)

    @property
    def of_test(self) -> TransformSpec:
        """Transform of the test rows."""
        return TransformSpec(name=self.test)

    @property
    def of_val(self) -> TransformSpec:
        """Transform of a validation split of its own: one pass."""
        return self.of_test if self.val == "test" else TransformSpec(name=self.train, seed=self.seed)

    @property
    def shows_held_out_rows_anew(self) -> bool:
        """Whether rows that are held out of the training split are validated on under another transform."""
        return self.val == "test" and self.of_train != self.of_test


def _short_model(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value.partition(":")[2].replace(":", "-") or value, "source": value, "weights": "hub"}
    return value


def _short_layer(value: Any) -> Any:
    return {"layer": value} if isinstance(value, str) else value


ShortModel = Annotated[ModelEntry, BeforeValidator(_short_model)]
"""A network, or its source alone."""

ShortLayer = Annotated[LayerEntry, BeforeValidator(_short_layer)]
"""A layer, or its name alone."""


def absolute(path: str, base: Path) -> str:
    """Return a path that does not depend on where one stands; an address such as ``s3://...`` stays as it is."""
    return path if "://" in path else str((base / Path(path).expanduser()).resolve())


def absolute_weights(model: ModelEntry, base: Path) -> ModelEntry:
    """Return a network whose weights, where they are a file, are found from anywhere."""
    if model.weights == "hub" or model.weights.startswith("random:"):
        return model
    return model.model_copy(update={"weights": absolute(model.weights, base)})


def absolute_files(dataset: DatasetEntry, base: Path) -> DatasetEntry:
    """Return a data set whose files are found from anywhere."""
    kind, _, rest = dataset.source.partition(":")
    source = f"{kind}:{absolute(rest, base)}" if kind in ("folder", "npz", "webdataset") and rest else dataset.source
    return dataset.model_copy(update={"source": source, "root": dataset.root and absolute(dataset.root, base)})
