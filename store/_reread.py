"""Re-reading small objects, one after the other, to tell which are not what was written."""

from collections.abc import Callable, Iterator
from functools import partial

from store.errors import Corrupt, NotFound
from store.objects import ObstoreObjects

Checked = tuple[str, str | None, Callable[[], None]]
"""Name of an object; what is wrong with it, None where it is what was written; what removes it."""


def reread(objects: ObstoreObjects, folder: str, read: Callable[[str], object]) -> Iterator[Checked]:
    """Re-read every object of a folder; one that goes meanwhile is passed over.

    Parameters
    ----------
    objects
        Where they are.
    folder
        Which.
    read
        Reads the object of a name, and raises `Corrupt` where it is not what was written.
    """
    for info in objects.list(folder):
        reason = None
        try:
            read(info.key)
        except NotFound:  # removed since it was listed
            continue
        except Corrupt as e:
            reason = str(e)
        yield info.key, reason, partial(objects.delete, [info.key])
