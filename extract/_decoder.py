"""A pool of threads or processes that decodes batches ahead of the device, a bounded number of them.

Pillow releases the interpreter's lock while it decodes and resizes, so threads serve up to about eight cores; beyond,
the Python between two images is what they queue for, and processes go on. Processes write into shared memory.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import shared_memory
from threading import Event, Semaphore
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from extract._batches import Batch, Step
from extract._buffers import Shape, SharedBuffers, array_over, host_tensor
from extract._decode_part import Part, decode_part
from extract._decode_process import decoding_processes, part_in_process
from extract._stopwatch import Stopwatch
from extract.datasets import Samples
from extract.errors import DecoderDied
from extract.spec import MOST_DECODE_THREADS
from extract.transforms import Transform

if TYPE_CHECKING:
    import torch

BATCHES_AHEAD = 4
"""Batches that are decoded or being decoded while one runs: this bounds the memory."""
_IMAGES_PER_TASK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedBatch:
    """Pixels of one view of one batch."""

    batch: Batch
    """Its rows."""
    view: int
    """Which pass."""
    jobs: tuple[int, ...]
    """Numbers of the jobs that need it."""
    pixels: "torch.Tensor"
    """uint8, shape (n, height, width, channels), pinned where it goes to a CUDA device; masked rows are 0. Valid until
    the next one is asked for, where it is not pinned."""
    masked: tuple[int, ...]
    """Rows of the split that can't be decoded."""

    def cut(self, size: int) -> Iterator["DecodedBatch"]:
        """Yield it in batches of so many rows; the last may have fewer."""
        for start in range(self.batch.start, self.batch.stop, size):
            batch = Batch(start=start, stop=min(start + size, self.batch.stop))
            yield replace(
                self,
                batch=batch,
                pixels=self.pixels[batch.start - self.batch.start : batch.stop - self.batch.start],
                masked=tuple(row for row in self.masked if batch.start <= row < batch.stop),
            )


@dataclass(frozen=True, slots=True)
class _Pending:
    step: Step
    pixels: "torch.Tensor | shared_memory.SharedMemory"
    shape: Shape
    parts: list[Future[Part]]


class Decoder:
    """Decodes batches in order, ahead of who iterates; a context manager that leaves no thread or process behind.

    Parameters
    ----------
    samples, transform
        What is decoded, and how it becomes pixels.
    n_workers
        Threads or processes.
    n_beside
        Threads that decode while a network runs, at most `n_workers`: all decode what is waited for first.
    processes
        Whether they are processes.
    mask
        Whether an image that can't be decoded is masked; otherwise its error is raised.
    pinned
        Whether pixels lie in page-locked memory, from which a CUDA device copies by itself.
    """

    def __init__(
        self,
        samples: Samples,
        transform: Transform,
        *,
        n_workers: int,
        mask: bool,
        pinned: bool,
        processes: bool = False,
        n_beside: int | None = None,
    ) -> None:
        self._samples = samples
        self._transform = transform
        self._mask = mask
        self._pinned = pinned
        self._n_workers = n_workers
        self._processes = processes
        self._beside = Semaphore(n_workers if n_beside is None else n_beside)
        self._first: Step | None = None
        self._stop = Event()
        self._pool: Executor
        self._stack = self._buffers = ExitStack()
        self._waiting = Stopwatch()
        self.decode_s = 0.0
        """Seconds spent reading and decoding, summed over the workers."""
        self.transform_s = 0.0
        """Seconds spent making pixels of images, summed over the workers."""
        self.n_decoded = 0
        """Images that were decoded."""

    @property
    def waiting_s(self) -> float:
        """Seconds that the iterating thread waited for pixels."""
        return self._waiting.seconds

    def __enter__(self) -> "Decoder":
        self._buffers = self._stack.enter_context(ExitStack())  # closed last: nobody writes to a buffer then
        if self._processes:
            pool = decoding_processes(self._n_workers, self._samples, self._transform, mask=self._mask)
            self._pool = self._stack.enter_context(pool)
        else:
            self._pool = ThreadPoolExecutor(self._n_workers, thread_name_prefix="drfarm-decode")
            self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._stack.close()

    def decode(self, steps: Sequence[Step]) -> Iterator[DecodedBatch]:
        """Yield each view of the batches, in order.

        Raises
        ------
        CorruptSample
            If an image can't be decoded and is not masked.
        SampleUnreadable
            If the disk refuses.
        DecoderDied
            If a decoding process was killed.
        """
        image_bytes = int(np.prod(self._transform.pixel_shape))
        most = max((len(s.batch) * len(s.views) for s in steps), default=0) * image_bytes
        shared = self._buffers.enter_context(SharedBuffers(most)) if self._processes and most else None
        ahead: deque[_Pending] = deque()
        waiting = iter(steps)
        self._first = steps[0] if steps else None
        while True:
            with _told_of_death():
                while len(ahead) < BATCHES_AHEAD and (step := next(waiting, None)) is not None:
                    ahead.append(self._submit(step, shared))
                if not ahead:
                    return
                pending = ahead.popleft()
                with self._waiting:
                    masked = self._finished(pending)
            pixels = self._tensor(pending)
            for i, (view, jobs) in enumerate(zip(pending.step.views, pending.step.jobs, strict=True)):
                yield DecodedBatch(batch=pending.step.batch, view=view, jobs=jobs, pixels=pixels[i], masked=masked)
            del pixels
            if shared is not None and isinstance(pending.pixels, shared_memory.SharedMemory):
                shared.give_back(pending.pixels)

    def _submit(self, step: Step, shared: SharedBuffers | None) -> _Pending:
        batch = step.batch
        shape = (len(step.views), len(batch), *self._transform.pixel_shape)
        ranges = [
            range(start, min(start + _IMAGES_PER_TASK, batch.stop))
            for start in range(batch.start, batch.stop, _IMAGES_PER_TASK)
        ]
        parts: list[Future[Part]]
        if shared is not None:
            block = shared.take()
            parts = [
                self._pool.submit(part_in_process, block.name, shape, r, r.start - batch.start, step.views)
                for r in ranges
            ]
            return _Pending(step, block, shape, parts)
        pixels = host_tensor(shape, pinned=self._pinned)
        out = pixels.numpy()
        decode = self._part if step is self._first else self._part_beside
        parts = [self._pool.submit(decode, r, step.views, _rows(out, r, batch.start)) for r in ranges]
        return _Pending(step, pixels, shape, parts)

    def _part(self, rows: range, views: Sequence[int], out: NDArray[np.uint8]) -> Part:
        return decode_part(self._samples, self._transform, rows, views, out, mask=self._mask, stopped=self._stop.is_set)

    def _part_beside(self, rows: range, views: Sequence[int], out: NDArray[np.uint8]) -> Part:
        with self._beside:
            return self._part(rows, views, out)

    def _finished(self, pending: _Pending) -> tuple[int, ...]:
        masked: list[int] = []
        for part in pending.parts:
            done = part.result()
            masked += done.masked
            self.decode_s += done.decode_s
            self.transform_s += done.transform_s
        self.n_decoded += len(pending.step.batch)
        return tuple(masked)

    def _tensor(self, pending: _Pending) -> "torch.Tensor":
        import torch

        if not isinstance(pending.pixels, shared_memory.SharedMemory):
            return pending.pixels
        pixels = torch.from_numpy(array_over(pending.pixels, pending.shape))
        return pixels.pin_memory() if self._pinned else pixels


def _rows(out: NDArray[np.uint8], rows: range, first: int) -> NDArray[np.uint8]:
    return out[:, rows.start - first : rows.stop - first]


@contextmanager
def _told_of_death() -> Iterator[None]:
    """Say what to do where a decoding process died: that shows when it is waited for, or given more to do."""
    try:
        yield
    except BrokenProcessPool as e:
        raise DecoderDied(
            "a decoding process died: it was killed, memory or shared memory (/dev/shm) ran out, or it could not start "
            '(a script that calls drfarm needs an `if __name__ == "__main__":`). With at most '
            f"{MOST_DECODE_THREADS} decode workers (--decode-workers) threads decode; finished chunks are kept."
        ) from e
