"""A table of plain text, and how it is written in Markdown and LaTeX. Pure (no I/O)."""

import io
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pyarrow as pa

from aggregate.errors import InvalidOption

Format: TypeAlias = Literal["csv", "md", "tex"]
FORMATS: Final = ("csv", "md", "tex")

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    # Brackets after `\\` would be read as its optional argument.
    "[": "{[}",
    "]": "{]}",
    "–": "--",
    "—": "---",
    "δ": r"$\delta$",
    "±": r"$\pm$",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of values."""

    group: str
    """Head that neighbouring columns share; empty where there is none."""
    head: str
    """Head of the column itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table before it is written in a format: plain text everywhere, nothing escaped."""

    leads: tuple[str, ...]
    """Heads of the columns that say what a row is, at least one."""
    columns: tuple[Column, ...]
    """The columns after them."""
    rows: tuple[tuple[str, ...], ...]
    """One text per lead and column."""
    notes: tuple[str, ...]
    """What the signs mean, one sentence or more each."""


def check_format(fmt: str) -> None:
    """Refuse an unknown format.

    Raises
    ------
    InvalidOption
        If it is not among `FORMATS`.
    """
    if fmt not in FORMATS:
        raise InvalidOption(f"fmt must be among {', '.join(FORMATS)}, got {fmt!r}")


def csv_text(table: pa.Table) -> str:
    """Write an Arrow table as CSV."""
    from pyarrow import csv

    sink = io.BytesIO()
    csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue().decode()


def write_text_table(table: TextTable, fmt: Literal["md", "tex"]) -> str:
    """Write a table for people; `tex` needs the LaTeX packages booktabs and inputenc utf8."""
    return _markdown(table) if fmt == "md" else _latex(table)


def _markdown(table: TextTable) -> str:
    heads = [*table.leads, *(": ".join(filter(None, [c.group, c.head])) for c in table.columns)]
    lines = [_markdown_row(heads), "|---" * len(heads) + "|", *(_markdown_row(row) for row in table.rows)]
    return "\n".join([*lines, "", *(f"- {_markdown_escape(note)}" for note in table.notes)]) + "\n"


def _markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(_markdown_escape(cell) for cell in cells) + " |"


def _markdown_escape(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("\n", " ")
    for sign in "|*_`<[":
        text = text.replace(sign, "\\" + sign)
    return text


def _latex(table: TextTable) -> str:
    n_leads = len(table.leads)
    groups = _groups(table.columns)
    spans = [f"\\multicolumn{{{count}}}{{c}}{{{_latex_escape(group)}}}" for group, _, count in groups]
    rules = [
        f"\\cmidrule(lr){{{start + n_leads + 1}-{start + n_leads + count}}}" for group, start, count in groups if group
    ]
    heads = [*table.leads, *(column.head for column in table.columns)]
    lines = [
        f"\\begin{{tabular}}{{{'l' * n_leads}{'c' * len(table.columns)}}}",
        "\\toprule",
        *([" & ".join([*[""] * n_leads, *spans]) + r" \\", " ".join(rules)] if rules else []),
        " & ".join(_latex_escape(head) for head in heads) + r" \\",
        "\\midrule",
        *(" & ".join(_latex_escape(cell) for cell in row) + r" \\" for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        "",
        "\\par\\smallskip\\footnotesize",
        *(_latex_escape(note) for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def _groups(columns: tuple[Column, ...]) -> list[tuple[str, int, int]]:
    """Return (group, first column, columns) of each run of columns with one group."""
    groups: list[tuple[str, int, int]] = []
    for position, column in enumerate(columns):
        if groups and groups[-1][0] == column.group:
            group, start, count = groups[-1]
            groups[-1] = (group, start, count + 1)
        else:
            groups.append((column.group, position, 1))
    return groups


def _latex_escape(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text).replace("\n", " ")
