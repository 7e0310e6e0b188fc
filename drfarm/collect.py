"""What no study needs any more: planned, shown, then removed.

`plan_collection` only looks. `carry_out` plans again and removes what both plans name, so that a study that was planned
in between keeps what it needs. Killed anywhere, it leaves nothing that reads as whole: the seal of a representation
goes first, then its chunks, and what tells where they are goes last, so that the next collection goes on.
"""

from collections.abc import Collection as AnyOf
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from drfarm._collectable import Found, found_neuron_sets, found_representations
from store import InvalidRequest, RepresentationKey, Store, StoreError, UnknownName, UnsupportedFormat, ledger

BUSY = timedelta(hours=1)
"""What is not complete and was written to since is left alone: someone may be writing it."""

What = Literal["representation", "leftover", "statistics", "neurons"]
"""What sort of thing is removed."""

_ORDER: tuple[What, ...] = ("representation", "leftover", "statistics", "neurons")
"""The order in which things go: sets of neurons after what kept them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One thing that goes."""

    what: What
    """What sort of thing it is."""
    path: str
    """Readable path."""
    id: str
    """Id of the representation, or digest of the neurons."""
    n_bytes: int
    """What it takes in the store."""
    why: str
    """Why it goes."""
    objects: tuple[str, ...]
    """Names of its objects, in the order in which they go."""
    unless: str | None = None
    """Name of an object that, where it is there by then, says that someone needs this after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One representation that stays."""

    path: str
    """Readable path."""
    id: str
    """Its id."""
    n_bytes: int
    """What it takes in the store."""
    studies: tuple[str, ...]
    """The studies that name it."""
    why: str | None = None
    """Why it stays where no study names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What would be removed, and what would stay."""

    removals: tuple[Removal, ...]
    """What goes, representations first."""
    kept: tuple[Kept, ...]
    """Representations that stay, by path."""
    without: tuple[str, ...] = ()
    """Studies that are forgotten, so that they keep nothing."""
    refusals: tuple[str, ...] = ()
    """Why nothing can be removed; empty where it can."""

    @property
    def n_bytes(self) -> int:
        """What is freed."""
        return sum(r.n_bytes for r in self.removals)


def plan_collection(store: Store, *, without: AnyOf[str] = (), now: datetime | None = None) -> Collection:
    """Say what no study needs: representations, their statistics, sets of neurons, and what was left half-made.

    Results are never removed: they are small, and carry the ids of what they were measured on.

    Parameters
    ----------
    store
        The store; nothing in it is changed.
    without
        Studies that are to be forgotten: they keep nothing.
    now
        What time it is (UTC); by default the clock's.

    Raises
    ------
    UnknownName
        If there is no study of a name in ``without``.
    """
    try:
        named = store.named_representations()
    except StoreError as e:
        return Collection(removals=(), kept=(), refusals=(f"a study can't be read, so what it needs is unknown: {e}",))
    for name in without:
        if name not in named:
            raise UnknownName.among("study", name, named, where=store.url)
    refusals = [
        f"study {name!r} was written down by an earlier drfarm, which did not say what it needs. Run it again (what is "
        "done is not done again), or forget it."
        for name, ids in named.items()
        if ids is None and name not in without
    ]
    found = found_representations(store.objects)
    studies: dict[str, set[str]] = {}
    for name in named.keys() - set(without):
        for rep_id in named[name] or ():
            studies.setdefault(rep_id, set()).add(name)
    for rep in found.values():
        if not rep.fallen:
            continue
        try:
            stand_in = store.features.fallback(rep.id)
        except StoreError as e:
            if rep.id in studies:
                refusals.append(f"what stands in for a representation can't be read: {e}")
            continue
        if stand_in is not None:  # who names the one needs the other: without the record it would overflow again
            both = studies.get(rep.id, set()) | studies.get(stand_in, set())
            studies.update({i: both for i in (rep.id, stand_in) if both})
    if refusals:
        return Collection(removals=(), kept=(), without=tuple(without), refusals=tuple(refusals))
    return _sort(store, found, studies, (now or datetime.now(UTC)) - BUSY, tuple(without))


def carry_out(store: Store, collection: Collection) -> tuple[Removal, ...]:
    """Remove what a plan says and a new plan says too; return what was removed.

    Raises
    ------
    InvalidRequest
        If the plan, or the new one, refuses; nothing is removed then.
    Corrupt
        If a study can't be read any more; nothing is removed then.
    """
    fresh = collection
    if not collection.refusals:
        there = store.named_representations()
        fresh = plan_collection(store, without=[n for n in collection.without if n in there])
    if fresh.refusals:
        raise InvalidRequest(f"{store.url}: nothing was removed: {' '.join(fresh.refusals)}")
    for name in collection.without:
        store.drop_study(name)
    agreed = {(r.what, r.path, r.id) for r in collection.removals}
    removed = []
    for removal in fresh.removals:
        if (removal.what, removal.path, removal.id) not in agreed:
            continue
        if removal.unless is not None and store.objects.exists(removal.unless):
            continue
        store.objects.delete(removal.objects)
        removed.append(removal)
    return tuple(removed)


def collection_text(collection: Collection) -> str:
    """Tell what would be removed, why, and what stays."""
    from drfarm._show import size, text_table

    if collection.refusals:
        return "\n".join(["nothing can be removed:", *(f"  {r}" for r in collection.refusals)])
    lines = []
    if collection.without:
        lines.append(f"forgotten: {', '.join(collection.without)}")
    if collection.removals:
        rows = [(r.what, r.path, size(r.n_bytes), r.why) for r in collection.removals]
        lines += [text_table(("to remove", "path", "stored", "why"), rows), f"{size(collection.n_bytes)} in all"]
    else:
        lines.append("there is nothing to remove.")
    n_named: dict[str, int] = {}
    for kept in collection.kept:
        for name in kept.studies:
            n_named[name] = n_named.get(name, 0) + 1
    stays = f"{len(collection.kept)} representations stay, {size(sum(k.n_bytes for k in collection.kept))}"
    told = [f"study {name} names {n}" for name, n in sorted(n_named.items())]
    lines.append("; ".join([stays, *told]))
    lines += [f"  {k.path}: {k.why}" for k in collection.kept if k.why is not None]
    if not n_named:
        lines.append("note: no study names anything in this store.")
    lines.append("results stay, all of them: they are small, and say what they were measured on.")
    return "\n".join(lines)


def _sort(
    store: Store,
    found: Mapping[str, Found],
    studies: Mapping[str, AnyOf[str]],
    since: datetime,
    without: tuple[str, ...],
) -> Collection:
    removals: list[Removal] = []
    kept: list[Kept] = []
    needed: set[str | None] = set()
    # One that is planned and not begun may need any set of neurons: which one, only its own record would say.
    sure = all(i in found and (found[i].opened or found[i].fallen) for i in studies)
    for rep in found.values():
        key, newer = _key(store, rep)
        decided = _decide(rep, key, tuple(sorted(studies.get(rep.id, ()))), since, newer=newer)
        if isinstance(decided, Removal):
            removals.append(decided)
        elif decided is not None:
            kept.append(decided)
            needed.add(None if key is None else key.neurons)
            sure = sure and key is not None
    if sure:
        removals += [
            _removal("neurons", info.key, digest, [info.key], info.size_bytes, "no representation keeps these neurons")
            for digest, info in found_neuron_sets(store.objects).items()
            if digest not in needed and info.modified <= since
        ]
    removals.sort(key=lambda r: (_ORDER.index(r.what), r.path, r.id))
    return Collection(removals=tuple(removals), kept=tuple(sorted(kept, key=lambda k: k.path)), without=without)


def _key(store: Store, rep: Found) -> tuple[RepresentationKey | None, str | None]:
    """Return what a representation is; None where that can't be read, and why it must stay then."""
    try:
        return (store.features.key(rep.id) if rep.opened else None), None
    except UnsupportedFormat as e:
        return None, str(e)
    except StoreError:  # damaged, or removed just now
        return None, None


def _decide(
    rep: Found, key: RepresentationKey | None, studies: tuple[str, ...], since: datetime, *, newer: str | None
) -> Removal | Kept | None:
    """Say what becomes of a representation; None where there is nothing of it that could go or be used."""
    path = rep.path if key is None else key.path
    names, opened = rep.in_order(), ledger.opened_key(rep.id)
    busy = rep.written_after(since)
    if rep.fallen:
        stays = [ledger.fallback_key(rep.id)] if studies or busy else []
        names, n_bytes = rep.in_order(without=stays), rep.n_bytes(without=stays)
        why = "another representation stands in for it"
        return _removal("leftover", path, rep.id, names, n_bytes, why) if names else None
    n_bytes = rep.n_bytes()
    if newer is not None or (rep.opened and studies):
        return Kept(path=path, id=rep.id, n_bytes=n_bytes, studies=studies, why=newer)
    if busy and not rep.sealed:
        return Kept(path=path, id=rep.id, n_bytes=n_bytes, studies=studies, why="begun, and written to within the hour")
    if rep.opened:
        return _removal("representation", path, rep.id, names, n_bytes, "no study names it")
    what: What = "leftover" if rep.ledger or rep.group else "statistics"
    return _removal(what, path, rep.id, names, n_bytes, "its ledger is gone", unless=opened)


def _removal(
    what: What, path: str, rep_id: str, names: Iterable[str], n_bytes: int, why: str, *, unless: str | None = None
) -> Removal:
    return Removal(what=what, path=path, id=rep_id, n_bytes=n_bytes, why=why, objects=tuple(names), unless=unless)
