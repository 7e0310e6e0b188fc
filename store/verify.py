"""Re-reading everything: each chunk, each small array, each results file, held against what was written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from store.root import Store
from store.schema import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One bad object."""

    kind: Literal["representation", "chunk", "results"]
    """What sort of object it is."""
    name: str
    """The object's name in the store."""
    reason: str
    """What is wrong with it."""
    discard: Callable[[], None]
    """Forgets it, so that the next run makes it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One object that was re-read."""

    name: str
    """The object's name in the store."""
    problem: Problem | None
    """None where it is what was written."""


def verify(store: Store) -> Iterator[Checked]:
    """Re-read every representation and every results file, and yield what was found, object by object.

    A representation that is begun but not complete is no problem; what is finished of it is re-read.
    """
    for rep_id in store.features.ids():
        chunks = f"/{rep_id}/activations/c/"
        for name, reason, discard in store.features.check(rep_id):
            yield _checked("chunk" if chunks in name else "representation", name, reason, discard)
    for kind in KINDS:
        for name, reason in store.results.check(kind):
            yield _checked("results", name, reason, partial(store.results.discard, name))


def _checked(
    kind: Literal["representation", "chunk", "results"], name: str, reason: str | None, discard: Callable[[], None]
) -> Checked:
    problem = None if reason is None else Problem(kind=kind, name=name, reason=reason, discard=discard)
    return Checked(name=name, problem=problem)
