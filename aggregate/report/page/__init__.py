"""The page around a report: one HTML file that needs nothing else."""

from aggregate.report.page._page import page
from aggregate.report.page._policy import content_policy

__all__ = ["content_policy", "page"]
