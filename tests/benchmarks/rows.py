"""One line of the table: our time beside the baseline's, from the same run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measured figure and the bar it is held against."""

    what: str
    """What was done."""
    ours: str
    """Our figure, with its unit."""
    baseline: str
    """The baseline: its name and figure."""
    ratio: float
    """What is compared with the bar."""
    bar: float | None = None
    """The bar; None where the ratio is there to be known."""
    at_least: bool = True
    """Whether the ratio is to be at least the bar, or at most."""

    @property
    def holds(self) -> bool:
        """Whether the bar is held."""
        if self.bar is None:
            return True
        return self.ratio >= self.bar if self.at_least else self.ratio <= self.bar

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        sign = ">=" if self.at_least else "<="
        ratio = f"{self.ratio:,.3g}" if self.ratio < 1000 else f"{self.ratio:,.0f}"
        if self.bar is None:
            return self.what, self.ours, self.baseline, ratio, "-", "-"
        return self.what, self.ours, self.baseline, ratio, f"{sign} {self.bar:g}", "yes" if self.holds else "NO"


HEADER = ("what", "drfarm", "baseline", "ratio", "bar", "holds")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, aligned."""
    cells = [HEADER, *(r.cells() for r in rows)]
    widths = [max(len(c[i]) for c in cells) for i in range(len(HEADER))]
    lines = ["| " + " | ".join(v.ljust(w) for v, w in zip(c, widths, strict=True)) + " |" for c in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def best(action: Callable[[], object], repeats: int = 3) -> float:
    """Return the least time of several calls, in seconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def seconds(value: float) -> str:
    """Return a time with a fitting unit."""
    return f"{value * 1e3:,.2f} ms" if value < 1 else f"{value:,.2f} s"
