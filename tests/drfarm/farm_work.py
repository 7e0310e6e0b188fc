"""What workers do in the farm's tests; they import it by name. Each try leaves a line on disk, across processes."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from probe import run_task
from store import Corrupt, StorageFailure


def _note(task, **more) -> None:
    line = json.dumps({"batch": task.batch_id, "pid": os.getpid(), **more}) + "\n"
    with (Path(task.names.study) / "tries.jsonl").open("a") as file:  # one write: lines of several processes stay whole
        file.write(line)


def note(task):
    """Say when it ran and where; a moment long, so that tasks meet; a long one where others are to meet it."""
    began = time.time()
    time.sleep(2.0 if task.names.model == "slow" else 0.1)
    _note(task, began=began, ended=time.time())


def settings(task):
    """Say what the process is like, and return what is far too large to come back."""
    import numpy as np
    import torch

    a = np.ones((400, 400))
    for _ in range(5):
        a = a @ a / 400
    _note(
        task,
        environment={n: os.environ.get(n) for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        torch=torch.get_num_threads(),
        safe=[os.environ.get("PYTHONSAFEPATH"), "" in sys.path],
    )
    return b"x" * 50_000_000


def trouble(task):
    """Do what the task's name asks for."""
    _note(task)
    time.sleep(0.3)
    if task.names.model == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.names.model == "corrupt":
        raise Corrupt("the object c/0/1/0 is not what was written.")
    if task.names.model == "flaky":
        n_tries = (Path(task.names.study) / "tries.jsonl").read_text().count(task.batch_id)
        if n_tries < 3:
            raise StorageFailure("the disk is full.")
    if task.names.model == "bug":
        raise ZeroDivisionError("division by zero")
    if task.names.model == "wide":
        raise ValueError("x" * 1_000_000)


def poisoned(task, **options):
    """Run the task; but where the cause is there, those of seed 2 kill their process."""
    folder = Path(task.store_url).parent
    if (folder / "cause").exists() and {g.seed for g in getattr(task, "groups", ())} == {2}:
        with (folder / "tries").open("a") as file:
            file.write(f"{task.batch_id}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    run_task(task, **options)
