"""What happens in a run, and who is shown it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from drfarm.progress._figures import Figures
from store import JSON

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    event: str
    """What: ``message``, ``stage.started``, ``stage.ended``, ``stage.progress``, ``batch.started``, ``batch.done``,
    ``batch.retried``, ``batch.failed``."""
    message: str
    """It in words, on one or more lines, without secrets."""
    level: Level = "info"
    """How much it should worry a person."""
    study: str | None = None
    """Name of the study, where there is one."""
    stage: str | None = None
    """``extract`` or ``probe``, where it belongs to one."""
    batch: str | None = None
    """Id of the batch, where it is of one."""
    worker: str | None = None
    """Address of the worker that has, or had, the batch."""
    more: Mapping[str, JSON] = field(default_factory=dict)
    """Figures that belong to it."""


class View(Protocol):
    """Something that shows a run: called by one thread at a time, and not while a stage's figures change."""

    def opened(self, figures: Figures) -> None:
        """See that a stage begins."""
        ...

    def changed(self, figures: Figures) -> None:
        """See that the figures of the stage are others; may be called thousands of times a second."""
        ...

    def happened(self, event: Event) -> None:
        """See something happen."""
        ...

    def closed(self, figures: Figures, *, whole: bool) -> None:
        """See that the stage ends; not ``whole`` where it broke off."""
        ...
