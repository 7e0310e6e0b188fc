"""The pages of the Python API: what each package's `__all__` names, by kind, described by its docstrings."""

import ast
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = {
    "drfarm": "The face: load a study, plan it, run it, and open what is in a store.",
    "store": "Features, results, their ledger and their ids; it knows nothing of networks or probes.",
    "extract": "Networks and data sets into features. Importing it imports no torch.",
    "probe": "Subsets, measures and solvers, as plain tasks that run anywhere.",
    "aggregate": "Tables of results into redundancy, tables and figures.",
}
_ARRAYS = {"probe": ("probe.sgd.fit_nested", "probe.ridge.fit_ridge", "probe.logistic.fit_logistic")}
"""Functions on plain arrays in modules of their own: importing a package must not import torch."""
_KINDS = ("Functions", "Classes", "Errors", "Constants and types")


def python_page(package: str) -> str:
    """Return the page of a package: a table of its names, then each with its docstring."""
    module = importlib.import_module(package)
    groups: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for name in module.__all__:
        if not name.startswith("__"):
            groups[_kind(getattr(module, name))].append(f"{package}.{name}")
    groups["Functions"] += _ARRAYS.get(package, ())
    parts = [f"# {package}", PACKAGES[package], _overview(module, groups)]
    for kind, paths in groups.items():
        if paths:
            parts += [f"## {kind}", *(f"::: {_home(path)}{_heading(path)}" for path in paths)]
    return "\n\n".join(parts) + "\n"


def _overview(module: ModuleType, groups: dict[str, list[str]]) -> str:
    rows = [
        f"| [`{path.partition('.')[2]}`][{_home(path)}] | {_sentence(module, path)} |"
        for kind in _KINDS[:3]
        for path in groups[kind]
    ]
    return "\n".join(["| name | what it is |", "| --- | --- |", *rows])


def _home(path: str) -> str:
    """Return where a name is described: a package's name for it, unless a module on the way has the same name."""
    package, _, name = path.rpartition(".")
    if package not in PACKAGES:
        return path
    home = str(getattr(getattr(importlib.import_module(package), name), "__module__", ""))
    return f"{home}.{name}" if home.rpartition(".")[2] == name else path


def _heading(path: str) -> str:
    return (
        ""
        if _home(path) == path
        else f"\n    options:\n      heading: {path}\n      toc_label: {path.rpartition('.')[2]}"
    )


def _kind(thing: Any) -> str:
    if not inspect.isclass(thing):
        return "Functions" if inspect.isroutine(thing) else "Constants and types"
    return "Errors" if issubclass(thing, BaseException) else "Classes"


def _sentence(module: ModuleType, path: str) -> str:
    """Return the first line of a docstring; modules that import torch are read, not imported."""
    home, _, name = path.rpartition(".")
    if home == module.__name__:
        text = inspect.getdoc(getattr(module, name)) or ""
    else:
        file = importlib.util.find_spec(home).origin  # type: ignore[union-attr]
        text = _docstring(Path(str(file)), name)
    return text.strip().split("\n\n")[0].replace("\n", " ").replace("|", "\\|").replace("``", "`")


def _docstring(file: Path, name: str) -> str:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    found = next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == name)
    return ast.get_docstring(found) or ""
