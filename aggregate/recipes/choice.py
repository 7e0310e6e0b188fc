"""What is chosen where a store holds more, or other, than a recipe asks for. Pure (no I/O)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from aggregate._redundancy import RULES, Rule
from aggregate.errors import InvalidOption
from aggregate.recipes.cast import DATASETS, MODELS, DatasetRole, ModelRole
from aggregate.recipes.measured_cells import MeasuredCells
from store.errors import UnknownName

ALL = "all"
"""Stands for every model, or every data set, of the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of a store's results play which role."""

    solver: str | None = None
    """Only results of this solver; None: any, as long as it is one."""
    protocol: str | None = None
    """Only results under this protocol; None: any, as long as it is one."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Model or data set of the store that plays a role of the paper, by role."""
    models: tuple[str, ...] | None = None
    """Models of the store that are drawn in place of the paper's; `("all",)`: every one; None: the paper's."""
    datasets: tuple[str, ...] | None = None
    """Data sets of the store in place of the paper's; None: the paper's, or all where `models` is given."""
    layers: tuple[str, ...] | None = None
    """Layers in place of the penultimate one (in place of the paper's, for a recipe of layers)."""
    rules: tuple[Rule, ...] = ("strict",)
    """How DR is read off a curve, in figures of DR; the first is drawn in full."""

    @property
    def is_own(self) -> bool:
        """Whether the store's own models are drawn."""
        return self.models is not None

    def checked(self, cells: MeasuredCells) -> Self:
        """Return the choice with `all` spelt out, after comparing every name with the store's.

        Raises
        ------
        UnknownName
            If a role, model, data set or layer is not there; says the nearest.
        InvalidOption
            If a rule is unknown, or none is given.
        """
        wrong = [rule for rule in self.rules if rule not in RULES]
        if wrong or not self.rules:
            raise InvalidOption(f"rules must be some of {', '.join(RULES)}, got {', '.join(wrong) or 'none'}")
        for role, name in self.roles.items():
            if role in MODELS:
                _known("model", name, cells.models, f"role {role}")
            elif role in DATASETS:
                _known("data set", name, cells.datasets, f"role {role}")
            else:
                raise UnknownName.among("role", role, [*MODELS, *DATASETS])
        layers = {layer for model in cells.models for layer in cells.layers(model)} if self.layers else set()
        for layer in self.layers or ():
            _known("layer", layer, layers, "")
        models = _spelt_out("model", self.models, cells.models)
        datasets = self.datasets if self.datasets is not None or models is None else (ALL,)
        return replace(self, models=models, datasets=_spelt_out("data set", datasets, cells.datasets))

    def model_names(self, model: ModelRole) -> frozenset[str]:
        """Return the names, case folded, under which a store's results play this role."""
        return frozenset(name.casefold() for name in self._names(model))

    def dataset_names(self, dataset: DatasetRole) -> frozenset[str]:
        """Return the names, case folded, under which a store's results are of this data set."""
        return frozenset(name.casefold() for name in self._names(dataset))

    def _names(self, role: ModelRole | DatasetRole) -> tuple[str, ...]:
        return (self.roles[role.role],) if role.role in self.roles else role.names


def _spelt_out(what: str, names: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...] | None:
    if names is None or names == (ALL,):
        return None if names is None else known
    for name in names:
        _known(what, name, known, "")
    return tuple(dict.fromkeys(names))


def _known(what: str, name: str, known: Collection[str], where: str) -> None:
    if name not in known:
        raise UnknownName.among(f"{what} with results", name, known, where=where)
