"""Reduce results to redundancy, tables and figures: the last of the three stages."""

from aggregate._redundancy import REDUNDANCY_SCHEMA, RULES, Rule, redundancy
from aggregate.class_shares import CLASS_SHARES_SCHEMA, class_shares
from aggregate.concentration import (
    coefficient_of_variation,
    coefficient_of_variation_of_seeds,
    gini,
    gini_of_seeds,
)
from aggregate.errors import AggregateError, ConflictingResults, InvalidOption, InvalidTable
from aggregate.figures import accuracy_figure, cka_figure, methods_figure
from aggregate.measured import CellKey, MeasuredCurve, measured_curves
from aggregate.refinement import next_sizes
from aggregate.save import save_figure
from aggregate.selectivity import SELECTIVITY_SCHEMA, selectivity
from aggregate.table import Format, redundancy_table

__all__ = [
    "CLASS_SHARES_SCHEMA",
    "REDUNDANCY_SCHEMA",
    "RULES",
    "SELECTIVITY_SCHEMA",
    "AggregateError",
    "CellKey",
    "ConflictingResults",
    "Format",
    "InvalidOption",
    "InvalidTable",
    "MeasuredCurve",
    "Rule",
    "accuracy_figure",
    "cka_figure",
    "class_shares",
    "coefficient_of_variation",
    "coefficient_of_variation_of_seeds",
    "gini",
    "gini_of_seeds",
    "measured_curves",
    "methods_figure",
    "next_sizes",
    "redundancy",
    "redundancy_table",
    "save_figure",
    "selectivity",
]
