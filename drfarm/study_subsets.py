"""The part of a study file that says which subsets are measured."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from drfarm._study_part import Part
from probe import PAPER_FRACTIONS, parse_method, size_of_fraction
from store import InvalidRequest


def _method_label(value: str) -> str:
    return parse_method(value).label


MethodLabel = Annotated[str, AfterValidator(_method_label)]
"""How coordinates are chosen: NAME or NAME:VARIANT, see docs/study.md."""


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError(f"each method once, got {', '.join(value)}")
    return value


SomeMethods = Annotated[tuple[MethodLabel, ...], Field(min_length=1), AfterValidator(_once)]
"""Some of a study's methods, each once."""


class RefineEntry(Part):
    """Adding sizes until the bracket of k* is narrow."""

    delta: float | None = Field(default=None, gt=0, le=1)
    """Threshold whose k* is looked for; by default each of the study's ``deltas``."""
    to: float = Field(default=0.01, gt=0, lt=1)
    """Width of a bracket that is narrow enough, as a fraction of the layer (never below one neuron)."""


class SubsetsEntry(Part):
    """Which subsets are measured."""

    methods: tuple[MethodLabel, ...] = ("random",)
    """How neurons, or directions, are chosen."""
    fractions: tuple[float, ...] | None = None
    """Sizes as fractions f of the width: k = int(f d)."""
    n_neurons: tuple[int, ...] | None = None
    """Sizes in neurons."""
    grid: Literal["paper"] | None = None
    """``paper``: the 22 fractions of the paper's ResNet-50 curves."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Seeds of the draws; a number n stands for 1 to n."""
    refine: RefineEntry | None = None
    """Add sizes where DR is decided, by default none."""
    on_missing_components: Literal["error", "censor"] = "error"
    """What a size above the number of principal components does (n training rows have at most n - 1)."""

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
