"""Which batches a group of jobs still has to run, and in which order. Pure (no I/O).

Batches lie at whole multiples of the batch size from row 0 and never change their composition: a kernel's rounding may
depend on the batch around a sample, so a resumed job that regrouped its rows would not reproduce its own bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

VIEWS_AT_ONCE = 8
"""Views that are made of one decoded image, and whose chunks are open together: this bounds the memory."""


_MOST_STEP_BYTES = 256 * 2**20
"""Pixels of a batch in all views that are made at once; a few batches are in memory."""


def fitting_views(batch_size: int, image_bytes: int) -> int:
    """Return how many views of a batch to make at once: at least one, at most `VIEWS_AT_ONCE`."""
    return max(1, min(VIEWS_AT_ONCE, _MOST_STEP_BYTES // max(1, batch_size * image_bytes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive rows of a split that run together."""

    start: int
    """First row."""
    stop: int
    """One past the last row."""

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One batch that is decoded once, for some views and some jobs."""

    batch: Batch
    """Its rows."""
    views: tuple[int, ...]
    """Views to make of it, rising."""
    jobs: tuple[tuple[int, ...], ...]
    """For each view, the numbers of the jobs that need it, rising."""

    @property
    def n_forwards(self) -> int:
        """Images that go through a network."""
        return len(self.batch) * sum(map(len, self.jobs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Rows of one view that a job lacks."""

    view: int
    """Which pass."""
    start: int
    """First row."""
    stop: int
    """One past the last row."""


def plan_steps(
    missing: Sequence[Iterable[Span]], *, n_samples: int, batch_size: int, views_at_once: int = VIEWS_AT_ONCE
) -> list[Step]:
    """Return the batches that overlap what jobs lack, each once for a group of views.

    Parameters
    ----------
    missing
        For each job, the rows of its missing chunks, of any layers.

    Returns
    -------
    list of Step
        Views in groups of ``views_at_once``, then batches in order.
    """
    needs: dict[tuple[int, int], dict[int, set[int]]] = {}
    for job, spans in enumerate(missing):
        for span in spans:
            for number in range(span.start // batch_size, -(-span.stop // batch_size)):
                views = needs.setdefault((span.view // views_at_once, number), {})
                views.setdefault(span.view, set()).add(job)
    return [
        Step(
            batch=Batch(start=number * batch_size, stop=min((number + 1) * batch_size, n_samples)),
            views=tuple(sorted(views)),
            jobs=tuple(tuple(sorted(views[v])) for v in sorted(views)),
        )
        for (_, number), views in sorted(needs.items())
    ]
