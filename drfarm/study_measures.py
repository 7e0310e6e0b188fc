"""The part of a study file that says what is measured on each subset."""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from drfarm._study_part import Part
from drfarm.study_subsets import SomeMethods
from probe import (
    LogisticProtocol,
    Protocol,
    RidgeProtocol,
    SgdProtocol,
    logistic_protocol,
    ridge_protocol,
    sgd_protocol,
)

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _named(solver: str, protocol: str) -> Protocol:
    if solver == "ridge":
        return ridge_protocol(protocol)
    return logistic_protocol(protocol) if solver == "logistic" else sgd_protocol(protocol)


def _spelled(values: tuple[float, ...]) -> str:
    """Return numbers as text; repr is the shortest that gives a number back, so no two lists share a name."""
    return ",".join(repr(v).removesuffix(".0") for v in values)


class AccuracyMeasure(Part):
    """Accuracy of a linear probe."""

    measure: Literal["accuracy"]
    """Which measure: this one."""
    solver: Literal["sgd", "ridge", "logistic"] = "sgd"
    """How the probe is fitted."""
    protocol: str | None = None
    """Named settings of the solver; by default ``paper`` for sgd and ``default`` for the others."""
    k: Literal["every"] | None = None
    """``every``: at every size from 1 to the width (ridge only); by default at the study's sizes."""
    learning_rates: Annotated[tuple[_Positive, ...], Field(min_length=1)] | None = None
    """Step sizes that sgd tries in one pass; validation chooses. By default the protocol's own."""
    penalties: Annotated[tuple[_Positive, ...], Field(min_length=1)] | None = None
    """Penalties that ridge or logistic try; validation chooses where there are several. By default the protocol's."""
    normalisation: Literal["none", "standardised"] = "none"
    """What sgd does to features: nothing, or mean 0 and deviation 1 of the training rows, per coordinate."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """To what the factors of sgd's products are rounded."""
    average: Literal["sample", "class"] = "sample"
    """``sample``: plain top-1; ``class``: the mean of the class accuracies."""
    control: Literal["random-labels"] | None = None
    """``random-labels``: how well the same subsets fit labels that say nothing."""
    methods: SomeMethods | None = None
    """Methods that this measure takes; by default all of the study's."""

    @field_validator("protocol")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        return value if value is None or "solver" not in info.data else _named(info.data["solver"], value).name

    @field_validator("penalties", "learning_rates", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _fits_the_solver(self) -> Self:
        if self.k == "every" and self.solver != "ridge":
            raise ValueError(f"k: every needs solver ridge (one factorisation serves every size), got {self.solver}")
        if self.learning_rates is not None and self.solver != "sgd":
            raise ValueError(
                f"learning_rates are those of solver sgd, got solver {self.solver}; did you mean penalties?"
            )
        if self.penalties is not None and self.solver == "sgd":
            raise ValueError("penalties are those of ridge and logistic; sgd has its weight decay in its protocol")
        if self.penalties is not None and self.protocol is not None:
            raise ValueError("protocol and penalties exclude each other: a protocol names its penalties")
        if self.solver != "sgd" and (self.normalisation != "none" or self.precision != "float32"):
            raise ValueError(f"normalisation and precision are options of solver sgd, got solver {self.solver}")
        if self.n_candidates > 1 and self.control is not None:
            raise ValueError(
                f"a control has no rows to choose on, and {self.solver} has {self.n_candidates} values to choose from "
                "here: give one"
            )
        return self

    def settings(self) -> Protocol:
        """Return the solver's settings; what differs from the named protocol is told in its name."""
        if self.solver != "sgd":
            kind = "relative" if self.solver == "ridge" else "layer"
            own = None if self.penalties is None else f"{kind}:{_spelled(self.penalties)}"
            return _named(self.solver, self.protocol or own or "default")
        named = sgd_protocol(self.protocol or "paper")
        changed: dict[str, Any] = {}
        parts = [named.name]
        if self.learning_rates is not None and self.learning_rates != named.rates:
            changed["learning_rates"] = self.learning_rates
            parts.append(f"lr-{_spelled(self.learning_rates)}")
        if self.normalisation != "none":
            changed["normalisation"] = self.normalisation
            parts.append(self.normalisation)
        if self.precision != "float32":
            changed["precision"] = self.precision
            parts.append(self.precision)
        return replace(named, name="+".join(parts), **changed)

    @property
    def n_candidates(self) -> int:
        """Values of the hyperparameter among which validation chooses."""
        match self.settings():
            case SgdProtocol(rates=values) | RidgeProtocol(strengths=values) | LogisticProtocol(l2=values):
                return len(values)


class CkaMeasure(Part):
    """Linear CKA of a part against the whole layer (``cka``), or of two parts of equal size (``cka_pair``)."""

    measure: Literal["cka", "cka_pair"]
    """``cka``: the part against the whole layer; ``cka_pair``: two parts of equal size, of two seeds."""
    k: Literal["every"] | None = None
    """``every``: at every size from 1 to the width; by default at the study's sizes."""
    estimator: Literal["biased", "debiased", "minibatch"] = "biased"
    """``biased``: the paper's formula; ``debiased``, with an interval; ``minibatch``: as in the authors' library."""
    methods: SomeMethods | None = None
    """Methods that this measure takes; by default all of the study's."""

    @model_validator(mode="after")
    def _every_is_cheap(self) -> Self:
        if self.k == "every" and self.estimator != "biased":
            raise ValueError(f"k: every is for the biased estimator; {self.estimator} is measured at the study's sizes")
        return self


Measure = Annotated[AccuracyMeasure | CkaMeasure, Field(discriminator="measure")]
