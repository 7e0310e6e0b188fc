"""Which task a worker is given next: long ones early, and where what they read is in memory already. Pure (no I/O)."""

import heapq
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

KEPT = 1
"""Representations that a worker is taken to have in memory: those that it read last."""
HALF = 0.5
"""A task goes before a longer one for what its worker has in memory, if it takes at least this share of its time ..."""
FAR = 4.0
"""... and while what waits would keep every worker busy for so many times the longer one: the end is longest first."""

SHARE = 1.0
"""A task that takes more than this share of what waits for each worker is cut: workers end together, however many."""

_AGAIN, _MAKES, _READS = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Generic[T]):
    """Which tasks wait for which, and how long they take."""

    makes: Callable[[T], Hashable | None] = lambda _: None
    """What a task makes that others read; None where nothing."""
    needs: Callable[[T], Iterable[Hashable]] = lambda _: ()
    """What it reads of that."""
    seconds: Callable[[T], float] = lambda _: 0.0
    """How long it is expected to take, in seconds; where all are alike, tasks start in the order given."""
    cut: Callable[[T], Sequence[T]] = lambda task: (task,)
    """Cuts a task into shorter ones that do the same; itself where that is not possible, or not worth it."""


# How soon, minus the weight, a number that none shares, the task, the try: sorted as it is to start.
_Entry = tuple[int, float, int, T, int]


@dataclass(slots=True, kw_only=True)
class _Group(Generic[T]):
    """Startable tasks that read one representation."""

    entries: list[_Entry[T]] = field(default_factory=list)
    """A heap."""
    keepers: int = 0
    """Workers that are taken to have it in memory."""


class Waiting(Generic[T]):
    """Tasks that wait for a worker. Deterministic; what each call takes grows with the logarithm of their number.

    What others wait for starts first, then the longest; a task that failed counts as half as long for each try, so
    that others of its length go before it. Of tasks that may go first, a worker is given one that reads what it
    read last; else one that reads what fewest workers have in memory.

    A task may go before the longest one that could start if it is as long; or at least half as long, while so much
    waits that the longest would still not be the last to end. Towards the end tasks are cut, as they are taken, by
    what waits for each of the workers that have asked.

    Parameters
    ----------
    tasks
        What is to run, each once; in the order in which to start where times are equal.
    order
        Which wait for which, and their times. What none of the tasks makes is there.
    reads
        The representations that a task reads, the one worth keeping first; empty where none is.
    """

    def __init__(self, tasks: Iterable[T], order: Order[T], reads: Callable[[T], Sequence[Hashable]]) -> None:
        self._order = order
        self._reads = reads
        self._groups: dict[Hashable, _Group[T]] = {}
        self._by_keepers: dict[int, list[tuple[tuple[int, float, int], Hashable]]] = {}
        self._blocked: dict[Hashable, list[list[Any]]] = {}
        self._kept: dict[str, list[Hashable]] = {}
        self._n = self._number = 0
        self._seconds = 0.0
        tasks = list(tasks)
        self._unmade = {made for task in tasks if (made := order.makes(task)) is not None}
        for task in tasks:
            self._add(task, 1)

    def __len__(self) -> int:
        """Return how many wait, those that can't start yet included."""
        return self._n

    def take(self, worker: str) -> tuple[T, int] | None:
        """Return what a worker is to do next and which try it is, from 1; None where all that wait need others.

        Parameters
        ----------
        worker
            Its address; what it has read is known by it.
        """
        mine = self._kept.setdefault(worker, [])
        heads = [h for level in sorted(self._by_keepers) if (h := self._head(level)) is not None]
        if not heads:
            return None
        first = min(key for key, _ in heads)
        local = [(self._groups[home].entries[0][:3], home) for home in mine if self._startable(home)]
        home = next(home for key, home in (*local, *heads) if self._may_precede(key, first))
        entry = heapq.heappop(self._groups[home].entries)
        self._keep(mine, home)
        self._show(home)
        self._n -= 1
        self._seconds -= self._order.seconds(entry[3])
        task = self._cut(entry[3])
        return task, entry[4] if task is entry[3] else 1

    def retry(self, task: T, attempt: int) -> None:
        """Put a task that failed behind others of its length.

        Parameters
        ----------
        task
            The task, or a part of it that stands for it now.
        attempt
            Which try the next is, from 1.
        """
        self._add(task, attempt)

    def again(self, task: T, attempt: int) -> None:
        """Put a task before all others: it was taken, and never reached its worker."""
        self._add(task, attempt, first=True)

    def made(self, thing: Hashable) -> None:
        """Let those start that wait for a thing: it is there, or never will be."""
        self._unmade.discard(thing)
        for waits in self._blocked.pop(thing, ()):
            waits[0] -= 1
            if not waits[0]:
                self._push(waits[1])

    def forget(self, worker: str) -> None:
        """Count no longer on what a worker has in memory: it is gone."""
        for home in self._kept.pop(worker, ()):
            self._groups[home].keepers -= 1
            self._show(home)

    def _cut(self, task: T) -> T:
        """Cut a task that is too long for what is left; return its first part, and let the others wait.

        A part is a task of its own, with all its tries: it need not fail for what made the whole fail.
        """
        while (seconds := self._order.seconds(task)) > SHARE * (self._seconds + seconds) / len(self._kept):
            first, *others = self._order.cut(task)
            if not others:
                break
            for part in others:
                self._add(part, 1)
            task = first
        return task

    def _add(self, task: T, attempt: int, *, first: bool = False) -> None:
        seconds, makes = self._order.seconds(task), self._order.makes(task) is not None
        self._number += 1
        self._n += 1
        self._seconds += seconds
        sooner = _AGAIN if first else _MAKES if makes else _READS
        # An earlier number is further forward: of those that come back to the front, the last one is.
        number = -self._number if first else self._number
        entry = (sooner, -seconds * HALF ** (attempt - 1), number, task, attempt)
        missing = () if makes else self._unmade.intersection(self._order.needs(task))
        if not missing:
            self._push(entry)
            return
        waits: list[Any] = [len(missing), entry]
        for thing in missing:
            self._blocked.setdefault(thing, []).append(waits)

    def _push(self, entry: _Entry[T]) -> None:
        reads = self._reads(entry[3])
        home = reads[0] if reads else None
        group = self._groups.setdefault(home, _Group())
        heapq.heappush(group.entries, entry)
        if group.entries[0] is entry:
            self._show(home)

    def _startable(self, home: Hashable) -> bool:
        return home in self._groups and bool(self._groups[home].entries)

    def _show(self, home: Hashable) -> None:
        """List a group by its first task and its keepers; what was listed of it before is stale."""
        group = self._groups[home]
        if group.entries:
            heapq.heappush(self._by_keepers.setdefault(group.keepers, []), (group.entries[0][:3], home))

    def _head(self, keepers: int) -> tuple[tuple[int, float, int], Hashable] | None:
        """Return the first task of the groups that so many workers keep, and whose it is."""
        listed = self._by_keepers[keepers]
        while listed:
            key, home = listed[0]
            group = self._groups[home]
            if group.keepers == keepers and group.entries and group.entries[0][:3] == key:
                return listed[0]
            heapq.heappop(listed)
        del self._by_keepers[keepers]
        return None

    def _may_precede(self, key: tuple[int, float, int], first: tuple[int, float, int]) -> bool:
        """Say whether a task may start before the one that is first in line."""
        if key[0] != first[0] or key[0] == _AGAIN:
            return key == first
        longest = -first[1]
        if -key[1] >= longest:
            return True
        return -key[1] >= HALF * longest and self._seconds >= FAR * longest * len(self._kept)

    def _keep(self, mine: list[Hashable], home: Hashable) -> None:
        """Note that a worker reads a representation now, and gives up the one that it read longest ago."""
        if home is None:
            return
        if home in mine:
            mine.remove(home)
        else:
            self._groups[home].keepers += 1
        mine.insert(0, home)
        if len(mine) > KEPT:
            gone = mine.pop()
            self._groups[gone].keepers -= 1
            self._show(gone)
