"""What feeding is given: tasks, a farm, who is told, and how tasks are to be run."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from drfarm.farm._deadline import Pace
from drfarm.farm._waiting import Order


class FarmTask(Protocol):
    """What the farm knows of a task."""

    @property
    def batch_id(self) -> str:
        """What it makes, by identity."""
        ...

    @property
    def title(self) -> str:
        """What it is, as told to people."""
        ...


T = TypeVar("T", bound=FarmTask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Generic[T]):
    """A batch that was given up."""

    task: T
    """What it was."""
    error: str
    """Why, as told to people."""
    attempts: int
    """How often it was tried."""
    log: str = ""
    """The end of its last worker's log, or of the traceback: lines for whoever looks for the cause."""


class Farm(Protocol):
    """Worker processes, wherever they are."""

    @property
    def blames_lost(self) -> bool:
        """Whether a task that vanished with its worker has used up a try."""
        ...

    def excuses(self, worker: str, batch_id: str) -> bool:
        """Say whether a batch is not to blame for the death of its worker: what ran the worker was ended."""
        ...

    def leave_out(self, worker: str, why: str) -> None:
        """Use a worker no more: it would measure otherwise than this process.

        Raises
        ------
        FarmFailed
            If nothing can be measured then.
        """
        ...

    def has_room(self, n_flying: int) -> bool:
        """Say whether a worker may be free while so many tasks are out."""
        ...

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers that live now.

        Raises
        ------
        FarmFailed
            If there has been none for too long.
        """
        ...

    @property
    def client(self) -> Any:
        """The client of its cluster, which may be another one after its scheduler was started again."""
        ...

    def submit(self, work: Callable[[Any], object], task: Any, worker: str) -> Any:
        """Hand a task to one worker and return its future; its death is told at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Generic[T]):
    """Who is told, in the thread that feeds."""

    done: Callable[[T, Any], None]
    """A batch is written; with what the work returned, where that is fetched, else None."""
    failed: Callable[[Failure[T]], None]
    """A batch is given up after `ATTEMPTS` tries, or at once where trying again can't help."""
    retried: Callable[[T, str], None]
    """A batch is tried again, whole or halved, with the reason."""
    started: Callable[[T, str], None] = lambda _task, _worker: None
    """A batch is handed to the worker at an address."""
    fetches: bool = False
    """Whether what the work returns is fetched; it is small then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways(Generic[T]):
    """How tasks are to be run, beside what they do."""

    order: Order[T] = field(default_factory=Order)
    """Which wait for which."""
    reads: Callable[[T], Sequence[Hashable]] = lambda _: ()
    """The representations that a task reads, the one worth keeping in memory first."""
    halves: Callable[[T], Sequence[T]] = lambda task: (task,)
    """Cuts a task that took too much memory; itself where that is not possible, or would not help."""
    is_made: Callable[[T], bool] = lambda _: False
    """Says of a task whose worker died whether what it makes is there, whole: it may have died after that."""
    pace: Pace = field(default_factory=lambda: Pace(predicts=False))
    """Says when a task hangs; it learns while tasks run."""
    amount: Callable[[T], float] = lambda _: 0.0
    """What a task is to do, in the pace's unit."""
    amount_done: Callable[[T, Any], float] | None = None
    """What it has done, from what the work returned; by default, what it was to do."""
