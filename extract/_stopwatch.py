"""Seconds spent inside ``with`` blocks, added up. Pure but for the clock."""

import time


class Stopwatch:
    """Adds up the time between entering and leaving; for one thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Total of the blocks that ended."""
        self._began = 0.0

    def __enter__(self) -> "Stopwatch":
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds += time.perf_counter() - self._began
