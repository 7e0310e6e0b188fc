"""The reference of the command, from the command itself."""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from drfarm.cli import app


def command_page() -> str:
    """Return the page: exit codes, and for every command its line, what it does, and its arguments and options."""
    root = typer.main.get_command(app)
    about, _, codes = str(app.info.help).rpartition("Exit codes: ")
    leaves = list(_leaves(root, "drfarm"))
    overview = [f"| [`{name}`](#{_anchor(name)}) | {_first_sentence(c.help)} |" for name, c in leaves]
    parts = [
        "# The command",
        _linked(about),
        "\n".join(["| command | what it does |", "| --- | --- |", *overview]),
        "## Exit codes",
        "\n".join(["| code | meaning |", "| --- | --- |", *map(_code_row, codes.rstrip(".").split("; "))]),
        "`drfarm --version` shows the version, `-h` or `--help` after any command what it takes.",
        *(_section(name, command) for name, command in leaves),
    ]
    return "\n\n".join(parts) + "\n"


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Give every command that does something, with its full name."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for word, child in below.items():
        if not child.hidden:
            yield from _leaves(child, f"{name} {word}")


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    values = {p.name: _value(p, hints.get(p.name)) for p in command.params}
    needed = [f"{p.opts[0]} {values[p.name]}" for p in options if p.required]
    line = " ".join([name, *(values[p.name] for p in arguments), *needed, "[OPTIONS]"])
    rows = [_row(p, values[p.name], _choices(hints.get(p.name))) for p in (*arguments, *options)]
    table = "\n".join(["| argument, option | what it is | default |", "| --- | --- | --- |", *rows])
    about = _linked(re.sub(r"\bExample: (.+)", r"\n```text\n\1\n```", command.help or ""))
    return f"## {name} {{ #{_anchor(name)} }}\n\n{about}\n\n```text\n{line}\n```\n\n{table}"


def _row(parameter: Any, value: str, choices: tuple[Any, ...]) -> str:
    names = [] if parameter.param_type_name == "argument" else sorted(parameter.opts, key=len, reverse=True)
    names += parameter.secondary_opts
    words = ", ".join(f"`{n}`" for n in names) + ("" if getattr(parameter, "is_flag", False) else f" `{value}`")
    about = [_linked((parameter.help or "").replace("|", "\\|"))]
    if choices:
        about.append("One of " + ", ".join(f"`{c}`" for c in choices) + ".")
    if parameter.multiple:
        about.append("May be given several times.")
    if parameter.envvar:
        about.append(f"Or `${parameter.envvar}`.")
    return f"| {words.strip()} | {' '.join(a for a in about if a)} | {_default(parameter)} |"


def _value(parameter: Any, hint: Any) -> str:
    """Return the placeholder of a parameter's value."""
    if parameter.metavar:
        return str(parameter.metavar)
    if _choices(hint):
        return "NAME"
    kinds = {int: "N", float: "X", Path: "PATH"}
    return next((word for kind, word in kinds.items() if kind in _parts(hint)), "TEXT")


def _choices(hint: Any) -> tuple[Any, ...]:
    """Return the allowed values of a parameter whose type lists them."""
    return tuple(v for part in _parts(hint) if typing.get_origin(part) is typing.Literal for v in typing.get_args(part))


def _parts(hint: Any) -> list[Any]:
    """Return what a type is made of, through unions, lists and annotations."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, list, typing.Annotated):
        return [p for a in typing.get_args(hint) for p in _parts(a)]
    return [hint]


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    if parameter.default is None or getattr(parameter, "is_flag", False) or parameter.default == ():
        return ""
    value = getattr(parameter.default, "value", parameter.default)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _linked(text: str) -> str:
    """Turn the names of the pages in help texts into links to them."""
    return re.sub(r"docs/([\w/-]+)\.md", r"[\1](../\1.md)", text).strip()


def _first_sentence(text: str | None) -> str:
    return _linked(re.split(r"(?<=\.)\s|\n\n", (text or "").strip())[0].replace("\n", " ").replace("|", "\\|"))


def _code_row(text: str) -> str:
    code, _, meaning = text.partition(" ")
    return f"| `{code}` | {meaning} |"


def _anchor(name: str) -> str:
    return name.replace(" ", "-")
