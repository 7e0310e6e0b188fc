"""What an error says of the next try: whether its worker died, whether it was memory, whether it may pass."""

import traceback
from typing import Any

from drfarm.farm._trace import last_lines
from store import DrfarmError, StorageFailure

_NO_MEMORY_TYPES = ("MemoryError", "OutOfMemoryError")
"""Python's and NumPy's; torch's and CuPy's."""
_NO_MEMORY_WORDS = ("can't allocate memory", "Cannot allocate memory")
"""Torch on a CPU raises a plain `RuntimeError`."""


def is_dead(error: BaseException | None) -> bool:
    """Say whether an error is that a worker died with its task."""
    from distributed.scheduler import KilledWorker

    return isinstance(error, KilledWorker)


def is_memory(error: BaseException | None) -> bool:
    """Say whether a task failed because there was too little memory, on the host or on a GPU."""
    if isinstance(error, DrfarmError):  # it has its own cause and remedy
        return False
    return any(t.__name__ in _NO_MEMORY_TYPES for t in type(error).__mro__) or any(
        words in str(error) for words in _NO_MEMORY_WORDS
    )


def may_pass(error: BaseException | None) -> bool:
    """Say whether a second try may go better: bad data stays bad; a full disk or a dead worker may not recur."""
    return isinstance(error, StorageFailure) or not isinstance(error, DrfarmError)


def reason(error: BaseException | None, status: object) -> str:
    """Return an error as told to people."""
    if isinstance(error, DrfarmError):
        return str(error)
    return f"{type(error).__name__}: {error}" if error is not None else f"its future was {status}"


def traceback_of(future: Any) -> str:
    """Return the end of the traceback that a failed task left in its worker; of what drfarm raises, none is needed."""
    if future.status != "error" or isinstance(error := future.exception(), DrfarmError):
        return ""
    return last_lines("".join(traceback.format_exception(type(error), error, error.__traceback__)))
