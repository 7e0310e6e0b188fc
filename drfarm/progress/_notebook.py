"""Figures of a run in a notebook: a widget where ipywidgets is installed, else a line of HTML that is drawn anew."""

import importlib
import importlib.util
import sys
import time
from html import escape
from typing import Any, Protocol

from drfarm.progress._events import Event
from drfarm.progress._figures import Figures, Snapshot
from drfarm.progress._wording import bytes_text, duration

_FRAME_S = 0.25
_SHOWN = frozenset({"message", "batch.retried", "batch.failed", "stage.ended"})
_COLOURS = {"": "#0072B2", "warning": "#E69F00", "danger": "#D55E00", "success": "#009E73"}


def kernel_shell() -> Any | None:
    """Return IPython's shell where a notebook's kernel runs this process, else None. Imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if shell is not None and hasattr(shell, "kernel") else None


class _Panel(Protocol):
    """A bar with a line of text on either side."""

    def draw(self, share: float, words: str, style: str) -> None: ...


class NotebookView:
    """One bar for each stage, drawn four times a second at most; what is told is printed below the cell."""

    def __init__(self) -> None:
        self._panel: _Panel | None = None
        self._drawn = 0.0

    def opened(self, figures: Figures) -> None:
        """Show the bar of a stage that begins."""
        has_widgets = importlib.util.find_spec("ipywidgets") is not None
        self._panel = _WidgetPanel(figures.stage) if has_widgets else _HtmlPanel(figures.stage)
        self._draw(figures.snapshot(), figures.unit)

    def changed(self, figures: Figures) -> None:
        """Draw the bar anew, now and then."""
        if time.monotonic() - self._drawn >= _FRAME_S:
            self._draw(figures.snapshot(), figures.unit)

    def happened(self, event: Event) -> None:
        """Print what people should read."""
        if event.event in _SHOWN:
            print(event.message, flush=True)  # noqa: T201 - a notebook shows it below the cell

    def closed(self, figures: Figures, *, whole: bool) -> None:
        """Draw the bar a last time, in the colour of how it ended."""
        s = figures.snapshot()
        style = "danger" if not whole or s.batches_failed else "success"
        self._draw(s, figures.unit, style)
        self._panel = None

    def _draw(self, s: Snapshot, unit: str, style: str | None = None) -> None:
        self._drawn = time.monotonic()
        if self._panel is not None:
            share = (s.n_done + s.n_failed) / s.total if s.total else 1.0
            if style is None:
                style = "danger" if s.batches_failed else "warning" if s.batches_retried else ""
            self._panel.draw(min(share, 1.0), line(s, unit), style)


def line(s: Snapshot, unit: str) -> str:
    """Return the figures of a stage as one line."""
    parts = [f"{s.n_done:,.0f} of {s.total:,.0f} {unit}", f"{s.rate:,.1f}/s"]
    if s.ended:
        parts.append(f"took {duration(s.elapsed_s)}")
    elif s.eta_s is not None:
        parts.append(f"{duration(s.eta_s)} left")
    parts += [f"{s.batches_running:,} running"] if s.batches_running else []
    parts += [f"{s.batches_retried:,} tried again"] if s.batches_retried else []
    parts += [f"{s.batches_failed:,} failed"] if s.batches_failed else []
    if s.workers:
        n = len(s.workers)
        memory = bytes_text(sum(worker.memory_bytes for worker in s.workers))
        parts.append(f"{n:,} {'worker' if n == 1 else 'workers'}, {memory}")
    return " · ".join(parts)


class _WidgetPanel:
    """The notebook's own progress bar."""

    def __init__(self, stage: str) -> None:
        from IPython.display import display

        ipywidgets = importlib.import_module("ipywidgets")
        layout = ipywidgets.Layout(width="220px")
        self._bar = ipywidgets.FloatProgress(min=0.0, max=1.0, description=stage, layout=layout)
        self._text = ipywidgets.Label()
        display(ipywidgets.HBox([self._bar, self._text]))

    def draw(self, share: float, words: str, style: str) -> None:
        self._bar.value, self._bar.bar_style, self._text.value = share, style, words


class _HtmlPanel:
    """A bar of HTML that replaces itself."""

    def __init__(self, stage: str) -> None:
        from IPython.display import display

        self._stage = stage
        self._handle = display(_html(self._bar(0.0, "", "")), display_id=True)

    def draw(self, share: float, words: str, style: str) -> None:
        self._handle.update(_html(self._bar(share, words, style)))

    def _bar(self, share: float, words: str, style: str) -> str:
        percent = 100 * share
        return (
            f'<div style="font-family:system-ui,sans-serif;font-size:13px"><b>{escape(self._stage)}</b> '
            f'<span role="progressbar" aria-label="{escape(self._stage)}" aria-valuenow="{percent:.0f}" '
            'aria-valuemin="0" aria-valuemax="100" style="display:inline-block;width:220px;height:10px;'
            'border:1px solid rgba(128,128,128,.5);border-radius:5px;overflow:hidden;vertical-align:middle">'
            f'<span style="display:block;width:{percent:.2f}%;height:100%;background:{_COLOURS[style]}"></span></span> '
            f"{escape(words)}</div>"
        )


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)
