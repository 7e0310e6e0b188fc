"""The DR table: Markdown and LaTeX for people (like Table 1 of the paper), CSV for machines."""

import pyarrow as pa
import pyarrow.compute as pc

from aggregate._grid import layout
from aggregate._redundancy import REDUNDANCY_SCHEMA, RULES, Rule
from aggregate._text_table import Format, check_format, csv_text, write_text_table
from aggregate.errors import InvalidOption, InvalidTable


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
    check_format(fmt)
    if rule not in RULES:
        raise InvalidOption(f"rule must be among {', '.join(RULES)}, got {rule!r}")
    check_redundancy(redundancy)
    if fmt == "csv":
        return csv_text(redundancy)
    rows = redundancy.filter(pc.equal(redundancy["rule"], rule)).to_pylist()
    if redundancy.num_rows and not rows:
        there = ", ".join(sorted(set(redundancy["rule"].to_pylist())))
        raise InvalidOption(
            f"the table must hold rows of the rule {rule!r}, got only {there}: compute it, or show one of these"
        )
    return write_text_table(layout(rows, rule=rule), fmt)


def check_redundancy(table: pa.Table) -> None:
    """Refuse what is not the whole view `redundancy`.

    Raises
    ------
    InvalidTable
        If a column is missing.
    """
    missing = sorted(set(REDUNDANCY_SCHEMA.names) - set(table.column_names))
    if missing:
        raise InvalidTable(f"a DR table needs the whole view `redundancy`; missing: {', '.join(missing)}")
