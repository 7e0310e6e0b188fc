"""Files outside a store that are replaced as a whole, whoever else writes the same one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Lend a path beside a file; what is written there takes the file's place at the end.

    A reader sees the old file or the new one. Of several writers at once, each has a path of its own and the last to
    end wins.

    Parameters
    ----------
    path
        The file. Its folder must exist.

    Yields
    ------
    Path
        Where to write; nothing is left there, whatever happens.

    Raises
    ------
    OSError
        If the file can't be replaced.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
