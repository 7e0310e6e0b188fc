"""What can go wrong, grouped by what the caller does next.

    DrfarmError                     everything drfarm raises on purpose
    ├── InvalidRequest              the request was wrong; nothing was started (exit code 2)
    │   └── UnknownName             a name that is not among the known ones; says the nearest
    └── StoreError                  the store could not do what was asked
        ├── NotFound                no such object
        ├── Incomplete              a representation whose ledger is not complete: it is not readable
        ├── Corrupt                 bytes are not those that were written
        ├── Conflict                two different results claim one identity
        ├── UnsupportedFormat       written by a newer drfarm, or not a store at all
        ├── Overflow                a value does not fit the stored dtype
        └── StorageFailure          the file system or object store refused (full, read-only, unreachable)

All arguments are positional, so that errors survive the trip between processes.
"""

import difflib
from collections.abc import Iterable
from typing import Self


class DrfarmError(Exception):
    """Root of every error that drfarm raises on purpose."""

    def __str__(self) -> str:
        return " ".join(str(a) for a in self.args)


class InvalidRequest(DrfarmError, ValueError):
    """The request was wrong; nothing was started."""


class UnknownName(InvalidRequest, KeyError):
    """A name that is not among the known ones."""

    @classmethod
    def among(cls, what: str, got: str, allowed: Iterable[str], *, where: str = "", most: int = 12) -> Self:
        """Build the error with the nearest valid name.

        Parameters
        ----------
        what
            What the name stands for, such as ``"model"``.
        got
            The unknown name.
        allowed
            The valid names; the nearest is offered and, where there are few, all are listed.
        where
            Where the name was written, such as ``"study.yaml: models.0.source"``.
        most
            Most names that are listed.
        """
        names = sorted(set(allowed))
        folded = {name.casefold(): name for name in names}
        near = difflib.get_close_matches(str(got).casefold(), folded, n=1, cutoff=0.5)
        message = f"{where + ': ' if where else ''}there is no {what} {got!r}."
        if near:
            message += f" Did you mean {folded[near[0]]!r}?"
        if names and len(names) <= most:
            message += f" Known: {', '.join(names)}."
        elif names and not near:
            message += f" Known: {', '.join(names[:most])}, ... ({len(names)} in all)."
        return cls(message)


class StoreError(DrfarmError):
    """The store could not do what was asked."""


class NotFound(StoreError, KeyError):
    """No such object in the store."""


class Incomplete(StoreError):
    """The ledger of a representation is not complete, so it is not readable."""


class Corrupt(StoreError):
    """Bytes in the store are not those that were written."""


class Conflict(StoreError):
    """Two different results claim one identity; neither replaces the other."""


class UnsupportedFormat(StoreError):
    """The store was written in a format that this drfarm does not know."""


class Overflow(StoreError):
    """A value does not fit the stored dtype."""


class StorageFailure(StoreError, OSError):
    """The file system or object store refused."""
