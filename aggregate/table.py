"""The DR table: Markdown and LaTeX for people (like Table 1 of the paper), CSV for machines."""

import io
from typing import Final, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from aggregate._grid import Column, Grid, layout
from aggregate._redundancy import REDUNDANCY_SCHEMA, RULES, Rule
from aggregate.errors import InvalidOption, InvalidTable

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
}


def redundancy_table(redundancy: pa.Table, fmt: Format, *, rule: Rule = "strict") -> str:
    """Write the view `redundancy` as a table.

    `csv` is the long form: every column and row of the input, all rules. `md` and `tex` are for people: one row per
    model and layer (and method, where there are several), one column per dataset, measure and delta (and solver and
    protocol, where there are several), for one rule. A cell reads `0.80 [0.80, 0.90) (0.70-0.90)`: DR, what the grid
    leaves open, what the seeds leave open. Where no size reaches delta it reads `< 0.20`: DR is known to be below the
    bound; where the whole layer is unknown, a dash. Notes below the table say this and how coarse the grid is. A name
    that stands for several ids gets one row per id.

    Parameters
    ----------
    redundancy
        As `aggregate.redundancy` returns it.
    fmt
        `csv`, `md` or `tex` (needs the LaTeX packages booktabs and inputenc utf8).
    rule
        Rule shown by `md` and `tex`.

    Raises
    ------
    InvalidOption
        If the format or rule is unknown, or the table holds no row of the rule.
    InvalidTable
        If a column is missing.
    """
    if fmt not in FORMATS:
        raise InvalidOption(f"fmt must be among {', '.join(FORMATS)}, got {fmt!r}")
    if rule not in RULES:
        raise InvalidOption(f"rule must be among {', '.join(RULES)}, got {rule!r}")
    missing = sorted(set(REDUNDANCY_SCHEMA.names) - set(redundancy.column_names))
    if missing:
        raise InvalidTable(f"a DR table needs the whole view `redundancy`; missing: {', '.join(missing)}")
    if fmt == "csv":
        return _csv(redundancy)
    rows = redundancy.filter(pc.equal(redundancy["rule"], rule)).to_pylist()
    if redundancy.num_rows and not rows:
        there = ", ".join(sorted(set(redundancy["rule"].to_pylist())))
        raise InvalidOption(
            f"the table must hold rows of the rule {rule!r}, got only {there}: compute it, or show one of these"
        )
    grid = layout(rows, rule=rule)
    return _markdown(grid) if fmt == "md" else _latex(grid)


def _csv(redundancy: pa.Table) -> str:
    from pyarrow import csv

    sink = io.BytesIO()
    csv.write_csv(redundancy, sink, csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue().decode()


def _markdown(grid: Grid) -> str:
    heads = ["model/layer (width)", *(f"{column.dataset}: {column.head}" for column in grid.columns)]
    lines = [_markdown_row(heads), "|---" * len(heads) + "|"]
    lines += [_markdown_row([label, *cells]) for label, cells in grid.rows]
    return "\n".join([*lines, "", *(f"- {_markdown_escape(note)}" for note in grid.notes)]) + "\n"


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(_markdown_escape(cell) for cell in cells) + " |"


def _markdown_escape(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("\n", " ")
    for sign in "|*_`<[":
        text = text.replace(sign, "\\" + sign)
    return text


def _latex(grid: Grid) -> str:
    groups = _groups(grid.columns)
    spans = [f"\\multicolumn{{{count}}}{{c}}{{{_latex_escape(dataset)}}}" for dataset, _, count in groups]
    rules = [f"\\cmidrule(lr){{{start + 2}-{start + count + 1}}}" for _, start, count in groups]
    heads = ["model/layer (width)", *(column.head for column in grid.columns)]
    lines = [
        f"\\begin{{tabular}}{{l{'c' * len(grid.columns)}}}",
        "\\toprule",
        *([" & ".join(["", *spans]) + r" \\", " ".join(rules)] if groups else []),
        " & ".join(_latex_escape(head) for head in heads) + r" \\",
        "\\midrule",
        *(" & ".join(_latex_escape(cell) for cell in [label, *cells]) + r" \\" for label, cells in grid.rows),
        "\\bottomrule",
        "\\end{tabular}",
        "",
        "\\par\\smallskip\\footnotesize",
        *(_latex_escape(note) for note in grid.notes),
    ]
    return "\n".join(lines) + "\n"


def _groups(columns: tuple[Column, ...]) -> list[tuple[str, int, int]]:
    """Return (dataset, first column, columns) of each run of columns with one dataset."""
    groups: list[tuple[str, int, int]] = []
    for position, column in enumerate(columns):
        if groups and groups[-1][0] == column.dataset:
            dataset, start, count = groups[-1]
            groups[-1] = (dataset, start, count + 1)
        else:
            groups.append((column.dataset, position, 1))
    return groups


def _latex_escape(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text).replace("\n", " ")
