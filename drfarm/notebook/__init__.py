"""The face in a notebook: objects show themselves as HTML. Nothing here needs IPython, or imports it."""

from drfarm.notebook._objects import plan_html, report_html, store_html, study_html
from drfarm.notebook._tables import Shown, comparison_html, redundancy_html, show, show_tables_in_kernel

__all__ = [
    "Shown",
    "comparison_html",
    "plan_html",
    "redundancy_html",
    "report_html",
    "show",
    "show_tables_in_kernel",
    "store_html",
    "study_html",
]
