"""The deviations as Markdown tables: what text and code say, and the study keys that do either. Pure (no I/O)."""

import re
from typing import Any, Final

from aggregate.published.deviations import HowTo, deviations

# What YAML reads back as the same string without quotes, in flow style.
_PLAIN: Final = re.compile(r"[A-Za-z][\w./:@-]*[\w]")


def deviations_table() -> str:
    """Write D1 to D22 as a Markdown table: what text and code say, where, and what it touches."""
    rows = [[d.id, d.title, d.paper, d.released, d.where, _figures(d.figures)] for d in deviations()]
    heads = ["", "about", "the paper says", "code or notebooks", "where", "touches"]
    return _markdown(heads, [[_escape(cell) for cell in row] for row in rows])


def options_table() -> str:
    """Write how drfarm does either side of D1 to D22 as a Markdown table: study keys, or a command."""
    rows = [[d.id, _escape(d.title), _how(d.as_paper), _how(d.as_released)] for d in deviations()]
    return _markdown(["", "about", "as the paper says", "as the code did, or otherwise"], rows)


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def flow(value: Any) -> str:
    """Write the value of a study key as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(entry) for entry in value) + "]"
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return f'"{value}"'
    return str(value)


def _how(how: HowTo) -> str:
    code = how.command or ", ".join(f"{key}: {flow(value)}" for key, value in (how.study or {}).items())
    # Globs of layers are the only stars, and code spans keep them.
    return _escape(how.how) + (f": `{code}`" if code else "")


def _figures(names: tuple[str, ...]) -> str:
    """Shorten neighbours: fig1-4 for fig1 to fig4."""
    numbers = sorted(int(name.removeprefix("fig")) for name in names if name.startswith("fig"))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    figures = [f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    parts = ["Table 1"] if "table1" in names else []
    word = "Fig." if len(numbers) == 1 else "Figs."
    return ", ".join(parts + ([f"{word} {', '.join(figures)}"] if figures else [])) or "the text"


def _escape(text: str) -> str:
    for sign in "|*_`<[":
        text = text.replace(sign, "\\" + sign)
    return text
