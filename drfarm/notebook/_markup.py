"""HTML that a notebook shows: every text is escaped here and nowhere else. Pure (no I/O).

Colours are those of the notebook (`currentColor`, translucent lines), so that light and dark themes both work. Styles
stand in the elements, because a notebook may take style sheets out of an output, or apply them to all outputs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_FONT = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:13px;line-height:1.45"
_LINE = "1px solid rgba(128,128,128,.35)"
_CELL = f"padding:3px 10px 3px 0;text-align:left;vertical-align:top;border-bottom:{_LINE};background:none"
_SHORT = 40
BLUE = "#0072B2"
"""Blue of Okabe and Ito's palette, told apart by all eyes and visible on black and white."""
ORANGE = "#D55E00"
"""Its vermilion."""


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that is safe as it stands; only this module and `_dr_chart` make any."""

    html: str
    """The HTML."""


Cell = str | int | float | Markup | None


def text(value: object) -> str:
    """Escape a value for use between tags and in attributes."""
    return escape(str(value), quote=True)


def cell(value: Cell) -> str:
    """Return the HTML of a value: a dash for None, numbers with separators, text escaped."""
    if isinstance(value, Markup):
        return value.html
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return text(f"{value:.4g}") if isinstance(value, float) else text(value)


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str = "", most: int = 60) -> str:
    """Return a table; of more than `most` rows the first ones, and how many there are."""
    rows = list(rows)
    head = "".join(f'<th scope="col" style="{_CELL};font-weight:600">{text(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}{_fold(value)}">{cell(value)}</td>' for value in row) + "</tr>"
        for row in rows[:most]
    )
    rest = "" if len(rows) <= most else note(f"{len(rows) - most:,} more rows; .to_pandas() has all {len(rows):,}.")
    head_line = (
        f'<caption style="caption-side:top;text-align:left;color:inherit;font-weight:600;padding:8px 0 2px">'
        f"{text(caption)}</caption>"
        if caption
        else ""
    )
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;{_FONT};margin:0">{head_line}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{rest}"
    )


def _fold(value: Cell) -> str:
    """Keep short texts on one line; long ones may break anywhere."""
    return ";overflow-wrap:anywhere" if isinstance(value, str) and len(value) > _SHORT else ";white-space:nowrap"


def facts(pairs: Iterable[tuple[str, Cell]]) -> str:
    """Return names and what they are, one line each."""
    rows = "".join(
        f'<tr><th scope="row" style="{_CELL};font-weight:600;border:0">{text(name)}</th>'
        f'<td style="{_CELL};border:0">{cell(value)}</td></tr>'
        for name, value in pairs
    )
    return f'<table style="border-collapse:collapse;{_FONT};margin:0"><tbody>{rows}</tbody></table>'


def note(words: str) -> str:
    """Return a line below."""
    return f'<div style="opacity:.75;padding:3px 0;max-width:70em">{text(words)}</div>'


def warning(words: str) -> str:
    """Return a line that should be seen."""
    return f'<div style="border-left:3px solid {ORANGE};padding:2px 8px;margin:4px 0">{text(words)}</div>'


def bar(share: float) -> Markup:
    """Return a bar that is filled to a share in [0, 1], with the share in words for those who do not see it."""
    percent = 100 * min(max(share, 0.0), 1.0)
    return Markup(
        f'<div role="img" aria-label="{percent:.0f} %" style="display:inline-block;width:120px;height:9px;'
        f'border:{_LINE};border-radius:5px;overflow:hidden;vertical-align:middle">'
        f'<div style="width:{percent:.2f}%;height:100%;background:{BLUE}"></div></div>'
    )


def frame(kind: str, title: str, *parts: str) -> str:
    """Return a whole object: what it is, its name, and its parts one below the other."""
    head = f'<div style="padding-bottom:4px"><span style="opacity:.75">{text(kind)}</span> <b>{text(title)}</b></div>'
    style = f"{_FONT};color:inherit;border:{_LINE};border-radius:6px;padding:8px 12px"
    return f'<div style="{style}">{head}{"".join(parts)}</div>'
