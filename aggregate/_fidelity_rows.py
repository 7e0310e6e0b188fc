"""Every published number as a row, with what its rule and Eq. 1 give on the authors' accuracies. Pure (no I/O)."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeAlias

from aggregate._redundancy import RULES
from aggregate.published import (
    deviations,
    published_accuracies,
    published_cka,
    published_read_off,
    published_redundancy,
    published_spread,
    published_table1,
    published_top1,
)
from aggregate.published.recomputed import recomputed_redundancy

Row: TypeAlias = dict[str, Any]

DELTA: Final = 0.9
"""The level of every DR that is carried."""

_QUANTITY: Final = {"table1": "dr", "redundancy": "dr", "spread": "std"}
"""Words of the deviations, where they are not those of the column `table`."""

EMPTY: Final[Row] = {
    "table": None,
    "model": None,
    "dataset": None,
    "method": "random",
    "n_neurons": None,
    "width": None,
    "fraction": None,
    "delta": None,
    "published": None,
    "precision": "printed",
    "source": None,
    "nearest": None,
    "strict": None,
    "interpolated": None,
    "recomputed_from": None,
}


@cache
def published_rows() -> tuple[Row, ...]:
    """Return one row per number: the columns of `EMPTY`, and the deviations that touch it."""
    rows = [*_redundancies(), *_top1(), *_accuracies(), *_spreads(), *_read_off(), *_similarities()]
    return tuple(row | {"deviations": _touching(row)} for row in rows)


def _row(**values: Any) -> Row:
    return EMPTY | values


def _touching(row: Row) -> list[str]:
    table: str = row["table"]
    quantity = _QUANTITY.get(table, table)
    return [
        d.id for d in deviations() if d.touches(quantity, row["model"], row["dataset"], row["method"], row["fraction"])
    ]


def _redundancies() -> Iterator[Row]:
    """Give Table 1 in its order, then the DR of the other networks, methods and data sets."""
    recomputed = {_cell(row): row for row in recomputed_redundancy(DELTA).to_pylist()}
    notebooks = {_cell(row): row for row in published_redundancy().to_pylist()}
    printed = {(row["model"], "random", row["dataset"]): row["dr"] for row in published_table1().to_pylist()}
    for cell in dict.fromkeys([*printed, *notebooks, *recomputed]):
        again = recomputed.get(cell)
        values = again or notebooks[cell]
        yield _row(
            table="table1" if cell in printed else "redundancy",
            model=cell[0],
            method=cell[1],
            dataset=cell[2],
            delta=DELTA,
            published=printed.get(cell),
            precision="printed" if cell in printed else "curve",
            source="table1" if cell in printed else again["source"] if again else "redundancy",
            recomputed_from="accuracies" if again else "notebooks",
            **{rule: values[rule] for rule in RULES},
        )


def _cell(row: Row) -> tuple[str, str, str]:
    return row["model"], row["method"], row["dataset"]


def _top1() -> Iterator[Row]:
    for row in published_top1().to_pylist():
        for column, source in (("printed", "paper"), ("exact", "imagenet-top1")):
            if row[column] is not None:
                yield _row(
                    table="imagenet", model=row["model"], dataset="imagenet", method="head", published=row[column],
                    source=source,
                )  # fmt: skip


def _accuracies() -> Iterator[Row]:
    for row in published_accuracies().to_pylist():
        yield _row(table="accuracy", published=row.pop("accuracy"), **row)


def _spreads() -> Iterator[Row]:
    for row in published_spread().to_pylist():
        yield _row(table="spread", published=row.pop("std"), source="spread", **row)


def _read_off() -> Iterator[Row]:
    for row in published_read_off().to_pylist():
        yield _row(table="read_off", published=row.pop("accuracy"), precision=row.pop("bound"), **row)


def _similarities() -> Iterator[Row]:
    for row in published_cka().to_pylist():
        kind = row.pop("kind")
        source = f"cka-{kind.replace('_', '-')}"
        yield _row(table=f"cka_{kind}", published=row.pop("value"), source=source, **row)
