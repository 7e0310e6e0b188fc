"""Which files hold which batches, so that every batch is read once. Pure (no I/O)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One Parquet file to read."""

    key: str
    """Its name in the store."""
    batches: frozenset[str]
    """Batches that it supplies."""
    exclude: frozenset[str]
    """Batches in it that another source supplies already; empty almost always."""


def plan_sources(batches: Sequence[str], compacted: Mapping[str, frozenset[str]]) -> tuple[Source, ...]:
    """Choose the files that together hold every batch exactly once.

    Parameters
    ----------
    batches
        Names of batch files, each ``.../<batch_id>.parquet``.
    compacted
        Names of merged files, each with the ids of the batches in it (from its manifest).

    Returns
    -------
    tuple of Source
        Merged files first. A batch that a merged file holds is not read from its own file, whether or not the compactor
        lived to remove it.
    """
    held: set[str] = set()
    sources = []
    for key, members in sorted(compacted.items(), key=lambda item: (-len(item[1]), item[0])):
        if members - held:
            sources.append(Source(key=key, batches=frozenset(members - held), exclude=frozenset(members & held)))
            held |= members
    for key in sorted(batches):
        batch_id = key.rsplit("/", 1)[-1].removesuffix(".parquet")
        if batch_id not in held:
            sources.append(Source(key=key, batches=frozenset({batch_id}), exclude=frozenset()))
            held.add(batch_id)
    return tuple(sources)
