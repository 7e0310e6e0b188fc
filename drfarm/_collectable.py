"""What lies in a store, sorted by what it belongs to: all that a collection looks at, from four listings."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from store import ledger, neuron_sets, statistics
from store.objects import ObjectInfo, Objects

_GROUP = re.compile(r"(features/[^/]+/[^/]+/[^/]+/[^/]+/([0-9a-f]{64}))/")
_LEDGER = re.compile(rf"({ledger.ROOT}/([0-9a-f]{{64}}))/")
_STATISTICS = re.compile(rf"({statistics.ROOT}/([0-9a-f]{{64}}))/")
_NEURONS = re.compile(rf"({neuron_sets.ROOT}/([0-9a-f]{{64}})\.int64)\Z")


@dataclass(slots=True)
class Found:
    """All objects of one representation, whatever is left of it."""

    id: str
    """Its id."""
    ledger: list[ObjectInfo] = field(default_factory=list)
    """What the ledger has of it."""
    group: list[ObjectInfo] = field(default_factory=list)
    """Its Zarr group, chunks and all."""
    statistics: list[ObjectInfo] = field(default_factory=list)
    """What was computed from it."""

    @property
    def opened(self) -> bool:
        """Whether the ledger says what it is."""
        return self._has(ledger.opened_key(self.id))

    @property
    def sealed(self) -> bool:
        """Whether it is complete."""
        return self._has(ledger.complete_key(self.id))

    @property
    def fallen(self) -> bool:
        """Whether another representation stands in for it."""
        return self._has(ledger.fallback_key(self.id))

    @property
    def path(self) -> str:
        """Where most of it is: its group, or else what there is."""
        name = next(self._all()).key
        match = _GROUP.match(name) or _LEDGER.match(name) or _STATISTICS.match(name)
        return name if match is None else match[1]

    def n_bytes(self, without: Collection[str] = ()) -> int:
        """Return what it takes in the store, but for some objects."""
        return sum(o.size_bytes for o in self._all() if o.key not in without)

    def written_after(self, moment: datetime) -> bool:
        """Say whether any of it but the statistics was written later than this."""
        return any(o.modified > moment for o in (*self.ledger, *self.group))

    def in_order(self, without: Collection[str] = ()) -> tuple[str, ...]:
        """Return the names of its objects, but for some, in the order in which they can go.

        The seal goes first: from then on nobody reads it. What tells where the chunks are goes after them, and what
        tells that it fell back goes last: killed anywhere, the next collection knows what it is.
        """
        first, last = ledger.complete_key(self.id), (ledger.opened_key(self.id), ledger.fallback_key(self.id))
        names = [o.key for o in (*self.statistics, *self.ledger, *self.group)]
        middle = [n for n in names if n != first and n not in last]
        order = [first, *middle, *last]
        present = set(names) - set(without)
        return tuple(n for n in order if n in present)

    def _all(self) -> Iterator[ObjectInfo]:
        yield from self.group
        yield from self.ledger
        yield from self.statistics

    def _has(self, name: str) -> bool:
        return any(o.key == name for o in self.ledger)


def found_representations(objects: Objects) -> dict[str, Found]:
    """Return what there is of every representation, by id."""
    found: dict[str, Found] = {}
    for pattern, folder, part in (
        (_LEDGER, ledger.ROOT, "ledger"),
        (_GROUP, "features", "group"),
        (_STATISTICS, statistics.ROOT, "statistics"),
    ):
        for rep_id, info in _matching(pattern, objects.list(folder)):
            getattr(found.setdefault(rep_id, Found(rep_id)), part).append(info)
    return dict(sorted(found.items()))


def found_neuron_sets(objects: Objects) -> dict[str, ObjectInfo]:
    """Return every set of neurons, by digest."""
    return dict(_matching(_NEURONS, objects.list(neuron_sets.ROOT)))


def _matching(pattern: re.Pattern[str], infos: Iterable[ObjectInfo]) -> Iterator[tuple[str, ObjectInfo]]:
    for info in infos:
        match = pattern.match(info.key)
        if match is not None:
            yield match[2], info
