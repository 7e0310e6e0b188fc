"""What a worker does around each task: it refuses where its versions differ, and tells of it where that was chosen.

It tells as lines of JSON on its stderr.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

from drfarm.farm._versions import check_same, versions
from drfarm.logs import chosen_format, write_line


@dataclass(frozen=True, slots=True)
class Told:
    """Work whose beginning and end the worker tells; it pickles, as long as the work does."""

    work: Callable[[Any], object]
    """What a worker does with a task."""
    stage: str
    """Of which stage it is."""
    asking: Mapping[str, str] = field(default_factory=versions, compare=False)
    """Versions of the process that asks."""

    def __call__(self, task: Any) -> object:
        """Do it.

        Raises
        ------
        OtherVersions
            If this process has other versions than the one that asks; nothing is done then.
        """
        check_same(self.asking)
        if chosen_format() != "json":
            return self.work(task)
        began = time.monotonic()
        about = {
            "study": getattr(getattr(task, "names", None), "study", None),
            "stage": self.stage,
            "batch": task.batch_id,
            "worker": _address(),
        }
        write_line("task.started", task.title, **about)
        try:
            done = self.work(task)
        except BaseException as e:
            why = f"{task.title}: {type(e).__name__}: {e}"
            write_line("task.failed", why, level="error", elapsed_s=_since(began), memory_bytes=_memory(), **about)
            raise
        write_line("task.done", task.title, elapsed_s=_since(began), memory_bytes=_memory(), **about)
        return done


def _address() -> str | None:
    """Return the worker's address; None in a process that is none."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return None


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _memory() -> int:
    """Return the memory that this process has now, in bytes."""
    return int(psutil.Process().memory_info().rss)
