"""Which jobs share a pass: those whose networks see the same pixels, as far as the memory goes. Pure (no I/O)."""

from collections.abc import Sequence

from extract._batches import VIEWS_AT_ONCE
from extract.plan import ExtractionJob
from store.grid import chunk_rows

MOST_GROUP_PARAMETERS = 10**9
"""Networks that share a decode have at most so many parameters together: all of them are on the device."""
MOST_GROUP_BYTES = 4 * 2**30
"""Chunks that are open at once take at most so much memory: jobs that need more together do not share a decode."""


def what_it_sees(job: ExtractionJob) -> tuple[object, ...]:
    """Return what decides the pixels of a job: jobs of which it is equal decode each image once for all of them."""
    return (
        job.split.spec.source,
        job.split.split,
        job.split.fingerprint,
        job.transform,
        job.transform_seed,
        job.n_views,
        job.model.input_size,
        len(job.model.mean),
    )


def group_jobs(jobs: Sequence[ExtractionJob]) -> tuple[tuple[ExtractionJob, ...], ...]:
    """Group jobs whose networks see the same pixels: each image is decoded once for all of a group.

    Jobs of one split, transform, input size and number of channels share a group, up to `MOST_GROUP_PARAMETERS` and
    `MOST_GROUP_BYTES`.
    """
    groups: dict[tuple[object, ...], list[list[ExtractionJob]]] = {}
    for job in jobs:
        found = groups.setdefault(what_it_sees(job), [[]])
        if found[-1] and not _fit([*found[-1], job]):
            found.append([])
        found[-1].append(job)
    return tuple(tuple(group) for found in groups.values() for group in found)


def _fit(group: Sequence[ExtractionJob]) -> bool:
    n_parameters = sum(j.model.n_parameters for j in group)
    return n_parameters <= MOST_GROUP_PARAMETERS and sum(map(_open_bytes, group)) <= MOST_GROUP_BYTES


def _open_bytes(job: ExtractionJob) -> int:
    """Return the size of the chunks of a job that are being filled at once: one of each layer and view, float32."""
    rows_and_widths = (
        (chunk_rows(job.n_samples, p.width, 2 if p.key.dtype == "float16" else 4), p.width) for p in job.layers
    )
    return sum(rows * width * 4 for rows, width in rows_and_widths) * min(job.n_views, VIEWS_AT_ONCE)
