"""What decides results in a process, and refusing to work where it is something else."""

import functools
import platform
from collections.abc import Mapping
from importlib import metadata

from store import DrfarmError

DECIDES = ("drfarm", "python", "torch", "numpy", "distributed")
"""Where these differ, results could, or the two can't speak with each other."""
SHOWN = (*DECIDES, "zarr", "dask")


class OtherVersions(DrfarmError):
    """A worker would not do what it is asked as the process does that asks."""


def versions() -> dict[str, str]:
    """Return what decides results in this process, without importing it.

    Of ``python`` the minor version; of a package without what follows a plus sign, which names a build.
    """
    return dict(_versions())


@functools.cache
def _versions() -> Mapping[str, str]:
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in SHOWN:
        if name != "python":
            try:
                found[name] = metadata.version(name).partition("+")[0]
            except metadata.PackageNotFoundError:
                found[name] = "none"
    return found


def check_same(asking: Mapping[str, str]) -> None:
    """Refuse to work, in a worker, for a process that would measure otherwise; it costs microseconds.

    Parameters
    ----------
    asking
        What `versions` returned there.

    Raises
    ------
    OtherVersions
        With what differs.
    """
    here = _versions()
    differ = [
        f"{name} {here[name]} instead of {asking.get(name)}" for name in DECIDES if here[name] != asking.get(name)
    ]
    if differ:
        raise OtherVersions(", ".join(differ))
