"""What a stage tells of itself (`Meter`, `Reporter`), and the reporter that counts it and shows it in views."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from drfarm.logs import without_secrets
from drfarm.progress._events import Event, Level, View
from drfarm.progress._figures import Figures, RunningBatch, WorkerState
from drfarm.progress._notebook import NotebookView, kernel_shell
from drfarm.progress._terminal import terminal_view
from drfarm.progress._wording import duration
from store import JSON


class Meter(Protocol):
    """What a stage tells of itself; any thread may."""

    def advance(self, n: float, *, batch: str | None = None) -> None:
        """Say that n more are done, all of them by this batch where one is named."""
        ...

    def extend(self, n: float) -> None:
        """Say that n more are to be done."""
        ...

    def started(self, batch: str, title: str, worker: str, *, n: float) -> None:
        """Say that a worker was handed a batch that will add n."""
        ...

    def retried(self, batch: str, title: str, why: str) -> None:
        """Say that a batch waits again, and why."""
        ...

    def failed(self, batch: str, title: str, why: str, *, attempts: int, n: float) -> None:
        """Say that a batch was given up after so many attempts, and with it n."""
        ...

    def withdrawn(self, batch: str) -> None:
        """Say that no worker has a batch any more, which is neither done, nor waits, nor has failed."""
        ...

    def workers(self, workers: Sequence[WorkerState]) -> None:
        """Say who works on it."""
        ...


class Reporter(Protocol):
    """What a run tells of itself."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        """Open a stage of so many units; a context manager that gives its `Meter`."""
        ...

    def message(self, text: str) -> None:
        """Say something that stays on the screen."""
        ...


class ViewReporter:
    """Counts what is told, and shows it in any number of views."""

    def __init__(self, views: Sequence[View], *, study: str | None = None) -> None:
        self._views = tuple(views)
        self._study = study
        self._lock = threading.RLock()

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Meter]:
        """Open a stage."""
        meter = _Counter(Figures(name, total, unit, study=self._study), self._views, self._lock)
        meter.open()
        with ExitStack() as stack:
            stack.callback(lambda: meter.close(whole=False))
            yield meter
            stack.pop_all()
        meter.close(whole=True)

    def message(self, text: str) -> None:
        """Say something."""
        event = Event(event="message", message=without_secrets(text), study=self._study)
        with self._lock:
            for view in self._views:
                view.happened(event)


class TerminalReporter:
    """Live figures on a terminal or in a notebook, else a line every ten seconds on stderr; and other views."""

    def __init__(self, *, quiet: bool = False, study: str | None = None, views: Sequence[View] = ()) -> None:
        own: tuple[View, ...] = ()
        if not quiet:
            own = (terminal_view() if kernel_shell() is None else NotebookView(),)
        self._reporter = ViewReporter((*own, *views), study=study)

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        """Open a stage."""
        return self._reporter.stage(name, total, unit)

    def message(self, text: str) -> None:
        """Say something."""
        self._reporter.message(text)


class _Counter:
    """The meter of a stage."""

    def __init__(self, figures: Figures, views: tuple[View, ...], lock: threading.RLock) -> None:
        self._figures, self._views, self._lock = figures, views, lock

    def open(self) -> None:
        f = self._figures
        total = f.snapshot().total
        with self._lock:
            for view in self._views:
                view.opened(f)
        self._tell(
            "stage.started", f"{f.stage}: {total:,.0f} {f.unit} to do", more={"total": round(total), "unit": f.unit}
        )

    def close(self, *, whole: bool) -> None:
        f = self._figures
        f.end()
        s = f.snapshot()
        with self._lock:
            for view in self._views:
                view.closed(f, whole=whole)
        if not whole:
            self._tell("stage.broken", f"{f.stage}: broke off after {duration(s.elapsed_s)}", level="warning")
            return
        rate = s.n_done / s.elapsed_s if s.elapsed_s > 0 else 0.0
        self._tell(
            "stage.ended",
            f"{f.stage}: {s.n_done:,.0f} of {s.total:,.0f} {f.unit} in {duration(s.elapsed_s)} "
            f"({rate:,.1f} {f.unit}/s)",
            more={
                "done": round(s.n_done),
                "failed": round(s.n_failed),
                "total": round(s.total),
                "unit": f.unit,
                "elapsed_s": round(s.elapsed_s, 3),
            },
        )

    def advance(self, n: float, *, batch: str | None = None) -> None:
        flight = self._figures.advance(n, batch)
        self._changed()
        if batch is not None:
            title = batch if flight is None else flight.title
            self._tell("batch.done", f"done: {title}", batch=batch, flight=flight, more={"n": round(n)})

    def extend(self, n: float) -> None:
        self._figures.extend(n)

    def started(self, batch: str, title: str, worker: str, *, n: float) -> None:
        self._figures.started(batch, title, worker, n)
        self._changed()
        self._tell("batch.started", f"started: {title}", batch=batch, worker=worker, more={"n": round(n)})

    def retried(self, batch: str, title: str, why: str) -> None:
        flight = self._figures.retried(batch)
        self._changed()
        text = f"trying again: {title}: {why}"
        self._tell("batch.retried", text, level="warning", batch=batch, flight=flight, more={"error": why})

    def failed(self, batch: str, title: str, why: str, *, attempts: int, n: float) -> None:
        flight = self._figures.failed(batch, n)
        self._changed()
        tried = "" if attempts == 1 else f" after {attempts} attempts"
        self._tell(
            "batch.failed",
            f"failed{tried}: {title}: {why}",
            level="error",
            batch=batch,
            flight=flight,
            more={"error": why, "attempts": attempts},
        )

    def withdrawn(self, batch: str) -> None:
        self._figures.withdrawn(batch)
        self._changed()

    def workers(self, workers: Sequence[WorkerState]) -> None:
        self._figures.set_workers(workers)
        self._changed()

    def _changed(self) -> None:
        with self._lock:
            for view in self._views:
                view.changed(self._figures)

    def _tell(
        self,
        event: str,
        message: str,
        *,
        level: Level = "info",
        batch: str | None = None,
        worker: str | None = None,
        flight: RunningBatch | None = None,
        more: dict[str, JSON] | None = None,
    ) -> None:
        told = Event(
            event=event,
            message=without_secrets(message),
            level=level,
            study=self._figures.study,
            stage=self._figures.stage,
            batch=batch,
            worker=worker if flight is None else flight.worker,
            more={k: without_secrets(v) if isinstance(v, str) else v for k, v in (more or {}).items()},
        )
        with self._lock:
            for view in self._views:
                view.happened(told)
