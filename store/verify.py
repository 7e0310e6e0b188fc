"""Re-reading everything: each chunk, small array, record and results file, held against what was written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from store.root import Store
from store.schema import KINDS

ObjectKind: TypeAlias = Literal[
    "representation", "chunk", "statistics", "neurons", "results", "study", "rate", "setting"
]
"""What sort of object something is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One bad object."""

    kind: ObjectKind
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
    """Re-read every representation, results file and record; yield what was found, object by object.

    Statistics are derived data: of those whose representation is gone, too, nothing is lost when they are removed.
    A representation that is begun but not complete is no problem; what is finished of it is re-read.
    """
    for rep_id in store.features.ids():
        chunks = f"/{rep_id}/activations/c/"
        for name, reason, discard in store.features.check(rep_id):
            yield _checked("chunk" if chunks in name else "representation", name, reason, discard)
    for name, reason, discard in store.statistics.check():
        yield _checked("statistics", name, reason, discard)
    for name, reason, discard in store.neuron_sets.check():
        yield _checked("neurons", name, reason, discard)
    for kind in KINDS:
        for name, reason in store.results.check(kind):
            yield _checked("results", name, reason, partial(store.results.discard, name))
    for name, reason, discard in store.check_studies():
        yield _checked("study", name, reason, discard)
    for name, reason, discard in store.rates.check():
        yield _checked("rate", name, reason, discard)
    for name, reason, discard in store.settings.check():
        yield _checked("setting", name, reason, discard)


def _checked(kind: ObjectKind, name: str, reason: str | None, discard: Callable[[], None]) -> Checked:
    problem = None if reason is None else Problem(kind=kind, name=name, reason=reason, discard=discard)
    return Checked(name=name, problem=problem)
