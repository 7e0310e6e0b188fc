"""What stands in a report, before it is a page: sections of words, plots and tables. Pure (no I/O).

Words are plain text: whoever makes the page escapes them. What is HTML already has the type `markupsafe.Markup`, and
everything in it that came from a name was escaped when it was made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa
from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """What a report is made of. Tables are Arrow's, columns as in the views of a store."""

    title: str
    """Name of the study, or of the store."""
    probes: pa.Table | None
    """View `probes` with `class_accuracy`; None or empty where no probe ran."""
    cka: pa.Table | None
    """View `cka`; None or empty where there is none."""
    redundancy: pa.Table
    """As `aggregate.redundancy` returns it, all rules, for the thresholds that the report is about."""
    failures: tuple["Failure", ...] = ()
    """Work that failed and was given up."""
    facts: Mapping[str, tuple["Fact", ...]] = field(default_factory=dict)
    """Provenance and cost: heading of each group, and its lines."""
    reproduce: tuple["Listing", ...] = ()
    """Commands and files that make the same results again."""
    tables: tuple["PlainTable", ...] = ()
    """Provenance and cost that is a table: stages, representations, protocols."""
    made: str = ""
    """When the report was made, and by which version, plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of provenance."""

    name: str
    """What is said, such as `Protocol`."""
    value: str
    """Plain text; may be long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTable:
    """A small table of plain text, beside the facts."""

    about: str
    """``cost`` or ``provenance``: the section that it stands in."""
    title: str
    """Its caption."""
    columns: tuple[str, ...]
    """Headings."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, as they are shown; the first of each row names it."""
    numeric: frozenset[str] = frozenset()
    """Headings of the columns that hold numbers."""
    note: str = ""
    """What to know about it, to stand below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A piece of work that has no result."""

    what: str
    """Which work: model, data set, method, subset sizes."""
    error: str
    """Why it failed, as the worker said it."""
    n_jobs: int
    """Results that are missing for it."""
    batch_id: str = ""
    """Where it is found in logs."""
    stage: str = ""
    """``extract`` or ``probe``."""
    attempts: int = 0
    """How often it was tried."""
    log: str = ""
    """The last lines of its worker's log, plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Text to copy: a command, a file."""

    title: str
    """What it is."""
    text: str
    """Plain text, shown as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence or two about the results."""

    text: str
    """Plain text."""
    about: str
    """`main`, `redundancy`, `cka`, `methods`, `caution`: cautions stand last, and apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraphs:
    """Plain words."""

    texts: tuple[str, ...]
    """One paragraph each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The summary: what was found, then what to be careful about."""

    findings: tuple[Finding, ...]
    """In the order to be read; the first is the main one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """An interactive figure, its caption, and a table for who can't see it."""

    id: str
    """Unique in the report; fits an HTML id."""
    model: Any
    """A Bokeh layout; its width follows that of the page (`sizing_mode="stretch_width"`)."""
    label: str
    """Short name for screen readers, plain text."""
    caption: str
    """What is drawn and what bands, dots and lines mean, plain text."""
    data: Markup
    """HTML table of what is drawn, to be put into a closed `<details>`; has its own caption."""
    controls: tuple["Control", ...] = ()
    """What the reader may choose; `plots.js` listens to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A native `<select>` above a plot: it needs no library to be reached by keyboard and read aloud."""

    name: str
    """What it changes, for the script: `panel`, `x`, `scale`."""
    label: str
    """Words beside it, plain text."""
    options: tuple[str, ...]
    """Plain text; the value of each is its position. The first is shown at the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An HTML table."""

    id: str
    """Unique in the report; the id of the `<table>` itself where it is interactive."""
    html: Markup
    """One `<table>` with a `<caption>`."""
    interactive: bool
    """Whether the page's script makes it sort and filter; without the script it is a plain table."""
    notes: tuple[str, ...]
    """What its signs mean, plain text, to stand below."""


Part: TypeAlias = Paragraphs | Findings | Plot | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading and what is below it."""

    id: str
    """Anchor: lower case, hyphens."""
    title: str
    """Heading, plain text."""
    parts: tuple[Part, ...]
    """In the order to be read."""
