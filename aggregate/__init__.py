"""Reduce results to redundancy, tables and figures: the last of the three stages."""

from aggregate._redundancy import REDUNDANCY_SCHEMA, RULES, Rule, redundancy
from aggregate.concentration import coefficient_of_variation, gini
from aggregate.errors import AggregateError, ConflictingResults, InvalidOption, InvalidTable
from aggregate.figures import accuracy_figure, cka_figure
from aggregate.save import save_figure
from aggregate.table import Format, redundancy_table

__all__ = [
    "REDUNDANCY_SCHEMA",
    "RULES",
    "AggregateError",
    "ConflictingResults",
    "Format",
    "InvalidOption",
    "InvalidTable",
    "Rule",
    "accuracy_figure",
    "cka_figure",
    "coefficient_of_variation",
    "gini",
    "redundancy",
    "redundancy_table",
    "save_figure",
]
