"""The forward pass of one batch, by the same code on the CPU and on a CUDA device.

On a CUDA device nothing here waits: pixels come from page-locked memory, results go to page-locked memory, and an event
tells when they are there. The caller launches the next batch before it waits for the last.
"""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from extract._allocator import keep_freed_memory
from extract._batches import Batch
from extract._recorder import Recorder
from extract._stopwatch import Stopwatch
from extract.errors import OutOfDeviceMemory
from extract.layers import ResolvedLayer
from extract.transforms import Transform

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class InFlight:
    """A batch whose results are on their way from the device."""

    pixels: "torch.Tensor"
    """What was run; held so that page-locked memory is not used again before the copy is done."""
    outputs: "tuple[torch.Tensor, ...]"
    """Per layer, on the host: float32, shape (n, width); not to be read before `wait`."""
    ready: "torch.cuda.Event | None"
    """Tells when the outputs are there; None where they are there at once."""

    def wait(self) -> tuple[np.ndarray, ...]:
        """Return the outputs once they are there."""
        if self.ready is not None:
            self.ready.synchronize()
        return tuple(t.numpy() for t in self.outputs)


class ForwardPass:
    """Runs batches through a network and records its layers; a context manager that leaves no hook behind.

    Parameters
    ----------
    model
        In eval mode; it is moved to the device.
    layers
        What to record.
    kept
        Per layer, the neurons to record, int64, shape (k,); None records all.
    transform
        Makes the network's input of pixels, on the device.
    device
        Where it runs.
    precision
        ``float32``, or ``bfloat16`` or ``float16`` for automatic mixed precision.
    compiled
        Whether the network goes through ``torch.compile``.
    name
        Of the job, for messages.
    """

    def __init__(
        self,
        model: "nn.Module",
        layers: Sequence[ResolvedLayer],
        transform: Transform,
        *,
        device: "torch.device",
        name: str,
        kept: Sequence[NDArray[np.int64] | None] | None = None,
        precision: str = "float32",
        compiled: bool = False,
    ) -> None:
        import torch

        if device.type == "cpu":
            keep_freed_memory()
        # Channels last is the layout that convolutions want, on the CPU as on tensor cores.
        self._model = model.to(device).to(memory_format=torch.channels_last)
        indices = [None if k is None else torch.from_numpy(k).to(device) for k in kept or [None] * len(layers)]
        self._recorder = Recorder(model, layers, indices)
        self._run: Any = self._model
        self._compiled = compiled
        self._normalise = transform.normaliser(device)
        self._device = device
        self._precision = None if precision == "float32" else getattr(torch, precision)
        self._name = name
        self._stack = ExitStack()
        self.watch = Stopwatch()
        """Time of the calling thread in the network, or waiting for its results."""
        self.most_images = 0
        """Largest number of images that ran at once and fitted; 0 where every batch did."""
        self.first_s = 0.0
        """Time in which the first batch was launched: libraries warm up in it, and networks are compiled."""
        self.n_first = 0
        """Images of the first batch."""

    def __enter__(self) -> "ForwardPass":
        import torch

        self._stack.enter_context(self._recorder)
        self._stack.enter_context(torch.inference_mode())
        if self._compiled:  # after the hooks are there: they are compiled too
            self._run = torch.compile(self._model)
        return self

    def __exit__(self, *exc: object) -> None:
        self._run = self._model
        self._stack.close()

    def launch(self, pixels: "torch.Tensor", batch: Batch) -> InFlight:
        """Start one batch, in halves where it does not fit the device.

        Parameters
        ----------
        pixels
            uint8, shape (n, height, width, channels), on the host or the device.

        Raises
        ------
        OutOfDeviceMemory
            If not even one image fits; anything else that the network raises comes with the job's name and rows.
        """
        with self.watch:
            flight = self._launch(pixels, batch)
        if not self.n_first:
            self.first_s, self.n_first = self.watch.seconds, len(batch)
        return flight

    def _launch(self, pixels: "torch.Tensor", batch: Batch) -> InFlight:
        import torch

        while True:
            try:
                outputs = self._outputs(pixels)
                break
            except Exception as e:
                self._recorder.forget()
                if not _is_out_of_memory(e):
                    e.add_note(f"while running {self._name}, rows {batch.start} to {batch.stop - 1}")
                    raise
                tried = min(self.most_images or len(batch), len(batch))
                if tried == 1:
                    raise OutOfDeviceMemory(
                        f"{self._name}: one image does not fit the memory of {self._device} ({e}). Record fewer or "
                        "smaller layers at a time, or use another device; finished chunks are kept."
                    ) from e
                self.most_images = (tried + 1) // 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        if self._device.type != "cuda":
            return InFlight(pixels, tuple(outputs), None)
        host = [torch.empty(o.shape, dtype=o.dtype, pin_memory=True).copy_(o, non_blocking=True) for o in outputs]
        ready = torch.cuda.Event()
        ready.record()
        return InFlight(pixels, tuple(host), ready)

    def finish(self, flight: InFlight) -> tuple[np.ndarray, ...]:
        """Return the outputs of a batch once they are there: per layer, float32, shape (n, width)."""
        with self.watch:
            return flight.wait()

    def _outputs(self, pixels: "torch.Tensor") -> "list[torch.Tensor]":
        import torch

        pieces = pixels.split(self.most_images) if self.most_images else (pixels,)
        found: list[list[torch.Tensor]] = []
        for piece in pieces:
            inputs = self._normalise(piece.to(self._device, non_blocking=True))
            with torch.autocast(self._device.type, self._precision) if self._precision else nullcontext():
                self._run(inputs)
            found.append(self._recorder.take())
        return found[0] if len(found) == 1 else [torch.cat(parts) for parts in zip(*found, strict=True)]


def _is_out_of_memory(error: Exception) -> bool:
    """Say whether a device or the host has no memory left: on the CPU torch has no type of its own for that."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
