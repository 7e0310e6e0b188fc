"""Tables of results in a notebook: DR with a small chart in each row, and comparisons.

`drfarm.redundancy` returns an Arrow table, which has no HTML of its own and can't be given one: `show` wraps it, and in
a kernel IPython is told how to show tables that have the columns of the view. All other tables stay as they were.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import aggregate
from drfarm.notebook._dr_chart import difference_chart, dr_chart
from drfarm.notebook._markup import Cell, frame, note, table
from drfarm.progress import kernel_shell
from store import InvalidRequest

if TYPE_CHECKING:
    from drfarm.comparison import Comparison

_COLUMNS = {
    "model": "model",
    "layer": "layer",
    "dataset": "data set",
    "measure": "measure",
    "solver": "solver",
    "protocol": "protocol",
    "method": "method",
    "delta": "delta",
    "rule": "rule",
}
"""Columns that say what a row is: one with a single value stands below the table."""
_IDS = ("train_id", "test_id")


class Shown:
    """A table that shows itself in a notebook. Made by `show`."""

    def __init__(self, of: pa.Table) -> None:
        self.table = of
        """The table as it was given."""

    def __repr__(self) -> str:
        return str(self.table)

    def _repr_html_(self) -> str:
        return redundancy_html(self.table)


def show(of: pa.Table) -> Shown:
    """Wrap a DR table so that it shows itself with a small chart: ``drfarm.show(drfarm.redundancy(store))``.

    In a notebook the table that `drfarm.redundancy` returns shows itself without this; so do parts of it, such as
    ``table.filter(...)``, as long as they keep the columns.

    Raises
    ------
    InvalidRequest
        If it has not the columns of the view ``redundancy``.
    """
    if not _is_redundancy(of):
        missing = sorted(set(aggregate.REDUNDANCY_SCHEMA.names) - set(of.column_names))
        raise InvalidRequest(
            f"a table of DR has all columns of the view redundancy; missing: {', '.join(missing)}. Show what "
            "drfarm.redundancy returned, or select whole rows of it."
        )
    return Shown(of)


def redundancy_html(of: pa.Table) -> str:
    """Return a DR table as HTML: the rule `strict` where it is there, else all rows."""
    rows = of.to_pylist()
    if not rows:
        return frame("redundancy", "no rows", note("Nothing was measured yet."))
    strict = [row for row in rows if row["rule"] == "strict"]
    rows = strict or rows
    named = {name: head for name, head in _COLUMNS.items() if len({row[name] for row in rows} - {None}) > 1}
    named |= {name: name.replace("_", " ") for name in _ambiguous(rows)}
    show_cell: dict[str, Callable[[Mapping[str, Any]], Cell]] = {
        "DR": _dr,
        "0 – chart – 1": dr_chart,
        "interval": lambda row: _range(row["ci_low"], row["ci_high"], "{:.3f}"),
        "neurons": lambda row: (
            f"{row['n_neurons']} of {row['width']}" if row["dr"] is not None else f"of {row['width']}"
        ),
        "seeds": lambda row: row["n_seeds"],
    }
    body = [[*(_name(row, name) for name in named), *(make(row) for make in show_cell.values())] for row in rows]
    common = [
        f"{head} {values.pop()}"
        for name, head in _COLUMNS.items()
        if name not in named and (values := {row[name] for row in rows} - {None})
    ]
    return frame(
        "redundancy",
        f"{len(rows):,} {'curve' if len(rows) == 1 else 'curves'}",
        table([*named.values(), *show_cell], body),
        note(f"All: {', '.join(common)}." if common else ""),
        note("Dot: DR. Pale bar: what the grid leaves open. Line: interval over seeds, which holds the bar."),
    )


def comparison_html(found: "Comparison") -> str:
    """Return a comparison as HTML."""
    shown, rows = found.shown(), found.table.to_pylist()
    header = [*shown.leads, *(column.head for column in shown.columns)]
    ends = [abs(v) for row in rows for v in (row["ci_low"], row["ci_high"], row["difference"]) if v is not None]
    reach = max([*ends, 0.01])
    at = header.index("A - B")
    body: list[list[Cell]] = [
        [*cells[:at], difference_chart(row, reach), *cells[at:]] for cells, row in zip(shown.rows, rows, strict=True)
    ]
    header.insert(at, f"-{reach:.2g} – 0 – +{reach:.2g}")
    n = found.table.num_rows
    return frame("comparison", f"{n:,} {'row' if n == 1 else 'rows'}", table(header, body), *map(note, shown.notes))


def show_tables_in_kernel() -> None:
    """Tell IPython, where it runs this, how DR tables are shown; what somebody else told it of tables stays."""
    shell = kernel_shell()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["text/html"]
    try:
        formatter.lookup_by_type(pa.Table)
    except KeyError:
        formatter.for_type(pa.Table, _html_or_none)


def _html_or_none(of: pa.Table) -> str | None:
    # None makes IPython show the table's own text.
    return redundancy_html(of) if _is_redundancy(of) else None


def _is_redundancy(of: pa.Table) -> bool:
    return set(aggregate.REDUNDANCY_SCHEMA.names) <= set(of.column_names)


def _ambiguous(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids that tell rows apart which have one name."""
    seen: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    for row in rows:
        seen.setdefault(tuple(row[name] for name in _COLUMNS), set()).add(tuple(row[name] for name in _IDS))
    several = [ids for ids in seen.values() if len(ids) > 1]
    return [name for at, name in enumerate(_IDS) if any(len({pair[at] for pair in ids}) > 1 for ids in several)]


def _name(row: Mapping[str, Any], name: str) -> Cell:
    value = row[name]
    if name in _IDS:
        return None if value is None else str(value)[:12]
    return f"{value:g}" if isinstance(value, float) else value


def _dr(row: Mapping[str, Any]) -> Cell:
    if row["dr"] is not None:
        return f"{row['dr']:.3f}"
    if row["bracket_high"] is None:
        return "unknown"
    return f"< {row['bracket_high']:.3f}" if row["bracket_high"] > 0 else "never"


def _range(low: float | None, high: float | None, form: str) -> Cell:
    return None if low is None or high is None else f"{form.format(low)} to {form.format(high)}"
