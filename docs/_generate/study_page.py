"""The reference of the study file, from its pydantic models: keys, types, defaults, allowed values, meaning."""

import ast
import inspect
import re
import textwrap
import types
import typing
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from drfarm.study import Study
from drfarm.study_measures import AccuracyMeasure, CkaMeasure
from probe import LOGISTIC_PROTOCOLS, METHODS, RIDGE_PROTOCOLS, SGD_PROTOCOLS

_PLACES: dict[str, str] = {
    "Study": "The file",
    "ModelEntry": "models[]",
    "LayerEntry": "layers[]",
    "DatasetEntry": "datasets[]",
    "SplitsEntry": "datasets[].splits",
    "TransformEntry": "transform",
    "SubsetsEntry": "subsets",
    "RefineEntry": "subsets.refine",
    "AccuracyMeasure": "measures[], accuracy",
    "CkaMeasure": "measures[], cka and cka_pair",
}
"""Where in the file each model stands, in the order of the page."""

_INTRODUCTION = """# Study file reference

Every key of a study file, made from the models that check it. [The study file](../study.md) tells what the keys are
for, with an example; the [example studies](examples.md) are whole files.

An unknown key, a value that is not allowed and a name that does not exist are errors, told with what is allowed and
what is nearest, before anything starts. Relative paths are relative to the file.
"""


def study_page() -> str:
    """Return the page."""
    found = {model.__name__: model for model in _models(Study)}
    if set(found) != set(_PLACES):
        raise RuntimeError(
            f"docs/_generate/study_page.py: the models of a study file are {sorted(found)}, and places are told of "
            f"{sorted(_PLACES)}: correct _PLACES"
        )
    return "\n\n".join([_INTRODUCTION, *(_section(found[name]) for name in _PLACES), _names()]) + "\n"


def _section(model: type[BaseModel]) -> str:
    meanings = field_docstrings(model)
    missing = sorted(set(model.model_fields) - set(meanings))
    if missing:
        raise RuntimeError(f"{model.__module__}.{model.__name__}: no docstring under {', '.join(missing)}: write one")
    rows = [
        f"| `{name}` | {_type(field.annotation)}{_limits(field)} | {_default(field)} | {_markdown(meanings[name])} |"
        for name, field in model.model_fields.items()
    ]
    place = _PLACES[model.__name__]
    title = place if " " in place and "[" not in place else f"`{place}`"
    return "\n".join(
        [
            f"## {title} {{ #{_anchor(model)} }}\n",
            f"{_markdown(inspect.getdoc(model) or '')}\n",
            "| key | values | default | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
        ]
    )


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring under each field of a model, read from its source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    found: dict[str, str] = {}
    if not isinstance(body, ast.ClassDef):
        return found
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    found = [root]
    for model in found:
        for field in model.model_fields.values():
            found += [m for m in _models_in(field.annotation) if m not in found]
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in typing.get_args(annotation) for m in _models_in(a)]


def _type(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(a) for a in inner if a is not type(None)))
    if origin is typing.Literal:
        return ", ".join(f"`{v}`" for v in inner)
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "mapping"
    if annotation in (AccuracyMeasure, CkaMeasure) or _PLACES.get(getattr(annotation, "__name__", "")):
        shown = _PLACES[annotation.__name__].replace("[]", r"\[\]")
        return f"[{shown}](#{_anchor(annotation)})"
    return {str: "text", int: "whole number", float: "number", bool: "`true`, `false`"}[annotation]


def _limits(field: FieldInfo) -> str:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    said = [f"{words[n]} {v}" for m in field.metadata for n, v in _bounds(m) if n in words]
    said += ["at least one" for m in field.metadata for n, v in _bounds(m) if n == "min_length" and v == 1]
    return f"; {', '.join(said)}" if said else ""


def _bounds(metadata: Any) -> list[tuple[str, Any]]:
    return [(n, getattr(metadata, n)) for n in ("gt", "ge", "lt", "le", "min_length") if hasattr(metadata, n)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ({}, ()):
        return ""
    return f"`{_yaml(value)}`" if not isinstance(value, BaseModel) or value.model_fields_set else "those there"


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        said = {n: getattr(value, n) for n in type(value).model_fields if n in value.model_fields_set}
        return "{" + ", ".join(f"{n}: {_yaml(v)}" for n, v in said.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _names() -> str:
    """Return the names that values may have beyond those of the tables."""
    rows = [
        ("methods", METHODS, "[probing](../probing.md#subsets)"),
        ("protocols of `sgd`", SGD_PROTOCOLS, "[probing](../probing.md#accuracy-solver-sgd)"),
        ("protocols of `ridge`", RIDGE_PROTOCOLS, "[probing](../probing.md#accuracy-solver-ridge)"),
        ("protocols of `logistic`", LOGISTIC_PROTOCOLS, "[probing](../probing.md#accuracy-solver-logistic)"),
    ]
    table = [f"| {what} | {', '.join(f'`{n}`' for n in names)} | {where} |" for what, names, where in rows]
    head = ["## Names\n", "| of | names | what they are |", "| --- | --- | --- |"]
    return "\n".join([*head, *table])


def _markdown(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("k*", "k\\*")


def _anchor(model: type[BaseModel]) -> str:
    return _PLACES[model.__name__].replace("[]", "").replace(",", "").replace(" ", "-").lower()
