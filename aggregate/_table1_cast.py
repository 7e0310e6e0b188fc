"""Who is in Table 1: the paper's networks and data sets as a store has them, or the store's own. Pure (no I/O)."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from aggregate.published import PublishedModel, model_named, published_datasets, published_models
from store.errors import UnknownName

# The data sets of Table 1 are the first four of the paper's.
_N_DATASETS: Final = 4


class Network(NamedTuple):
    """A row of the table, before layers and ids."""

    rank: int
    """Place among the rows."""
    label: str
    """What the table calls it."""
    published: PublishedModel | None
    """The paper's network that it is."""


class Cast(NamedTuple):
    """What the rows and columns of the table are."""

    models: Mapping[str, Network]
    """By name in the store; names that the store does not have as well."""
    datasets: Mapping[str, str]
    """Name in the store to the head of the column, in order of columns."""
    absent: tuple[Network, ...]
    """Networks of the paper that the store does not have."""


def paper_cast(here: Sequence[str], sets: Sequence[str], roles: Mapping[str, str]) -> Cast:
    """Find the six networks and four data sets of Table 1 among a store's names.

    Parameters
    ----------
    here, sets
        Models and data sets of the store.
    roles
        Name of a network or data set in the authors' accuracies to the store's name that plays it.

    Raises
    ------
    UnknownName
        If a role is not in Table 1, or the store lacks who plays it.
    """
    # The recipes import the figures of this package: at the top this would be a circle.
    from aggregate.recipes.cast import DATASETS, MODELS

    networks = [model for model in published_models() if model.in_table1]
    targets = published_datasets()[:_N_DATASETS]
    known = [*(network.name for network in networks), *(target.name for target in targets)]
    for role, name in roles.items():
        if role not in known:
            raise UnknownName.among("role of Table 1", role, known, most=len(known))
        there = here if role in MODELS else sets
        if name not in there:
            raise UnknownName.among("model" if role in MODELS else "data set", name, there, where=f"role {role}")
    models: dict[str, Network] = {}
    absent = []
    for rank, network in enumerate(networks):
        names = [roles[network.name]] if network.name in roles else MODELS[network.name].names
        found = [name for name in here if name in names]
        for name in found:
            alone = not found[1:] and network.name not in roles
            models[name] = Network(rank, network.paper if alone else f"{network.paper} ({name})", network)
        if not found:
            absent.append(Network(rank, network.paper, network))
    datasets: dict[str, str] = {}
    for target in targets:
        names = [roles[target.name]] if target.name in roles else DATASETS[target.name].names
        found = [name for name in sets if name in names]
        # A column that the store lacks stays, empty, under a name that no data set has.
        alone = not found[1:] and target.name not in roles
        heads = {name: target.paper if alone else f"{target.paper} ({name})" for name in found}
        datasets |= heads or {f"no {target.name}": target.paper}
    return Cast(models, datasets, tuple(absent))


def own_cast(here: Sequence[str], sets: Sequence[str]) -> Cast:
    """Take all names of a store as they are."""
    models = {name: Network(rank, name, model_named(name)) for rank, name in enumerate(sorted(here))}
    return Cast(models, {name: name for name in sorted(sets)}, ())


def nothing_there(here: Sequence[str], sets: Sequence[str]) -> str:
    """Say what Table 1 looks for, and what there is instead."""
    networks = [model for model in published_models() if model.in_table1]
    names = ", ".join(f"{model.name} (zoo: {model.zoo})" for model in networks)
    targets = ", ".join(f"{target.name} (zoo: {target.zoo})" for target in published_datasets()[:_N_DATASETS])
    return (
        f"Table 1 needs one of {names} on one of {targets}; got {', '.join(sorted(here)) or 'no network'} on "
        f"{', '.join(sorted(sets)) or 'no data set'}. Ask for the store's own (`models` all), or say which of them "
        "plays which role"
    )
