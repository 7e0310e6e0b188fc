"""Two sides of a comparison: what each one means, and which cell of one belongs to which of the other. Pure (no I/O).

A side is a table of results and what its cells must be called. Cells meet where everything agrees that neither side
says: what only one side says holds for both, so that `model=x,method=random` against `method=pca` is two methods of
one model. Models and layers may differ unsaid where each side has but one. Solver, protocol, method and data set never
may: what is not meant to be compared is not compared, and said to be left out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pyarrow as pa

from aggregate._curves import Curves, curves
from aggregate._labels import shorten
from aggregate._paired_curves import PairedCurves, pair_curves
from aggregate._runs import Measure, Runs, read_runs
from aggregate.errors import InvalidOption
from store.errors import UnknownName

MEASURES: Final[tuple[Measure, ...]] = ("accuracy", "cka", "cka_pair")
SIDE_NAMES: Final = ("model", "layer", "dataset", "measure", "solver", "protocol", "method", "train_id", "test_id")
"""What the cells of a side can be singled out by."""
_MATCHED: Final = ("model", "layer", "dataset", "solver", "protocol", "method")
_IDS: Final = ("train_id", "test_id")
_MOST_NAMED: Final = 4
_FREE_IF_SINGLE: Final = ("model", "layer")

_Key: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: results, and what of them is meant."""

    probes: pa.Table | None = None
    """View `probes`; None where there is none."""
    cka: pa.Table | None = None
    """View `cka`; None where there is none."""
    where: Mapping[str, str]
    """What the cells must be called, by names among `SIDE_NAMES`; ids may be given by their beginning."""
    label: str
    """What messages call this side, such as `A`."""

    def __post_init__(self) -> None:
        for name in self.where:
            if name not in SIDE_NAMES:
                raise UnknownName.among("name to select by", name, SIDE_NAMES, where=self.label)
        if "measure" in self.where and self.where["measure"] not in MEASURES:
            raise UnknownName.among("measure", self.where["measure"], MEASURES, where=self.label)

    def table(self, measure: Measure) -> pa.Table | None:
        """Return the view that holds a measure."""
        return self.probes if measure == "accuracy" else self.cka


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The cells of one measure that are compared, pair by pair."""

    measure: Measure
    """What was measured."""
    keys_a: tuple[_Key, ...]
    """Names of the cell of side A in each pair."""
    keys_b: tuple[_Key, ...]
    """Names of the cell of side B in each pair."""
    curves: PairedCurves
    """Their curves."""


@dataclass(slots=True)
class _Chosen:
    """The cells of one side at one measure."""

    runs: Runs
    curves: Curves
    keys: list[_Key]
    cells: list[int]


def match_sides(a: Side, b: Side) -> tuple[list[Matched], list[str]]:
    """Return the pairs of cells of each measure, and notes on what is left out.

    Raises
    ------
    UnknownName
        If a side names what is not there; the message has the nearest name.
    InvalidOption
        If nothing can be compared, or a name stands for several representations.
    """
    chosen_a, chosen_b = _chosen(a, {**a.where, **_shared(b, a)}), _chosen(b, {**b.where, **_shared(a, b)})
    said = (set(a.where) | set(b.where)) - set(_IDS)
    keys = [_all_keys(chosen) for chosen in (chosen_a, chosen_b)]
    free = {name for name in _FREE_IF_SINGLE if all(len({key[name] for key in of_side}) == 1 for of_side in keys)}
    by = tuple(name for name in _MATCHED if name not in said | free)
    matched: list[Matched] = []
    same: list[str] = []
    alone: dict[str, list[str]] = {a.label: [], b.label: []}
    for measure in MEASURES:
        if measure not in chosen_a and measure not in chosen_b:
            continue
        sides = chosen_a.get(measure), chosen_b.get(measure)
        groups_a, groups_b = (_groups(side, by, name.label) for side, name in zip(sides, (a, b), strict=True))
        for key, label in [(k, a.label) for k in groups_a if k not in groups_b] + [
            (k, b.label) for k in groups_b if k not in groups_a
        ]:
            alone[label].append(_named(measure, by, key))
        pairs = []
        for key in groups_a:
            if key not in groups_b:
                continue
            if _same(sides, groups_a[key], groups_b[key]):
                same.append(_named(measure, by, key))
                continue
            pairs.append((groups_a[key], groups_b[key]))
        left, right = sides
        if pairs and left is not None and right is not None:
            cells_a, cells_b = [i for i, _ in pairs], [j for _, j in pairs]
            matched.append(
                Matched(
                    measure=measure,
                    keys_a=tuple(left.keys[i] for i in cells_a),
                    keys_b=tuple(right.keys[j] for j in cells_b),
                    curves=pair_curves(left.curves, left.runs.seeds, cells_a, right.curves, right.runs.seeds, cells_b),
                )
            )
    if not matched:
        raise InvalidOption(_nothing_in_common(a, b, keys, by, len(same)))
    return matched, [
        note
        for what, curves_of in (
            ("The very same results on both sides", same),
            *((f"Only in {k}", v) for k, v in alone.items()),
        )
        for note in _listed(what, curves_of)
    ]


def _listed(what: str, names: Sequence[str]) -> list[str]:
    """Name curves, the first few of many."""
    lines = [f"{what}: {name}." for name in names[:_MOST_NAMED]]
    rest = len(names) - _MOST_NAMED
    return [*lines, *([f"{what}: {rest} more {'curve' if rest == 1 else 'curves'}."] if rest > 0 else [])]


def _shared(other: Side, side: Side) -> dict[str, str]:
    """Return what holds for a side because only the other one says it; an id is of one side only."""
    return {name: value for name, value in other.where.items() if name not in _IDS and name not in side.where}


def _chosen(side: Side, where: Mapping[str, str]) -> dict[Measure, _Chosen]:
    found: dict[Measure, _Chosen] = {}
    everything: list[_Key] = []
    for measure in MEASURES:
        table = side.table(measure)
        if table is None or not table.num_rows:
            continue
        runs = read_runs(table, measure=measure)
        keys = [{**key, "measure": measure} for key in runs.keys.to_pylist()]
        everything += keys
        cells = [cell for cell, key in enumerate(keys) if _fits(key, where)]
        if cells:
            curve = curves(runs, whole_is_one=measure != "accuracy")
            found[measure] = _Chosen(runs=runs, curves=curve, keys=keys, cells=cells)
    if not found:
        _explain_none(side, where, everything)
    return found


def _fits(key: _Key, where: Mapping[str, str]) -> bool:
    return all(
        (key[name] or "").startswith(value) if name in _IDS else key[name] == value for name, value in where.items()
    )


def _explain_none(side: Side, where: Mapping[str, str], keys: Sequence[_Key]) -> None:
    """Raise the error that names what is not there: alone, or among what the rest leaves."""
    if not keys:
        raise InvalidOption(f"{side.label}: there are no results to compare; run a study or import results first")
    left = keys
    for name, value in where.items():
        remaining = [key for key in left if _fits(key, {name: value})]
        if not remaining:
            known = {str(key[name]) for key in left if key[name] is not None}
            said = [f"{n}={v}" for n, v in where.items() if n != name]
            among = f"{side.label} (among {', '.join(said)})" if len(left) < len(keys) else side.label
            raise UnknownName.among(name, value, known, where=among)
        left = remaining


def _all_keys(chosen: Mapping[Measure, _Chosen]) -> list[_Key]:
    return [side.keys[cell] for side in chosen.values() for cell in side.cells]


def _groups(side: _Chosen | None, by: tuple[str, ...], label: str) -> dict[tuple[Any, ...], int]:
    """Return the cell of each name; several are an error, for which of them is meant is nobody's guess."""
    if side is None:
        return {}
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for cell in side.cells:
        groups[tuple(side.keys[cell][name] for name in by)].append(cell)
    for cells in groups.values():
        if len(cells) > 1:
            keys = [side.keys[cell] for cell in cells]
            names = [n for n in (*_MATCHED, *_IDS, "width") if len({key[n] for key in keys}) > 1]
            short = shorten(key[n] for key in keys for n in _IDS)
            listed = "; ".join(
                ", ".join(f"{n}={short[key[n]] if n in _IDS else key[n]}" for n in names) for key in keys[:6]
            )
            raise InvalidOption(
                f"{label} must be one curve for each data set and measure, got {len(cells)} of model "
                f"{keys[0]['model']!r} on {keys[0]['dataset']!r} ({keys[0]['measure']}): {listed}. They are never "
                f"averaged: say which, by {' or '.join(f'{n}=...' for n in names if n != 'width') or 'its id'}"
            )
    return {key: cells[0] for key, cells in groups.items()}


def _same(sides: tuple[_Chosen | None, _Chosen | None], cell_a: int, cell_b: int) -> bool:
    a, b = sides
    if a is None or b is None:
        return False
    identity = ("model", "layer", "dataset", "solver", "protocol", "method", "width")
    key_a, key_b = a.keys[cell_a], b.keys[cell_b]
    return all(key_a[n] == key_b[n] for n in (*identity, *_IDS))


def _named(measure: str, by: tuple[str, ...], key: tuple[Any, ...]) -> str:
    parts = [f"{name} {value}" for name, value in zip(by, key, strict=True) if value is not None]
    return ", ".join([measure, *parts])


def _nothing_in_common(a: Side, b: Side, keys: list[list[_Key]], by: tuple[str, ...], n_same: int) -> str:
    if n_same:
        return (
            f"{a.label} and {b.label} must be two curves, got the very same results on both sides: say in what they "
            "differ, such as model=..., layer=..., method=... or protocol=..."
        )
    apart = []
    for name in (*by, "measure"):
        values_a, values_b = ({str(key[name]) for key in of_side if key[name] is not None} for of_side in keys)
        if values_a and values_b and not values_a & values_b:
            apart.append((name, sorted(values_a), sorted(values_b)))
            break
    if not apart:
        return (
            f"{a.label} and {b.label} have no curve in common: they must agree in {', '.join(by)}, or say in what they "
            "differ"
        )
    name, of_a, of_b = apart[0]
    hint = f"say {name}={of_a[0]} for {a.label} and {name}={of_b[0]} for {b.label} if that is meant"
    return (
        f"{a.label} and {b.label} must agree in what neither of them says, got {name} {', '.join(of_a[:5])} in "
        f"{a.label} and {', '.join(of_b[:5])} in {b.label}. These are never compared silently: {hint}"
    )
