"""A report from its tables: what is found in them, and the page that shows it. Pure but for the package's own files."""

from aggregate.report._content import ReportInput
from aggregate.report._sections import content
from aggregate.report.page import page


def report_page(report: ReportInput) -> str:
    """Return a report as one HTML page: no other file, no network, no server.

    Parameters
    ----------
    report
        Tables of results, provenance, failures.

    Returns
    -------
    str
        The page; to be written as UTF-8.

    Raises
    ------
    InvalidTable, ConflictingResults
        As `aggregate.redundancy`.
    """
    return page(report, content(report))
