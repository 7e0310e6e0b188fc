"""What kills, hangs or starves a worker, for the farm's tests; workers import it by name. Causes are files on disk."""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np


def suffer(task):
    """Leave a line on disk, then do what the task's name asks for; what hangs does so the first time only."""
    name = task.names.model
    tries = Path(task.names.study) / "tries"
    again = tries.exists() and task.batch_id in tries.read_text()
    with tries.open("a") as file:
        file.write(f"{name} {task.batch_id}\n")
    if not (again and name in ("hang", "stop")):
        poison(name, task)


def poison(name, task):
    """Do to this process what a name asks for."""
    print(f"about to {name}", file=sys.stderr)
    if name == "segfault":
        ctypes.string_at(0)
    if name == "hang":
        time.sleep(600)
    if name == "exit":
        os._exit(7)
    if name == "hog":
        held = []
        while True:
            held.append(np.ones(2**21))
            time.sleep(0.02)
    if name == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if name == "memory" and max(k for g in task.groups for k in g.sizes) > 100:
        raise MemoryError
