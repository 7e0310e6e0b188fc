"""The report: what stands in it, and the page that shows it."""

from aggregate.report._content import (
    Control,
    Fact,
    Failure,
    Finding,
    Findings,
    Listing,
    Paragraphs,
    Part,
    PlainTable,
    Plot,
    ReportInput,
    Section,
    Table,
)
from aggregate.report._report_page import report_page
from aggregate.report._sections import content, plots_script

__all__ = [
    "Control",
    "Fact",
    "Failure",
    "Finding",
    "Findings",
    "Listing",
    "Paragraphs",
    "Part",
    "PlainTable",
    "Plot",
    "ReportInput",
    "Section",
    "Table",
    "content",
    "plots_script",
    "report_page",
]
