"""How the command shows the answer to a question: as a table for people, as CSV, JSON or Parquet for programs."""

import csv
import io
import json
import math
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
from rich.cells import cell_len

from store import InvalidRequest

AnswerFormat = Literal["table", "csv", "json", "parquet"]
_SUFFIXES: Final[dict[str, AnswerFormat]] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".pq": "parquet"}
_LIST_SHOWN = 6
"""Entries of a list that a table shows."""
_NARROW = 24
"""Characters that text keeps where a table does not fit otherwise."""
_ID_SHOWN = 12
_GAP = "  "


def chosen_format(asked: AnswerFormat | None, out: Path | None) -> AnswerFormat:
    """Return the format that was asked for, or the one that the file's name says; else a table."""
    if asked is not None:
        return asked
    return "table" if out is None else _SUFFIXES.get(out.suffix.lower(), "table")


def answer_bytes(table: pa.Table, output_format: AnswerFormat, *, width: int | None = None) -> bytes:
    """Return an answer in a format; a table no wider than ``width`` characters, where that is given.

    Raises
    ------
    InvalidRequest
        If a column has a type that Parquet has not; it is named.
    """
    if output_format == "parquet":
        return _parquet(table)
    made = {"csv": _csv, "json": _json}.get(output_format)
    text = answer_table(table, width=width) if made is None else made(table)
    return (text + "\n").encode("utf-8", "replace")


def answer_table(table: pa.Table, *, width: int | None = None, count: str | None = None) -> str:
    """Return an aligned table, however wide; with a width, long text is cut, and columns that do not fit are named.

    ``count`` is what stands below it, by default how many rows there are.
    """
    columns = [_Column(n, c) for n, c in zip(table.column_names, table.columns, strict=True)]
    left: list[str] = []
    if width is not None and _total(columns) > width:
        for column in columns:
            column.cut()
        while len(columns) > 1 and _total(columns) > width:
            left.insert(0, columns.pop().name)
    lines = [_GAP.join(column.head() for column in columns).rstrip()]
    lines += [_GAP.join(cells).rstrip() for cells in zip(*(column.lines() for column in columns), strict=True)]
    if count is None:
        count = "1 row" if table.num_rows == 1 else f"{table.num_rows:,} rows"
    if left:
        n = len(left) + len(columns)
        count += f"; {len(left)} of {n} columns do not fit: {', '.join(left)}. --format csv shows all, | less -S too"
    lines.append(f"({count})")
    return "\n".join(lines)


class _Column:
    """One column of a table: its cells as text, and how wide they are."""

    def __init__(self, name: str, values: pa.ChunkedArray) -> None:
        self.name = _printable(name)
        self._right = bool(pa.types.is_integer(values.type) or pa.types.is_floating(values.type))
        self._right = self._right or bool(pa.types.is_decimal(values.type))
        self._cells = [_cell(v) for v in values.to_pylist()]
        self._measure()

    def _measure(self) -> None:
        self.width = max([cell_len(self.name), *map(cell_len, self._cells)])

    def cut(self) -> None:
        """Shorten what is long; ids, which only their beginning tells apart, more."""
        for i, cell in enumerate(self._cells):
            if cell_len(cell) > _NARROW:
                hexadecimal = len(cell) >= 32 and all(c in "0123456789abcdef" for c in cell)
                self._cells[i] = cell[: _ID_SHOWN if hexadecimal else _NARROW - 1] + "…"
        self._measure()

    def head(self) -> str:
        """Return the name, padded."""
        return self._padded(self.name)

    def lines(self) -> list[str]:
        """Return the cells, padded."""
        return [self._padded(c) for c in self._cells]

    def _padded(self, text: str) -> str:
        space = " " * (self.width - cell_len(text))
        return space + text if self._right else text + space


def _total(columns: Sequence[_Column]) -> int:
    return sum(c.width for c in columns) + len(_GAP) * (len(columns) - 1)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        rest = ", ...]" if len(value) > _LIST_SHOWN else "]"
        return "[" + ", ".join(_cell(v) for v in value[:_LIST_SHOWN]) + rest
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_cell(v)}" for k, v in value.items()) + "}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return _interval(value) if isinstance(value, pa.MonthDayNano) else _printable(str(value))


def _interval(value: pa.MonthDayNano) -> str:
    """Return an interval as ISO 8601 writes it."""
    return f"P{value.months}M{value.days}DT{value.nanoseconds / 1e9:g}S"


def _printable(text: str) -> str:
    """Escape what would break a line or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _csv(table: pa.Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*([_csv_cell(v) for v in c.to_pylist()] for c in table.columns), strict=True))
    return buffer.getvalue().removesuffix("\n")


def _csv_cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, pa.MonthDayNano):
        return _interval(value)
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    return value.hex() if isinstance(value, bytes) else value


def _json(table: pa.Table) -> str:
    columns = [[_plain(v) for v in c.to_pylist()] for c in table.columns]
    rows = [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON can carry it: NaN and infinity, which it has no word for, as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, pa.MonthDayNano):
        return _interval(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.hex() if isinstance(value, bytes) else str(value)


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    try:
        pq.write_table(table, buffer)
    except pa.ArrowNotImplementedError as e:
        for name in table.column_names:
            try:
                pq.write_table(table.select([name]), pa.BufferOutputStream())
            except pa.ArrowNotImplementedError:
                raise InvalidRequest(
                    f"Parquet can't hold the column {name}, which is {table.schema.field(name).type}. Cast it in the "
                    f"query, such as {name}::VARCHAR, or choose --format csv."
                ) from e
        raise
    return bytes(buffer.getvalue().to_pybytes())
