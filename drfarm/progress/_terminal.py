"""Figures on stderr: live at a terminal, a line now and then elsewhere."""

import sys
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from drfarm.progress._events import Event, View
from drfarm.progress._figures import Figures, Snapshot
from drfarm.progress._wording import bytes_text, duration

_LINE_EVERY_S = 10.0
_FRAMES_PER_S = 4
_LONG_S = 10.0
"""A batch that runs for longer is named on the screen: one that hangs is seen."""
_SHOWN = frozenset({"message", "batch.retried", "batch.failed", "stage.ended"})
"""What is told to a person; the rest is seen in the figures."""
_FULL = 0.8
"""Share of its memory from which a worker is worth a look."""


def terminal_view(console: Console | None = None) -> View:
    """Return the view for stderr, or for a console."""
    console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
    return _LiveFigures(console) if console.is_terminal else _Lines(console)


class _Lines:
    """A line every ten seconds in which something was done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0.0
        self._n_told = 0.0

    def opened(self, figures: Figures) -> None:  # noqa: ARG002 - the first line has something to say
        self._told, self._n_told = time.monotonic(), 0.0

    def changed(self, figures: Figures) -> None:
        now = time.monotonic()
        if now - self._told < _LINE_EVERY_S:
            return
        s = figures.snapshot()
        if not self._n_told < s.n_done < s.total:
            return
        self._told, self._n_told = now, s.n_done
        left = "" if s.eta_s is None else f", about {duration(s.eta_s)} left"
        done = f"{figures.stage}: {s.n_done:,.0f} of {s.total:,.0f} {figures.unit}, {s.rate:,.1f}/s{left}"
        self._console.print("; ".join([done, *troubles(s)]), markup=False)

    def happened(self, event: Event) -> None:
        if event.event in _SHOWN:
            self._console.print(event.message, markup=False)

    def closed(self, figures: Figures, *, whole: bool) -> None:
        pass


class _LiveFigures:
    """A few lines at the foot of the terminal, drawn anew four times a second; what is told scrolls by above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def opened(self, figures: Figures) -> None:
        self._live = Live(
            get_renderable=lambda: stage_panel(figures),
            console=self._console,
            refresh_per_second=_FRAMES_PER_S,
            transient=True,
        )
        self._live.start()

    def changed(self, figures: Figures) -> None:
        """Wait for the next frame."""

    def happened(self, event: Event) -> None:
        if event.event in _SHOWN:
            style = {"warning": "yellow", "error": "red"}.get(event.level)
            self._console.print(event.message, markup=False, style=style)

    def closed(self, figures: Figures, *, whole: bool) -> None:  # noqa: ARG002 - as any view
        if self._live is not None:
            self._live.stop()
            self._live = None


def stage_panel(figures: Figures) -> RenderableType:
    """Return the figures of a stage as a few lines that fit 80 columns.

    One has the bar, the counts, the rate and the time left; one what is running, waiting, tried again and failed; one
    the workers and their memory; and one names a batch that runs for long.
    """
    s = figures.snapshot()
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1, min_width=8)
    for _ in range(3):
        head.add_column(no_wrap=True, justify="right")
    head.add_row(
        Text(figures.stage, style="bold"),
        ProgressBar(total=max(s.total, 1.0), completed=s.n_done + s.n_failed),
        Text(f"{s.n_done:,.0f}/{s.total:,.0f} {figures.unit}"),
        Text(f"{s.rate:,.1f}/s", style="cyan"),
        Text("..." if s.eta_s is None else f"{duration(s.eta_s)} left", style="green"),
    )
    lines: list[RenderableType] = [head]
    counts = Text(no_wrap=True, overflow="ellipsis")
    batches = "1 batch" if s.batches_running == 1 else f"{s.batches_running:,} batches"
    parts = [(f"{batches} running", ""), (f"{s.n_waiting:,.0f} waiting", "")] if s.batches_running else []
    parts += [(f"{s.batches_retried:,} tried again", "yellow")] if s.batches_retried else []
    parts += [(f"{s.batches_failed:,} failed", "red")] if s.batches_failed else []
    for text, style in parts:
        counts.append(f"{' · ' if counts else '  '}{text}", style=style)
    lines += [counts] if parts else []
    lines += _worker_lines(s)
    if s.longest is not None and s.longest_s >= _LONG_S:
        longest = f"  {duration(s.longest_s)}: {s.longest.title} on {s.longest.worker}"
        lines.append(Text(longest, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*lines)


def _worker_lines(s: Snapshot) -> list[RenderableType]:
    if not s.workers:
        return []
    taken, limit = (sum(w.memory_bytes for w in s.workers), sum(w.memory_limit_bytes for w in s.workers))
    fullest = max(s.workers, key=lambda w: w.fullness)
    of = f" of {bytes_text(limit)}" if limit else ""
    n = len(s.workers)
    text = Text(f"  {n:,} {'worker' if n == 1 else 'workers'} · memory {bytes_text(taken)}{of}", no_wrap=True)
    if fullest.memory_limit_bytes:
        share = f" · fullest {fullest.fullness:.0%}"
        text.append(share, style="yellow" if fullest.fullness >= _FULL else "")
    return [text]


def troubles(s: Snapshot) -> list[str]:
    """Say what did not go well, where anything did not."""
    found = [f"{s.batches_retried:,} tried again"] if s.batches_retried else []
    return [*found, f"{s.batches_failed:,} failed"] if s.batches_failed else found
