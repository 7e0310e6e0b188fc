"""Assembling the page: sections, plots and provenance into the template; reads the package's own files only."""

import re
from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup, escape

from aggregate.report._content import (
    Findings,
    Listing,
    Paragraphs,
    PlainTable,
    Plot,
    ReportInput,
    Section,
    Table,
)
from aggregate.report.page._embed import embed
from aggregate.report.page._policy import content_policy
from aggregate.report.page._totals import totals

_KINDS = {Findings: "findings", Paragraphs: "paragraphs", Plot: "plot", Table: "table"}


def page(report: ReportInput, sections: Sequence[Section]) -> str:
    """Return a report as one HTML page: no other file, no network, no server.

    Parameters
    ----------
    report
        What the report is made of: its title, failures, provenance, how to reproduce it.
    sections
        What was found, as `aggregate.report.content` returns it.

    Returns
    -------
    str
        The page; to be written as UTF-8.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    embedded = embed(sections)
    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = _words
    environment.tests["part"] = lambda part, kind: _KINDS[type(part)] == kind
    return environment.get_template("report.html.j2").render(
        report=report,
        totals=totals(report),
        sections=sections,
        embedded=embedded,
        contents=[(s.id, s.title) for s in sections] + [(i, title) for i, title in _OWN if _has(report, i)],
        has={i: _has(report, i) for i, _ in _OWN},
        cost=_tables(report, "cost"),
        provenance=_tables(report, "provenance"),
        facts=report.facts,
        reproduce=report.reproduce,
        style=Markup(_text("report.css")),
        policy=content_policy(str(embedded.scripts)),
    )


_OWN = (
    ("cost", "Cost"),
    ("provenance", "Provenance"),
    ("failures", "Failures"),
    ("reproduce", "How to reproduce"),
)
"""Sections of every page, after those of what was found: ids and headings."""


def _has(report: ReportInput, section: str) -> bool:
    found: dict[str, Sequence[PlainTable | Listing] | bool] = {
        "cost": _tables(report, "cost") or "Cost" in report.facts,
        "provenance": _tables(report, "provenance") or bool(set(report.facts) - {"Cost"}),
        "failures": True,
        "reproduce": report.reproduce,
    }
    return bool(found[section])


def _tables(report: ReportInput, about: str) -> tuple[PlainTable, ...]:
    return tuple(t for t in report.tables if t.about == about)


def _words(text: str) -> Markup:
    """Return plain text as HTML, with what stands between backquotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _text(name: str) -> str:
    return (files("aggregate.report.page") / name).read_text(encoding="utf-8")
