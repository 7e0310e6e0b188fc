"""Choosing rows by the values of their columns: exact, as a shell's pattern, or out of several. Pure (no I/O)."""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from store import InvalidRequest, UnknownName

Filter: TypeAlias = str | int | float | bool | Collection[str | int | float | bool | None] | None
"""What a column must be: a value, a pattern such as ``resnet*``, None for null, or a collection of these."""


def chosen(table: pa.Table, filters: Mapping[str, Filter], *, what: str) -> pa.Table:
    """Return the rows whose columns match every filter, in their order.

    Parameters
    ----------
    table
        Any table.
    filters
        By column. Text may be a pattern as a shell has it (``*``, ``?``, ``[...]``).
    what
        What the table is, for messages: ``probes``.

    Raises
    ------
    UnknownName
        If there is no such column, or a filter alone matches no row; the message has the nearest name. Filters that
        match only apart from each other leave no row, and that is no error.
    InvalidRequest
        If a column can't be filtered by.
    """
    keep = pa.chunked_array([pa.array([True] * table.num_rows, pa.bool_())], pa.bool_())
    for name, wanted in filters.items():
        if name not in table.column_names:
            raise UnknownName.among(f"column of {what}", name, table.column_names, most=len(table.column_names))
        column = table[name]
        if pa.types.is_nested(column.type):
            raise InvalidRequest(f"{what} can't be filtered by {name}: it holds lists. Filter what comes out.")
        there = pc.unique(column)
        values = there.to_pylist()
        matches = [any(_matches(v, w) for w in _several(wanted)) for v in values]
        if table.num_rows and not any(matches):
            told = wanted if isinstance(wanted, str) else ", ".join(map(str, _several(wanted)))
            raise UnknownName.among(f"{name} in {what}", str(told), sorted({str(v) for v in values if v is not None}))
        found = pa.array([v for v, m in zip(values, matches, strict=True) if m], there.type)
        keep = pc.and_(keep, pc.is_in(column, value_set=found))
    return table.filter(keep)


def _several(wanted: Filter) -> Iterable[object]:
    return wanted if isinstance(wanted, Collection) and not isinstance(wanted, str) else (wanted,)


def _matches(value: object, wanted: object) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return value == wanted or fnmatchcase(value, wanted)
    return type(value) is type(wanted) and value == wanted if isinstance(wanted, bool) else value == wanted
