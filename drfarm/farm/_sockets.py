"""Whether processes of this machine can meet: their sockets lie in the temporary folder, and have short names."""

import os
import tempfile

from drfarm.farm._settings import METHOD
from store import InvalidRequest

_MOST_BYTES = 107 if os.name == "posix" else 2**15
"""Of the path of a Unix socket on Linux; other systems allow a few bytes less."""
_NAME = "/pymp-xxxxxxxx/listener-xxxxxxxx"
"""What Python calls the socket of the process that workers are forked from."""


def check_temporary_folder() -> None:
    """Refuse a temporary folder whose name leaves no room for that of a socket, before any process starts.

    Raises
    ------
    InvalidRequest
        With its length and the longest that works.
    """
    if METHOD != "forkserver":
        return
    folder = tempfile.gettempdir()
    most = _MOST_BYTES - len(_NAME)
    length = len(os.fsencode(folder))
    if length > most:
        raise InvalidRequest(
            f"the temporary folder {folder} has a name of {length} bytes; worker processes meet at sockets in it, "
            f"and {most} bytes is the most that leaves room for their names. Set TMPDIR to a folder with a shorter "
            "name, such as /tmp."
        )
