"""Extraction as tasks for a farm: one shard of one group of jobs each, plain and small, to run anywhere."""

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drfarm.farm import DECODE_WORKERS, MOST_TASK_BYTES
from drfarm.importing import importable
from drfarm.planned_chunks import n_blocks
from extract import ExtractionJob, ExtractionReport, ExtractOptions, Shard, run_extraction
from store import content_id, open_store

FORWARDS_PER_TASK = 32_768
"""A task has about so many forward passes: long enough to load a network for, short enough to lose."""

_MOST_FORWARDS = 50_000
"""Networks of a group go to tasks of their own where a block of chunks would be more than this for all of them."""

_MOST_MASKED = 8
"""Samples that a report names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionTask:
    """One shard of a group of jobs. Pickles below `drfarm.farm.MOST_TASK_BYTES`."""

    store_url: str
    """Store to write to; it is there already."""
    jobs: tuple[ExtractionJob, ...]
    """Jobs of one group."""
    shard: Shard
    """The part of their chunks."""
    options: ExtractOptions
    """How to run."""
    python_path: Path | None = None
    """Folder in which ``python:MODULE:CALLABLE`` also looks for modules."""

    @property
    def batch_id(self) -> str:
        """Identity of what it makes."""
        return content_id(["extract", *self.ids, str(self.shard)])[:32]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the representations that it writes to: those of all shards of a group are the same."""
        return tuple(i for j in self.jobs for i in j.ids)

    @property
    def title(self) -> str:
        """What it is, as told to people."""
        part = "" if self.shard.count == 1 else f", shard {self.shard}"
        return f"extract {group_name(self.jobs)}{part}"

    @property
    def n_forwards(self) -> float:
        """Forward passes of it, in images, if nothing of it is done."""
        return sum(j.n_forwards for j in self.jobs) / self.shard.count


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What a worker tells of a task that ended."""

    report: ExtractionReport
    """What it did; it names a few of the masked samples only."""
    n_masked: int
    """Samples that could not be decoded."""


def plan_extraction_tasks(
    groups: Sequence[Sequence[ExtractionJob]],
    store_url: str,
    options: ExtractOptions,
    *,
    python_path: Path | None = None,
) -> tuple[ExtractionTask, ...]:
    """Split groups of jobs into tasks of about `FORWARDS_PER_TASK` forward passes, the largest groups first.

    How a group is split follows from its jobs alone, never from what is done: a task that runs again, in this run or
    in another, owns the chunks that it owned before.
    """
    return tuple(
        ExtractionTask(
            store_url=store_url,
            jobs=part,
            shard=Shard(index=i, count=n),
            options=options,
            python_path=python_path,
        )
        for group in sorted(groups, key=lambda g: -sum(j.n_forwards for j in g))
        for part in _parts(tuple(_lean(j) for j in group))
        for n in [n_shards(part)]
        for i in range(n)
    )


def n_shards(group: Sequence[ExtractionJob]) -> int:
    """Return into how many tasks a group of jobs is split: no more than there are blocks of chunks."""
    n_forwards = sum(j.n_forwards for j in group)
    return max(1, min(round(n_forwards / FORWARDS_PER_TASK), n_blocks(group)))


def one_by_one(task: ExtractionTask) -> tuple[ExtractionTask, ...]:
    """Return the tasks of each job of a task by itself, for the same shard."""
    return tuple(replace(task, jobs=(job,)) for job in task.jobs)


def group_name(group: Sequence[ExtractionJob]) -> str:
    """Return the readable name of a group of jobs."""
    if len(group) == 1:
        return group[0].name
    models = ", ".join(j.model.spec.name for j in group)
    return f"{models} / {group[0].name.partition(' / ')[2]}"


def run_extraction_task(task: ExtractionTask) -> ShardReport:
    """Write the chunks of a shard that are not there yet; what comes back is small.

    Raises
    ------
    NotFound
        If the store is not there: a worker that can't see it must not make one of its own.
    ExtractError, InvalidRequest, StoreError
        As `extract.run_extraction`.
    """
    open_store(task.store_url, patient=True)
    options = task.options
    if options.decode_workers is None and DECODE_WORKERS in os.environ:
        options = replace(options, decode_workers=int(os.environ[DECODE_WORKERS]))
    with importable(task.python_path):
        report = run_extraction(task.jobs, task.store_url, options, shard=task.shard)
    return ShardReport(report=replace(report, masked=report.masked[:_MOST_MASKED]), n_masked=len(report.masked))


def _lean(job: ExtractionJob) -> ExtractionJob:
    """Leave out the names of the classes: there may be thousands, and whoever opens the images reads them anew."""
    return replace(job, split=replace(job.split, classes=()))


def _parts(group: tuple[ExtractionJob, ...]) -> Iterator[tuple[ExtractionJob, ...]]:
    """Yield a group in as few parts as are small enough: to pickle, and to lose. At last a job is split by layers."""
    small = len(pickle.dumps(group)) <= MOST_TASK_BYTES * 3 // 4
    if len(group) > 1 and not (small and sum(j.n_forwards for j in group) <= _MOST_FORWARDS * n_blocks(group)):
        yield from _parts(group[: len(group) // 2])
        yield from _parts(group[len(group) // 2 :])
    elif not small and len(layers := group[0].layers) > 1:
        half = len(layers) // 2
        for part in (layers[:half], layers[half:]):
            model = replace(group[0].model, layers=tuple(p.layer for p in part))
            yield from _parts((replace(group[0], model=model, layers=part),))
    else:
        yield group


def names_of_layers(jobs: Sequence[ExtractionJob]) -> Mapping[str, str]:
    """Return readable names of representations by their ids."""
    return {p.key.id: f"{j.name} / {p.key.layer}" for j in jobs for p in j.layers}
