"""A panel and a label for every cell, such that no two cells share both. Pure (no I/O)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from aggregate._labels import IdPair, id_label, id_pair, shorten, varying
from aggregate._runs import Measure
from aggregate._whole import method_rank
from aggregate.measured import CellKey

PanelBy: TypeAlias = Literal["dataset", "model"]


class Keyed(Protocol):
    """What is drawn of one cell."""

    @property
    def key(self) -> CellKey:
        """What was measured."""


Drawn = TypeVar("Drawn", bound=Keyed)


def name_cells(
    keys: Sequence[Mapping[str, Any]], *, panel_by: PanelBy = "dataset", measure: Measure = "accuracy"
) -> list[tuple[str, str]]:
    """Return the panel and the label of each cell, in the order of `keys`.

    Solver and protocol (an estimator of CKA) go to the panel where there are several, so that a panel holds one
    protocol; method and ids to the label.

    Parameters
    ----------
    keys
        Columns of `CELL_TYPES`, one mapping per cell.
    panel_by
        `dataset`: panels of datasets, labels of models and layers. `model`: the other way round.
    """
    in_panel = varying(keys, ("solver", "protocol")) if measure == "accuracy" else ("protocol",)
    in_label = varying(keys, ("method",))
    names = [_name(key, in_panel, in_label, panel_by) for key in keys]
    short = shorten(identity for key in keys for identity in id_pair(key))
    rivals: dict[tuple[str, str], set[IdPair]] = defaultdict(set)
    for key, name in zip(keys, names, strict=True):
        rivals[name].add(id_pair(key))
    return [
        (name[0], ", ".join(filter(None, [name[1], id_label(id_pair(key), rivals[name], short)])))
        for key, name in zip(keys, names, strict=True)
    ]


def _name(
    key: Mapping[str, Any], in_panel: tuple[str, ...], in_label: tuple[str, ...], panel_by: PanelBy
) -> tuple[str, str]:
    variant = "/".join(str(key[name]) for name in in_panel if key[name] is not None)
    extra = [str(key[name]) for name in in_label]
    model, dataset = f"{key['model']}/{key['layer']} ({key['width']})", str(key["dataset"])
    if panel_by == "model":
        return ", ".join(filter(None, [model, variant])), ", ".join([dataset, *extra])
    return ": ".join(filter(None, [dataset, variant])), ", ".join([model, *extra])


def of_first_method(drawn: Sequence[Drawn]) -> tuple[list[Drawn], str]:
    """Keep what is of the first method, orders of neurons before mixtures; return it and what a caption says of it.

    What is left has to be named anew: the method tells nothing apart any more.
    """
    methods = sorted({str(one.key.method) for one in drawn}, key=method_rank)
    if len(methods) < 2:
        return list(drawn), ""
    return [one for one in drawn if str(one.key.method) == methods[0]], f" Method: {methods[0]}."


def names_of(drawn: Sequence[Keyed], *, panel_by: PanelBy, measure: Measure = "accuracy") -> list[tuple[str, str]]:
    """Return the panel and the label of what is drawn of each cell, as `name_cells`."""
    return name_cells([one.key._asdict() for one in drawn], panel_by=panel_by, measure=measure)
