"""All recipes as one table for the user guide: what each shows and needs. Pure."""

from aggregate.recipes.catalogue import RECIPES
from aggregate.recipes.choice import Choice
from aggregate.recipes.declare import Recipe
from aggregate.recipes.matching import match
from aggregate.recipes.measured_cells import MeasuredCells
from aggregate.recipes.missing import missing_of

_FORMS = {
    "fraction": "{measure} against k/d",
    "neurons": "{measure} against k",
    "delta": "DR against δ",
    "gini": "Gini index against accuracy",
    "cv": "coefficient of variation against accuracy",
    "heatmap": "accuracy of classes against k/d",
    "table": "DR",
}
_MEASURES = {"accuracy": "accuracy", "cka": "CKA with the whole", "cka_pair": "CKA of two parts"}


def recipes_markdown() -> str:
    """Return the recipes as a table in Markdown, a row each."""
    lines = ["| name | what it shows | drawn | needs | jobs |", "|---|---|---|---|---|"]
    nothing = MeasuredCells(None, None)
    for name, recipe in RECIPES.items():
        jobs = missing_of(match(recipe, nothing, Choice()), nothing).n_wanted
        drawn = dict.fromkeys(_FORMS[block.form].format(measure=_MEASURES[block.measure]) for block in recipe.blocks)
        lines.append(f"| `{name}` | {recipe.title} | {'; '.join(drawn)} | {_needs(recipe)} | {jobs:,} |")
    return "\n".join(lines)


def _needs(recipe: Recipe) -> str:
    models = list(dict.fromkeys(entry.model for block in recipe.blocks for entry in block.entries))
    methods = list(dict.fromkeys(entry.method for block in recipe.blocks for entry in block.entries))
    datasets = list(dict.fromkeys(name for block in recipe.blocks for name in block.datasets))
    layers = {layer for block in recipe.blocks for layer in block.layers}
    named = ", ".join(f"`{name}`" for name in models) if len(models) <= 4 else f"{len(models)} networks"
    where = "four data sets" if len(datasets) == 4 else ", ".join(f"`{name}`" for name in datasets)
    parts = [f"{named} on {where}", ", ".join(f"`{name}`" for name in methods)]
    if len(layers) > 1:
        parts.append(f"{len(layers)} layers")
    return "; ".join(parts)
