"""Re-reading all of one representation: ledger, small arrays and chunks, each held against what was written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from store import ledger
from store._feature_reader import Features
from store._opened import Opened, read_opened
from store.errors import NotFound, StoreError, UnsupportedFormat
from store.fallbacks import read_fallback
from store.ledger import ChunkEntry
from store.objects import Objects

_Entries = Mapping[tuple[int, int], ChunkEntry]
_Discard = Callable[[Sequence[tuple[int, int]]], None]


def check_representation(
    objects: Objects,
    rep_id: str,
    *,
    reader: Callable[[Opened, _Entries], Features],
    forget: Callable[[], None],
    discard: _Discard,
) -> Iterator[tuple[str, str | None, Callable[[], None]]]:
    """Re-read all of one representation, object by object.

    Parameters
    ----------
    objects
        Where it is.
    rep_id
        Its id.
    reader
        Makes what reads it, of these chunks.
    forget
        Forgets all of it.
    discard
        Forgets the seal and these chunks.

    Yields
    ------
    tuple
        Name of the object; what is wrong with it, None where it is what was written; what forgets it.
    """
    name = ledger.fallback_key(rep_id)
    opened = None
    try:
        if read_fallback(objects, rep_id) is not None:
            yield name, None, forget
            return  # whatever else there is of it, nobody reads it
        name = ledger.opened_key(rep_id)
        opened = read_opened(objects, rep_id)
    except UnsupportedFormat as e:
        refused = e

        def refuse() -> None:
            raise refused

        yield name, str(e), refuse
        return
    except StoreError as e:
        yield name, str(e), forget
        return
    if opened is None:
        yield name, f"{name} is missing, but the ledger has more of this representation.", forget
        return
    yield name, None, forget
    small = reader(opened, {})
    for name in small.small_objects():
        yield name, _problem(partial(small.check_small_object, name)), forget
    entries = {}
    for name, reason, cells, undo in _check_ledger(objects, rep_id, opened, discard):
        yield name, reason, undo
        entries.update(cells)
    features = reader(opened, entries)
    for cell in sorted(entries):
        reason = _problem(partial(features.check_chunk, *cell))
        yield features.chunk_object(*cell), reason, partial(discard, [cell])


def _check_ledger(
    objects: Objects, rep_id: str, opened: Opened, discard: _Discard
) -> Iterator[tuple[str, str | None, dict[tuple[int, int], ChunkEntry], Callable[[], None]]]:
    """Re-read the seal and the entries: name, what is wrong, the chunks that it lists, what forgets it."""
    sealed: dict[tuple[int, int], ChunkEntry] = {}
    name = ledger.complete_key(rep_id)
    try:
        sealed = ledger.sealed_entries(objects.get(name), rep_id, opened.grid)
        yield name, None, sealed, partial(discard, [])
    except NotFound:
        pass
    except StoreError as e:
        yield name, str(e), {}, partial(discard, [])
    for cell in opened.grid.cells():
        name = ledger.chunk_key(rep_id, *cell)
        undo = partial(discard, [cell])
        try:
            entry = ChunkEntry.from_json(objects.get(name), where=name)
            entry.held_against(opened.grid, cell, where=name)
        except NotFound:
            continue
        except StoreError as e:
            yield name, str(e), {}, undo
            continue
        if sealed and sealed[cell] != entry:
            yield name, f"{name} is not the entry that {ledger.complete_key(rep_id)} has.", {}, undo
        else:
            yield name, None, {cell: entry}, undo


def _problem(look: Callable[[], None]) -> str | None:
    """Say what is wrong with what ``look`` looks at."""
    try:
        look()
    except (StoreError, ValueError, RuntimeError) as e:
        return str(e)
    return None
