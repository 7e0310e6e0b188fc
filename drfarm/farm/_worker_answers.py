"""Asking workers before they get work: whether they would measure the same, and whether they see the store."""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from drfarm.farm._versions import DECIDES, SHOWN, versions
from store import DrfarmError, InvalidRequest, open_store

if TYPE_CHECKING:
    from distributed import Client

_VERSIONS_S = 20.0
"""A worker that does not say its versions for so long is left out: nothing but a stopped process takes so long."""
_STORE_S = 60.0
"""A worker that does not see the store for so long is refused: it may read a slow disk, or wait for a server."""
_MOST_NAMED = 5


class Asked(Protocol):
    """A cluster whose workers are asked."""

    @property
    def client(self) -> "Client":
        """What is connected to it."""
        ...

    @property
    def address(self) -> str:
        """Of its scheduler."""
        ...

    def fitting(self) -> Sequence[Any]:
        """Return its workers that are used; each has an ``address``."""
        ...


async def sees(store_url: str, mark: str) -> str | None:
    """Say why this process does not see an object that another has put into a store; None where it does."""
    return await asyncio.to_thread(_sees, store_url, mark)


def check_versions(farm: Asked) -> frozenset[str]:
    """Refuse workers that could measure otherwise than this process.

    Returns
    -------
    frozenset of str
        Workers that do not answer while others do: stopped processes, which are to be left out.

    Raises
    ------
    InvalidRequest
        With a table of what differs.
    """
    here = versions()
    there: dict[tuple[str, ...], list[str]] = {}
    odd: dict[str, str] = {}
    silent: dict[str, str] = {}
    for worker, answer in _ask(farm, _VERSIONS_S, versions).items():
        if isinstance(answer, Mapping):
            there.setdefault(tuple(str(answer.get(n, "none")) for n in SHOWN), []).append(worker)
        else:
            (silent if isinstance(answer, TimeoutError) else odd)[worker] = _told(answer)
    if odd or (silent and not there):
        raise InvalidRequest(
            f"workers of the cluster at {farm.address} do not say their versions: another drfarm may be there, or "
            f"none. {_listed(odd | silent)}"
        )
    wrong = {v: w for v, w in there.items() if any(v[i] != here[n] for i, n in enumerate(DECIDES))}
    if wrong:
        raise InvalidRequest(
            f"workers of the cluster at {farm.address} have other versions than this process, and results could "
            f"differ. Install the same there and here.\n{_table(here, wrong)}"
        )
    return frozenset(silent)


def check_store(farm: Asked, url: str) -> None:
    """Refuse workers that do not see the store that this process has open.

    A small object is put into the store, each worker reads it, and it is removed again.

    Parameters
    ----------
    farm
        A cluster that was joined.
    url
        Of the store; it is there already.

    Raises
    ------
    InvalidRequest
        With the workers that don't see it, and what they say.
    """
    objects = open_store(url).objects
    mark = f"checks/{uuid.uuid4().hex}"
    objects.put(mark, b"{}")
    try:
        answers = _ask(farm, _STORE_S, sees, url, mark)
    finally:
        objects.delete([mark])
    blind = {worker: _told(answer) for worker, answer in answers.items() if answer is not None}
    if blind:
        raise InvalidRequest(
            f"{len(blind)} of {len(answers)} workers of the cluster at {farm.address} do not see the store {url}. Use "
            "a folder that every node has under the same path, or a bucket (s3://...) whose credentials are in the "
            f"environment of `drfarm worker`. {_listed(blind)}"
        )


def _ask(farm: Asked, patience_s: float, question: Callable[..., Any], *words: str) -> dict[str, Any]:
    """Ask every worker at once; the answer of one that can't, or takes too long, is its error."""
    client = farm.client

    async def ask(worker: str) -> Any:
        try:
            asked: Any = client.run(question, *words, workers=[worker], on_error="return")
            answers = await asyncio.wait_for(asked, patience_s)
            return answers[worker]
        except TimeoutError:
            return TimeoutError(f"no answer within {patience_s:.0f} s")
        except Exception as e:  # noqa: BLE001 - whatever the library says of a worker that is gone or odd
            return e

    async def ask_all(workers: Sequence[str]) -> list[Any]:
        return list(await asyncio.gather(*(ask(w) for w in workers)))

    workers = [w.address for w in farm.fitting()]
    return dict(zip(workers, client.sync(ask_all, workers), strict=True))


def _sees(store_url: str, mark: str) -> str | None:
    try:
        open_store(store_url).objects.get(mark)
    except DrfarmError as e:
        return str(e)
    return None


def _told(answer: object) -> str:
    if isinstance(answer, TimeoutError):
        return str(answer)
    return f"{type(answer).__name__}: {answer}" if isinstance(answer, BaseException) else str(answer)


def _listed(said: Mapping[str, str]) -> str:
    rest = f"; and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
    return "; ".join(f"{worker}: {why}" for worker, why in list(said.items())[:_MOST_NAMED]) + rest


def _table(here: Mapping[str, str], there: Mapping[tuple[str, ...], Sequence[str]]) -> str:
    """Return a row for each package that differs somewhere, with a column for each kind of worker."""
    kinds = list(there.items())[:_MOST_NAMED]
    heads = ["", "here", *(w[0] + (f" and {len(w) - 1} more" if len(w) > 1 else "") for _, w in kinds)]
    rows = [
        [name, here[name], *(v[i] for v, _ in kinds)]
        for i, name in enumerate(SHOWN)
        if any(v[i] != here[name] for v, _ in kinds)
    ]
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
    )
