"""What a worker process has in memory from the last task, for the next block of the same representation.

A task that finds its training features here does not read them; it gets the very bits that it would have read. What
is in the store is held against its checksums when it is read, so a bit that flips on disk later is seen by the next
task that reads it, not by one that finds it here.
"""

import threading
from collections import OrderedDict

from probe._resident import Resident
from probe.spec import ProbeTask, Task
from probe.subsets import parse_method
from store import Features

Address = tuple[str, str]
"""The representation, and a digest of what is stored of one view of it."""


def kept_by(task: Task) -> tuple[str, ...]:
    """Return the representations that a task leaves in memory, and would use if they were there.

    Those are the training features of SGD. The other solvers read statistics and the rows of a few coordinates, and
    projected features are of no use to the next block.
    """
    if not isinstance(task, ProbeTask) or task.setting.solver != "sgd":
        return ()
    if any(parse_method(g.method).projects for g in task.groups):
        return ()
    return (task.setting.train_id,)


class Kept:
    """Training features that tasks of this process have left in memory.

    It never makes a process larger than a task that has run in it was predicted to be: a worker has the memory for
    its largest task, and what others need less of that is what may stay. Safe in threads: what a task takes is its
    own until it leaves it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._residents: OrderedDict[Address, Resident] = OrderedDict()
        self._most_bytes = 0

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return sum(r.x.nbytes for r in self._residents.values())

    def make_room(self, task: Task) -> None:
        """Give up what a task leaves no memory for, what was used longest ago first; what it uses itself may stay."""
        mine = kept_by(task)
        with self._lock:
            self._most_bytes = max(self._most_bytes, task.predicted_bytes)
            room = self._most_bytes - task.predicted_bytes
            others = [a for a in self._residents if a[0] not in mine]
            size = sum(self._residents[a].x.nbytes for a in others)
            for address in others:
                if size <= room:
                    break
                size -= self._residents.pop(address).x.nbytes

    def take(self, features: Features, view: int) -> Resident | None:
        """Return what is here of a view, the task's own from now on; all else of the representation is given up."""
        wanted = (features.id, features.written(view))
        with self._lock:
            found = self._residents.get(wanted)
            for address in [a for a in self._residents if a[0] == features.id]:
                del self._residents[address]
        return found

    def leave(self, features: Features, resident: Resident) -> None:
        """Keep what a task had in memory of a view of a representation, in place of what else is here of it."""
        self.take(features, resident.view)
        with self._lock:
            self._residents[features.id, features.written(resident.view)] = resident

    def clear(self) -> None:
        """Give up everything."""
        with self._lock:
            self._residents.clear()
