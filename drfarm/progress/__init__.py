"""Telling how far a run is: its stages are counted in one place, and shown on a terminal, as lines, or elsewhere."""

from drfarm.progress._events import Event, View
from drfarm.progress._figures import Figures, RunningBatch, Snapshot, WorkerState
from drfarm.progress._json_lines import JsonLines
from drfarm.progress._notebook import NotebookView, kernel_shell
from drfarm.progress._reporter import Meter, Reporter, TerminalReporter, ViewReporter
from drfarm.progress._wording import bytes_text, duration

__all__ = [
    "Event",
    "Figures",
    "JsonLines",
    "Meter",
    "NotebookView",
    "Reporter",
    "RunningBatch",
    "Snapshot",
    "TerminalReporter",
    "View",
    "ViewReporter",
    "WorkerState",
    "bytes_text",
    "duration",
    "kernel_shell",
]
