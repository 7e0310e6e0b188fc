"""Every figure of the paper as a named recipe: what it needs, what a store lacks of it, and how it is drawn."""

from aggregate.recipes.cast import DATASETS, MODELS, DatasetRole, ModelRole
from aggregate.recipes.catalogue import FIGURES, RECIPES
from aggregate.recipes.choice import ALL, Choice
from aggregate.recipes.declare import Block, Entry, Recipe
from aggregate.recipes.draw import draw_match, draw_recipe
from aggregate.recipes.matching import Match, Variant, match_variant, variants
from aggregate.recipes.measured_cells import MeasuredCells
from aggregate.recipes.missing import Missing, missing, missing_by_variant, missing_text

__all__ = [
    "ALL",
    "DATASETS",
    "FIGURES",
    "MODELS",
    "RECIPES",
    "Block",
    "Choice",
    "DatasetRole",
    "Entry",
    "Match",
    "MeasuredCells",
    "Missing",
    "ModelRole",
    "Recipe",
    "Variant",
    "draw_match",
    "draw_recipe",
    "match_variant",
    "missing",
    "missing_by_variant",
    "missing_text",
    "variants",
]
