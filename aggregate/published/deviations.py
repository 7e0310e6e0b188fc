"""The places where the paper's text, its released code and its notebooks disagree."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from aggregate.published._files import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class HowTo:
    """How drfarm does one of the two."""

    how: str
    """In words."""
    study: dict[str, Any] | None
    """Keys of a study file that do it; None where none does."""
    command: str | None
    """A command that does it; None where it is a matter of the study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Numbers that a deviation touches: all of these must match, an empty one matches everything."""

    quantity: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    fraction: tuple[float, ...] = ()

    def holds(self, quantity: str, model: str, dataset: str | None, method: str, fraction: float | None) -> bool:
        """Return whether the number is among them."""
        if self.quantity and quantity not in self.quantity:
            return False
        named = ((self.model, model), (self.dataset, dataset), (self.method, method))
        if any(patterns and not any(fnmatchcase(value or "", p) for p in patterns) for patterns, value in named):
            return False
        return not self.fraction or (fraction is not None and any(abs(fraction - f) < 1e-9 for f in self.fraction))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One disagreement between what the paper says and what was done."""

    id: str
    """D1 to D22."""
    title: str
    """What it is about."""
    paper: str
    """What the paper says."""
    released: str
    """What the code or the notebooks did, or what their numbers say."""
    where: str
    """Where that stands."""
    figures: tuple[str, ...]
    """Figures and tables of the paper that it touches: `fig1` to `fig22`, `table1`."""
    scopes: tuple[_Scope, ...]
    """Numbers that it touches."""
    as_paper: HowTo
    """How to do what the paper says."""
    as_released: HowTo
    """How to do what the code did; for a sentence that the numbers contradict, how to see it."""

    def touches(self, quantity: str, model: str, dataset: str | None, method: str, fraction: float | None) -> bool:
        """Return whether a number was made, or is read, differently because of it.

        Parameters
        ----------
        quantity
            `dr`, `imagenet`, `accuracy`, `std`, `read_off`, `cka_part_whole` or `cka_pair`.
        model, dataset
            Their names here; the data set is None where there is none.
        method
            How the neurons were chosen.
        fraction
            Of the layer; None for a number about all fractions.
        """
        return any(scope.holds(quantity, model, dataset, method, fraction) for scope in self.scopes)


@cache
def deviations() -> tuple[Deviation, ...]:
    """Return D1 to D22."""
    return tuple(_deviation(entry) for entry in read_json("deviations.json"))


def deviations_of(figure: str) -> tuple[Deviation, ...]:
    """Return those that touch a figure or table: `fig4`, `table1`."""
    return tuple(d for d in deviations() if figure in d.figures)


def _deviation(entry: dict[str, Any]) -> Deviation:
    scopes = tuple(_Scope(**{name: _tuple(values) for name, values in scope.items()}) for scope in entry["applies"])
    return Deviation(
        **{name: entry[name] for name in ("id", "title", "paper", "released", "where")},
        figures=tuple(entry["figures"]),
        scopes=scopes,
        as_paper=HowTo(**entry["as_paper"]),
        as_released=HowTo(**entry["as_released"]),
    )


def _tuple(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(values)
