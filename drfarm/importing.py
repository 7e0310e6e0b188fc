"""Letting ``python:MODULE:CALLABLE`` find modules beside a study file, here and in workers."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def importable(folder: Path | None) -> Iterator[None]:
    """Let ``python:`` sources be found in a folder, after everything that is installed: it can shadow nothing."""
    if folder is None:
        yield
        return
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
