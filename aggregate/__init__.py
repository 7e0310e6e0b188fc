"""Reduce results to redundancy, tables and figures: the last of the three stages."""

from aggregate._redundancy import REDUNDANCY_SCHEMA, RULES, Rule, redundancy
from aggregate._sides import SIDE_NAMES, Side
from aggregate._text_table import Format, TextTable, write_text_table
from aggregate._three_rules import THREE_RULES_SCHEMA, three_rules, three_rules_table
from aggregate.class_heatmap import class_heatmap_figure
from aggregate.class_maps import ClassMap, class_maps
from aggregate.class_shares import CLASS_SHARES_SCHEMA, class_shares
from aggregate.concentration import (
    coefficient_of_variation,
    coefficient_of_variation_of_seeds,
    gini,
    gini_of_seeds,
)
from aggregate.delta_figure import HIGH_DELTAS, PAPER_DELTAS, DeltaLine, delta_figure, delta_lines
from aggregate.difference import DIFFERENCE_SCHEMA, differences
from aggregate.difference_table import difference_table
from aggregate.errors import AggregateError, ConflictingResults, InvalidOption, InvalidTable
from aggregate.fidelity import FIDELITY_SCHEMA, fidelity
from aggregate.fidelity_summary import FidelitySummary, TableFidelity, fidelity_summary
from aggregate.fidelity_text import FidelityFormat, fidelity_text
from aggregate.figures import accuracy_figure, cka_figure, methods_figure
from aggregate.measured import CellKey, MeasuredCurve, measured_curves
from aggregate.recipes import RECIPES, draw_recipe, missing
from aggregate.refinement import next_sizes
from aggregate.report import ReportInput, report_page
from aggregate.save import save_figure
from aggregate.selectivity import SELECTIVITY_SCHEMA, selectivity
from aggregate.shares_figure import ShareMarks, share_marks, shares_figure
from aggregate.table import redundancy_table
from aggregate.table1 import TABLE1_SCHEMA, table1
from aggregate.value_difference import VALUE_DIFFERENCE_SCHEMA, value_differences

__all__ = [
    "CLASS_SHARES_SCHEMA",
    "DIFFERENCE_SCHEMA",
    "FIDELITY_SCHEMA",
    "HIGH_DELTAS",
    "PAPER_DELTAS",
    "RECIPES",
    "REDUNDANCY_SCHEMA",
    "RULES",
    "SELECTIVITY_SCHEMA",
    "SIDE_NAMES",
    "TABLE1_SCHEMA",
    "THREE_RULES_SCHEMA",
    "VALUE_DIFFERENCE_SCHEMA",
    "AggregateError",
    "CellKey",
    "ClassMap",
    "ConflictingResults",
    "DeltaLine",
    "FidelityFormat",
    "FidelitySummary",
    "Format",
    "InvalidOption",
    "InvalidTable",
    "MeasuredCurve",
    "ReportInput",
    "Rule",
    "ShareMarks",
    "Side",
    "TableFidelity",
    "TextTable",
    "accuracy_figure",
    "cka_figure",
    "class_heatmap_figure",
    "class_maps",
    "class_shares",
    "coefficient_of_variation",
    "coefficient_of_variation_of_seeds",
    "delta_figure",
    "delta_lines",
    "difference_table",
    "differences",
    "draw_recipe",
    "fidelity",
    "fidelity_summary",
    "fidelity_text",
    "gini",
    "gini_of_seeds",
    "measured_curves",
    "methods_figure",
    "missing",
    "next_sizes",
    "redundancy",
    "redundancy_table",
    "report_page",
    "save_figure",
    "selectivity",
    "share_marks",
    "shares_figure",
    "table1",
    "three_rules",
    "three_rules_table",
    "value_differences",
    "write_text_table",
]
