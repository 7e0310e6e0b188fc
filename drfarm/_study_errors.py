"""Turning pydantic's findings into messages a person can act on: the key, the value, what is allowed, the nearest."""

import difflib
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel], *, where: str) -> str:
    """Return one line for every fault, first the file."""
    faults = error.errors(include_url=False)
    lines = [_line(f, model) for f in faults if not _is_echo(f, faults)]
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    return f"{where}: {count} in the study file.\n" + "\n".join(f"  {line}" for line in dict.fromkeys(lines))


def _is_echo(fault: Any, faults: list[Any]) -> bool:
    """Say whether a list is only too short because of the faults in its entries."""
    loc = fault["loc"]
    return fault["type"] == "too_short" and any(f["loc"][: len(loc)] == loc and f is not fault for f in faults)


def _line(fault: Any, model: type[BaseModel]) -> str:
    loc = tuple(
        part for part in fault["loc"] if not (isinstance(part, str) and part in ("accuracy", "cka", "cka_pair"))
    )
    key = ".".join(str(p) for p in loc) or "study"
    got, kind = fault.get("input"), fault["type"]
    if kind == "extra_forbidden":
        allowed = sorted(_fields_at(model, loc[:-1]))
        return f"{key}: there is no such key.{_nearest(str(loc[-1]), allowed)} Keys here: {', '.join(allowed)}."
    if kind == "missing":
        return f"{key}: this key is needed and is not given."
    if kind in ("literal_error", "union_tag_invalid"):
        expected = fault["ctx"].get("expected") or fault["ctx"].get("expected_tags", "")
        allowed = [a.strip(" '\"") for a in expected.replace(" or ", ", ").split(",")]
        value = fault["ctx"].get("tag", got)
        where = f"{key}.measure" if kind == "union_tag_invalid" else key
        return f"{where}: got {value!r}; allowed: {', '.join(allowed)}.{_nearest(str(value), allowed)}"
    if kind == "union_tag_not_found":
        return f"{key}: the key measure is needed: accuracy, cka or cka_pair."
    if kind == "model_type":
        return f"{key}: got {got!r}; expected keys: {', '.join(sorted(_fields_at(model, loc)))}."
    if kind == "too_short":
        return f"{key}: at least {fault['ctx']['min_length']} is needed, got {fault['ctx']['actual_length']}."
    # People write lists in YAML; that we keep them as tuples is our own affair.
    message = fault["msg"].removeprefix("Value error, ").removesuffix(".").replace("valid tuple", "list")
    shown = repr(got)
    if not loc:
        return f"{message}."
    if kind == "value_error" or len(shown) > 60:
        return f"{key}: {message}."
    return f"{key}: got {shown}; {message[0].lower() + message[1:]}."


def _nearest(got: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(got, allowed, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def _fields_at(model: type[BaseModel], loc: tuple[Any, ...]) -> set[str]:
    """Return the keys that are allowed where a fault was found."""
    models: list[type[BaseModel]] = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        found: list[type[BaseModel]] = []
        for m in models:
            if part in m.model_fields:
                found += _models_in(m.model_fields[part].annotation)
        models = found or models
    return {name for m in models for name in m.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [m for a in typing.get_args(annotation) for m in _models_in(a)]
    return []
