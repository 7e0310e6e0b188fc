"""Shortening what a worker wrote last: of Python's traces of all its threads, only that of the task. Pure (no I/O)."""

LAST_LINES = 50
"""Of a log, so many lines are kept."""
MOST_CHARS = 20_000
"""And no more than so many characters."""

_THREADS = ("Thread 0x", "Current thread 0x")
_TASK = " in _run_task"
"""In the library's thread that runs tasks."""
_BELOW = ("dask/_task_spec.py", "distributed/")
"""Frames of the library, below those of the task: the rest of a trace from there on tells nothing."""


def last_lines(text: str) -> str:
    """Return the last lines of a log, without the traces of threads that ran no task."""
    kept: list[str] = []
    lines = text[-MOST_CHARS:].splitlines()
    told = any(_TASK in line for line in lines)
    i = 0
    while i < len(lines):
        if not lines[i].startswith(_THREADS):
            if not lines[i].startswith("Extension modules:"):
                kept.append(lines[i])
            i += 1
            continue
        end = i + 1
        while end < len(lines) and lines[end].startswith("  "):
            end += 1
        trace = lines[i:end]
        i = end
        if not told:
            kept += trace
        elif any(_TASK in line for line in trace):
            below = next((n for n, line in enumerate(trace) if any(part in line for part in _BELOW)), len(trace))
            kept += trace[: min(max(below, 2), LAST_LINES // 2)]
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join(kept[-LAST_LINES:])
