"""Telling a person how far a stage is: a live bar on a terminal, a line now and then elsewhere. Writes to stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 10.0


class Meter(Protocol):
    """What a stage tells of itself."""

    def advance(self, n: float) -> None:
        """Say that n more are done."""
        ...

    def extend(self, n: float) -> None:
        """Say that n more are to be done."""
        ...


class Reporter(Protocol):
    """What a run tells of itself."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        """Open a stage of so many units; a context manager that gives its `Meter`."""
        ...

    def message(self, text: str) -> None:
        """Say something that stays on the screen."""
        ...


class TerminalReporter:
    """Live bars with rate and time left on a terminal; elsewhere a line every ten seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Meter]:
        """Open a stage."""
        began = time.monotonic()
        if self._console.is_terminal and not self._quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit + ", {task.fields[rate]}, left"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self._console, transient=True) as progress:
                task = progress.add_task(name, total=total, rate="")
                meter: _Bar | _Lines = _Bar(progress, task, total)
                yield meter
        else:
            meter = _Lines(self._console, name, total, unit)
            yield meter
        seconds = time.monotonic() - began
        rate = meter.n / seconds if seconds > 0 else 0.0
        done = f"{name}: {meter.n:,.0f} of {meter.total:,.0f} {unit}"
        self._console.print(f"{done} in {duration(seconds)} ({rate:,.1f} {unit}/s)")

    def message(self, text: str) -> None:
        """Say something."""
        self._console.print(text, markup=False)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, total: float) -> None:
        self._progress, self._task = progress, task
        self.total = total
        self._began = time.monotonic()
        self.n = 0.0

    def advance(self, n: float) -> None:
        self.n += n
        rate = self.n / max(1e-9, time.monotonic() - self._began)
        self._progress.update(self._task, advance=n, rate=f"{rate:,.1f}/s")

    def extend(self, n: float) -> None:
        self.total += n
        self._progress.update(self._task, total=self.total)


class _Lines:
    def __init__(self, console: Console, name: str, total: int, unit: str) -> None:
        self._console, self._name, self._unit = console, name, unit
        self.total: float = total
        self._began = self._told = time.monotonic()
        self.n = 0.0

    def advance(self, n: float) -> None:
        self.n += n
        now = time.monotonic()
        if now - self._told < _LINE_EVERY_S or not 0 < self.n < self.total:
            return
        self._told = now
        rate = self.n / (now - self._began)
        left = duration((self.total - self.n) / rate)
        self._console.print(
            f"{self._name}: {self.n:,.0f} of {self.total:,.0f} {self._unit}, {rate:,.1f}/s, about {left} left"
        )

    def extend(self, n: float) -> None:
        self.total += n


def duration(seconds: float) -> str:
    """Return a time as people say it: ``4.2 s``, ``3 min 10 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
