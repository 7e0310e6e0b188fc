"""Names for people that never stand for two things. Pure (no I/O).

A table or figure names a curve by model and layer. Where that is not enough (two protocols, two methods, two
representations under one name) the label gets what tells them apart, and no more.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

IdPair: TypeAlias = tuple[str | None, str | None]
Row: TypeAlias = Mapping[str, Any]

_SHORTEST = 8


def varying(rows: Iterable[Row], names: Collection[str]) -> tuple[str, ...]:
    """Return those of `names`, in their order, that take more than one value among the rows, null aside."""
    seen: dict[str, set[Any]] = {name: set() for name in names}
    for row in rows:
        for name in names:
            if row[name] is not None:
                seen[name].add(row[name])
    return tuple(name for name in names if len(seen[name]) > 1)


def shorten(ids: Iterable[str | None]) -> dict[str | None, str]:
    """Return the shortest prefix (at least 8 characters, the same length for all) that keeps distinct ids distinct."""
    distinct = {identity for identity in ids if identity is not None}
    length = _SHORTEST
    longest = max((len(identity) for identity in distinct), default=0)
    while length < longest and len({identity[:length] for identity in distinct}) < len(distinct):
        length += 1
    return {None: "none", **{identity: identity[:length] for identity in distinct}}


def id_label(pair: IdPair, rivals: Collection[IdPair], short: Mapping[str | None, str]) -> str:
    """Name a pair (train_id, test_id) among its rivals: empty if it is alone, the test id if that is enough."""
    if len(rivals) < 2:
        return ""
    train, test = pair
    if len({other for _, other in rivals}) == len(rivals):
        return f"test {short[test]}"
    return f"train {short[train]}, test {short[test]}"


def id_pair(row: Row) -> IdPair:
    """Return (train_id, test_id) of a row."""
    return row["train_id"], row["test_id"]
