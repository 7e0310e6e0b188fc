"""Processes that end with the one that started them, even where they are stopped when it is killed.

One that runs sees that its parent is gone. One that is stopped (SIGSTOP, a debugger, a frozen job) sees nothing, and
would stay for ever, with its memory and all that waits for it. So on Linux the kernel is asked: it kills a group of
processes when nobody can write any more to a pipe that one of them has open, and only the parent can. Elsewhere nothing
of this happens.

Here, below everything else, as several of our packages start processes.
"""

import contextlib
import functools
import os
import select
import signal
import sys
from pathlib import Path


@functools.cache
def lifeline() -> str:
    """Return what a process that this one starts gives to `tie`; empty where there is no such thing."""
    if sys.platform != "linux":
        return ""
    # Both ends stay open here and are not inherited by programs that are started: only our own end closes them.
    ends: list[int] = []
    os.register_at_fork(after_in_child=functools.partial(_let_go, ends))
    ends += os.pipe()
    return f"{os.getpid()}:{ends[0]}"


def tie(line: str) -> None:
    """Have this process killed as soon as the one that made a lifeline is dead, at once if it is dead already.

    With it go those that it starts from now on, however they are stopped: it becomes the leader of a process group of
    its own, and what a terminal sends to its foreground (Ctrl-C, Ctrl-Z) passes them by.

    Parameters
    ----------
    line
        What `lifeline` returned in that process, on this machine.
    """
    if sys.platform != "linux" or not line:
        return
    import fcntl

    pid, reading = map(int, line.split(":"))
    try:
        # Opened anew: whom the kernel tells is kept with what was opened. It stays open, in those forked from here too.
        fd = os.open(f"/proc/{pid}/fd/{reading}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        if _is_dead(pid):
            os.kill(os.getpid(), signal.SIGKILL)
        return  # a system that shows no process the files of another
    with contextlib.suppress(OSError):  # a kernel that only looks like Linux
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    # A terminal may stop those in its background that write to it. Only a main thread can say no.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    watched = select.poll()
    watched.register(fd, 0)
    if watched.poll(0):  # closed in between
        os.kill(os.getpid(), signal.SIGKILL)


def _is_dead(pid: int) -> bool:
    """Say whether a process is gone, or dead and nobody has asked how."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except ProcessLookupError:
        return True
    except OSError:  # it is not shown to us
        return False


def _let_go(ends: list[int]) -> None:
    """In a process that was forked from the maker of a lifeline: no longer keep alive what is to end with that."""
    while ends:
        os.close(ends.pop())
    lifeline.cache_clear()
