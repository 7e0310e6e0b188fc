"""Which batches a job still has to run, and where their rows go. Pure (no I/O).

Batches lie at whole multiples of the batch size from row 0 and never change their composition: a kernel's rounding may
depend on the batch around a sample, so a resumed job that regrouped its rows would not reproduce its own bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive rows of a split that run together."""

    start: int
    """First row."""
    stop: int
    """One past the last row."""

    def __len__(self) -> int:
        return self.stop - self.start


def needed_batches(spans: Iterable[tuple[int, int]], *, n_samples: int, batch_size: int) -> list[Batch]:
    """Return the batches that overlap missing chunks, in order, each once.

    Parameters
    ----------
    spans
        Rows (start, stop) of the missing chunks, of any layers.
    """
    numbers: set[int] = set()
    for start, stop in spans:
        numbers.update(range(start // batch_size, -(-stop // batch_size)))
    return [Batch(start=i * batch_size, stop=min((i + 1) * batch_size, n_samples)) for i in sorted(numbers)]
