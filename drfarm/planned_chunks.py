"""The chunks of what is planned: how many there are, and how many stay together. Pure (no I/O)."""

from collections.abc import Iterable, Sequence

from extract import ExtractionJob, PlannedLayer
from store.grid import Grid, chunk_rows

_ITEM_BYTES = {"float32": 4, "float16": 2}


def planned_grid(job: ExtractionJob, layer: PlannedLayer) -> Grid:
    """Return the chunks that a representation will have when it is begun now."""
    return Grid(
        n_views=job.n_views,
        n_samples=job.n_samples,
        width=layer.width,
        chunk_rows=chunk_rows(job.n_samples, layer.width, _ITEM_BYTES[layer.key.dtype]),
    )


def n_chunks(jobs: Iterable[ExtractionJob]) -> int:
    """Return the chunks of all representations of some jobs."""
    return sum(len(planned_grid(j, layer).cells()) for j in jobs for layer in j.layers)


def n_blocks(group: Sequence[ExtractionJob]) -> int:
    """Return the blocks of chunks that a group of jobs can be split at: the most that one of its jobs has."""

    def of(job: ExtractionJob) -> int:
        rows = max(planned_grid(job, layer).chunk_rows for layer in job.layers)
        return -(-job.n_samples // rows) * job.n_views

    return max(map(of, group))
