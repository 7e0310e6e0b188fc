"""What decides results in a process, and workers in which it is something else."""

import functools
import logging
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

from drfarm.errors import FarmFailed
from store import DrfarmError

DECIDES = ("drfarm", "python", "torch", "numpy", "distributed")
"""Where these differ, results could, or the two can't speak with each other."""
SHOWN = (*DECIDES, "zarr", "dask")

_PATIENCE_S = 120.0
"""So long without one worker that fits, and the farm gives up."""
_log = logging.getLogger("drfarm.farm")


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
    differ = [f"{name} {here[name]} for {asking.get(name)}" for name in DECIDES if here[name] != asking.get(name)]
    if differ:
        raise OtherVersions(", ".join(differ))


class Unfit:
    """Workers that have refused to work, having joined since the others were asked: they get nothing more."""

    def __init__(self) -> None:
        self._workers: set[str] = set()
        self._alone_since: float | None = None
        self._why = ""

    def leave_out(self, worker: str, why: OtherVersions) -> None:
        """Give a worker no task any more, and say so."""
        self._workers.add(worker)
        self._why = f"{worker} has {why}"
        _log.warning(
            "left out, as its results could differ from this process's: %s. Install the same there and here.", self._why
        )

    def without(self, workers: Sequence[str], now: float) -> Sequence[str]:
        """Return those of the workers that fit.

        Raises
        ------
        FarmFailed
            If there has been none for too long, and there are others.
        """
        if not self._workers:
            return workers
        fit = [w for w in workers if w not in self._workers]
        if fit or not workers:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > _PATIENCE_S:
            raise FarmFailed(
                f"for {_PATIENCE_S:.0f} s every worker has had other versions than this process, and results could "
                f"differ ({self._why}). Install the same there and here; then run again: what is finished is kept."
            )
        return fit
