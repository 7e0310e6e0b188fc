"""A pool of threads that decodes batches ahead of the device, a bounded number of them."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from extract._batches import Batch
from extract._stopwatch import Stopwatch
from extract.datasets import Samples
from extract.errors import CorruptSample
from extract.transforms import TestTransform

if TYPE_CHECKING:
    import numpy as np
    import torch

BATCHES_AHEAD = 4
"""Batches that are decoded or being decoded while one runs: this bounds the memory."""
_IMAGES_PER_TASK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedBatch:
    """Pixels of one batch."""

    batch: Batch
    """Its rows."""
    pixels: "torch.Tensor"
    """uint8, shape (n, input_size, input_size, channels), pinned where it goes to a CUDA device; masked rows are 0."""
    masked: tuple[int, ...]
    """Rows of the split that can't be decoded."""


@dataclass(frozen=True, slots=True)
class _Pending:
    batch: Batch
    pixels: "torch.Tensor"
    parts: "list[Future[list[int]]]"


class Decoder:
    """Decodes batches in order, ahead of who iterates; a context manager that leaves no thread behind.

    Parameters
    ----------
    samples, transform
        What is decoded, and how it becomes pixels.
    n_workers
        Threads.
    mask
        Whether an image that can't be decoded is masked; otherwise its error is raised.
    pinned
        Whether pixels lie in page-locked memory, from which a CUDA device copies by itself.
    """

    def __init__(self, samples: Samples, transform: TestTransform, *, n_workers: int, mask: bool, pinned: bool) -> None:
        self._samples = samples
        self._transform = transform
        self._mask = mask
        self._pinned = pinned
        self._stop = Event()
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="drfarm-decode")
        self._spent: list[float] = []
        self._waiting = Stopwatch()

    @property
    def waiting_s(self) -> float:
        """Seconds that the iterating thread waited for pixels."""
        return self._waiting.seconds

    @property
    def decode_s(self) -> float:
        """Seconds spent decoding, summed over the threads."""
        return sum(self._spent)

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def decode(self, batches: Sequence[Batch]) -> Iterator[DecodedBatch]:
        """Yield the batches in order.

        Raises
        ------
        CorruptSample
            If an image can't be decoded and is not masked.
        SampleUnreadable
            If the disk refuses.
        """
        ahead: deque[_Pending] = deque()
        waiting = iter(batches)
        while True:
            while len(ahead) < BATCHES_AHEAD and (batch := next(waiting, None)) is not None:
                ahead.append(self._submit(batch))
            if not ahead:
                return
            pending = ahead.popleft()
            with self._waiting:
                masked = [row for part in pending.parts for row in part.result()]
            yield DecodedBatch(batch=pending.batch, pixels=pending.pixels, masked=tuple(masked))

    def _submit(self, batch: Batch) -> _Pending:
        import torch

        size = self._transform.input_size
        shape = (len(batch), size, size, self._transform.n_channels)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self._pinned)
        view = pixels.numpy()
        parts = [
            self._pool.submit(self._part, start, min(start + _IMAGES_PER_TASK, batch.stop), view[start - batch.start :])
            for start in range(batch.start, batch.stop, _IMAGES_PER_TASK)
        ]
        return _Pending(batch, pixels, parts)

    def _part(self, start: int, stop: int, out: "np.ndarray") -> list[int]:
        watch = Stopwatch()
        masked = []
        with watch:
            for i, row in enumerate(range(start, stop)):
                if self._stop.is_set():
                    break
                try:
                    out[i] = self._pixels(row)
                except CorruptSample:
                    if not self._mask:
                        raise
                    out[i] = 0
                    masked.append(row)
        self._spent.append(watch.seconds)
        return masked

    def _pixels(self, row: int) -> "np.ndarray":
        image = self._samples.image(row)
        try:
            return self._transform.pixels(image)
        except (ValueError, OSError) as e:
            raise CorruptSample(
                f"sample {self._samples.sample_ids[row]!r} can't be transformed: {e}. Replace or remove it, or set "
                "on_corrupt: mask to keep its row and leave it out of every measure."
            ) from e
