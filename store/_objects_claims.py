"""Create-only puts on a server that has no conditional ones: content-named claims, and a pause that lets them show.

    .drfarm/claims/<digest of the name>/<digest of the bytes>     a claim: the name's bytes, if it wins

A writer puts its claim, waits, then lists the claims: the smallest digest wins, and everyone agrees on it, for every
claim that could matter is in the listing by then. It rests on one assumption: that a look for the object and the put of
the claim after it take less than the pause, and so do the listing and the put of the object.

Only plain puts, gets and listings are used, so it holds on any server whose listing shows what was put.
"""

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from store.errors import NotFound

HIDDEN = ".drfarm"
"""Folder of what is no object of the store; listings leave it out."""

PAUSE_S = 2.0
"""Seconds between a claim and its listing. Must exceed what two requests take."""

_ROUNDS = 5
"""Rounds before a writer leaves the name to the others."""

_STALE = timedelta(seconds=120)
"""A claim this much older than one's own was left by a process that is gone."""


class Plain(Protocol):
    """What is needed of storage: puts that replace, gets, listings, deletes."""

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        ...

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write the object, replacing one of this name."""
        ...

    def exists(self, key: str) -> bool:
        """Say whether there is an object of this name."""
        ...

    def listed(self, prefix: str) -> list[Any]:
        """Return `ObjectInfo` of all below the folder, hidden ones included."""
        ...

    def delete(self, keys: list[str]) -> None:
        """Remove objects."""
        ...


def put_new(
    objects: Plain, key: str, data: bytes, *, pause_s: float = PAUSE_S, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Write the object unless one of this name exists; say whether its bytes are these now, and were not before.

    Two writers of equal bytes make one claim, so both are told that they wrote it.
    """
    folder = f"{HIDDEN}/claims/{hashlib.sha256(key.encode()).hexdigest()}"
    mine = f"{folder}/{hashlib.sha256(data).hexdigest()}"
    if objects.exists(key):
        return False
    won = False
    for _ in range(_ROUNDS):
        objects.put(mine, data)
        sleep(pause_s)
        claims = {o.key: o.modified for o in objects.listed(folder)}
        # After the listing: where there is no object yet, nobody has removed a claim of this round.
        if objects.exists(key):
            won = objects.get(key) == data  # another writer may have written it in this one's name
            break
        newest = claims.get(mine, max(claims.values(), default=None))
        winner = min((k for k, at in claims.items() if newest is None or at >= newest - _STALE), default=mine)
        if winner == mine:
            objects.put(key, data)
            won = True
            break
        # Its owner may be gone: whoever sees a winner writes it, and all write the same bytes.
        try:
            objects.put(key, objects.get(winner))
        except NotFound:  # its owner gave up, or has written the object and tidied up
            continue
        break
    objects.delete([mine])
    return won
