"""When files last changed, as the file system tells it: what decides whether a kept digest of them still holds."""

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SETTLED_S = 2.0
"""Files that changed less than this ago may change again within the same tick of their file system's clock."""
_THREADS = 16
_PER_TASK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Times of some files, in their order."""

    digest: str
    """sha256 over the times of every file, hexadecimal."""
    newest_ns: int
    """The newest of them, in nanoseconds since 1970."""

    @property
    def settled(self) -> bool:
        """Whether any later change shows in a later stamp, so that what is worked out from now on may be kept.

        Clocks of file systems tick slowly, some once in two seconds. Times ahead of our clock count as just now.
        """
        return time.time_ns() - self.newest_ns > SETTLED_S * 1e9

    @classmethod
    def of(cls, times_ns: np.ndarray) -> "Stamp":
        """Return the stamp of files whose times are given, int64, shape (n, 2): see `times_of`."""
        times_ns = np.ascontiguousarray(times_ns, dtype=np.int64)
        newest = int(times_ns.max()) if times_ns.size else 0
        return cls(digest=hashlib.sha256(times_ns.tobytes()).hexdigest(), newest_ns=newest)


def times_of(status: os.stat_result) -> tuple[int, int]:
    """Return when a file's content and when its inode last changed, in nanoseconds.

    A program can set the first back (``cp -p`` does); the second it can't, so that no new content passes for the old.
    """
    return status.st_mtime_ns, status.st_ctime_ns


def stamp_of(files: Iterable[Path]) -> Stamp:
    """Return the stamp of a few files.

    Raises
    ------
    OSError
        If one can't be looked at.
    """
    return Stamp.of(np.array([times_of(f.stat()) for f in files], dtype=np.int64).reshape(-1, 2))


def sizes_and_times(paths: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Look at many files; several threads wait for a network's file system at once.

    Returns
    -------
    sizes
        In bytes, int64, shape (n,).
    times_ns
        As of `times_of`, int64, shape (n, 2).
    missing
        Numbers of the files that can't be looked at; their sizes and times are 0.
    """
    sizes = np.zeros(len(paths), dtype=np.int64)
    times_ns = np.zeros((len(paths), 2), dtype=np.int64)

    def look(start: int) -> list[int]:
        missing = []
        for i in range(start, min(start + _PER_TASK, len(paths))):
            try:
                status = os.stat(paths[i])  # noqa: PTH116 - a million Path objects cost more than the looks
            except OSError:
                missing.append(i)
            else:
                sizes[i] = status.st_size
                times_ns[i] = times_of(status)
        return missing

    with ThreadPoolExecutor(_THREADS) as pool:
        missing = [i for part in pool.map(look, range(0, len(paths), _PER_TASK)) for i in part]
    return sizes, times_ns, missing
