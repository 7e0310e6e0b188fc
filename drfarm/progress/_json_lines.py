"""A run as lines of JSON on stderr: for a log collector, or a program that watches."""

import time

from drfarm.logs import write_line
from drfarm.progress._events import Event
from drfarm.progress._figures import Figures

_LINE_EVERY_S = 10.0


class JsonLines:
    """One line for each event, and one with the figures of the stage every ten seconds in which something changes."""

    def __init__(self) -> None:
        self._told = 0.0

    def opened(self, figures: Figures) -> None:  # noqa: ARG002 - as any view
        """See that a stage begins."""
        self._told = time.monotonic()

    def changed(self, figures: Figures) -> None:
        """Write the figures, now and then."""
        if time.monotonic() - self._told < _LINE_EVERY_S:
            return
        self._told = time.monotonic()
        s = figures.snapshot()
        write_line(
            "stage.progress",
            f"{figures.stage}: {s.n_done:,.0f} of {s.total:,.0f} {figures.unit}",
            study=figures.study,
            stage=figures.stage,
            done=round(s.n_done),
            running=round(s.n_running),
            waiting=round(s.n_waiting),
            failed=round(s.n_failed),
            retried=round(s.n_retried),
            total=round(s.total),
            unit=figures.unit,
            per_second=round(s.rate, 3),
            eta_s=None if s.eta_s is None else round(s.eta_s, 1),
            workers=len(s.workers),
            memory_bytes=sum(w.memory_bytes for w in s.workers),
        )

    def happened(self, event: Event) -> None:
        """Write it."""
        write_line(
            event.event,
            event.message,
            level=event.level,
            study=event.study,
            stage=event.stage,
            batch=event.batch,
            worker=event.worker,
            **event.more,
        )

    def closed(self, figures: Figures, *, whole: bool) -> None:
        """See that the stage ends."""
