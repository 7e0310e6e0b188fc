"""Tables as HTML: every text in them is escaped, numbers sort as numbers. Pure (no I/O)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One column of a table."""

    text: str
    """Plain text."""
    choices: bool = False
    """Whether the reader filters it by choosing among its values (an interactive table)."""
    numeric: bool = False
    """Whether its cells are numbers, which stand to the right."""


@dataclass(frozen=True, slots=True)
class Number:
    """A cell that reads as text and sorts as a number."""

    text: str
    """Plain text, such as `0.80` or `< 0.20`."""
    order: float | None
    """What it sorts by; None sorts below every number."""


Cell: TypeAlias = str | Number

_LAST = "-1"
"""Sorts below all that is shown here: accuracies, shares, sizes."""


def html_table(
    head: Sequence[Head],
    rows: Iterable[Sequence[Cell]],
    *,
    caption: str,
    id: str = "",  # noqa: A002
    interactive: bool = False,
) -> Markup:
    """Return one `<table>`: the first cell of a row is its heading, unless the table is interactive.

    Parameters
    ----------
    rows
        As many cells in each as `head` has.
    id
        Of the table; none if empty.
    interactive
        Whether the page's script makes it sort and filter.
    """
    attributes = ' data-enhance="datatable" data-page-length="25"' if interactive else ""
    name = f' id="{escape(id)}"' if id else ""
    # A cell that heads its row has to stay where it is, and sorting libraries look at <td> only.
    first = "td" if interactive else "th"
    lines = [
        f'<table class="data"{name}{attributes}><caption>{escape(caption)}</caption>',
        f"<thead><tr>{''.join(_head(column) for column in head)}</tr></thead><tbody>",
    ]
    for row in rows:
        cells = "".join(_cell(cell, first if at == 0 else "td") for at, cell in enumerate(row))
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table>")
    return Markup("\n".join(lines))


def _head(column: Head) -> str:
    numeric = ' class="num"' if column.numeric else ""
    choices = ' data-filter="select"' if column.choices else ""
    return f'<th scope="col"{numeric}{choices}>{escape(column.text)}</th>'


def _cell(cell: Cell, tag: str) -> str:
    if isinstance(cell, Number):
        order = _LAST if cell.order is None else f"{cell.order:.6g}"
        return f'<td class="num" data-order="{order}">{escape(cell.text)}</td>'
    if tag == "th":
        return f'<th scope="row">{escape(cell)}</th>'
    return f"<td>{escape(cell)}</td>"
