"""The forward pass of one batch, by the same code on the CPU and on a CUDA device.

On a CUDA device nothing here waits: pixels come from page-locked memory, results go to page-locked memory, and an event
tells when they are there. The caller launches the next batch before it waits for the last.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from extract._allocator import keep_freed_memory
from extract._decoder import DecodedBatch
from extract._recorder import Recorder
from extract.errors import OutOfDeviceMemory
from extract.layers import ResolvedLayer
from extract.transforms import TestTransform

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class InFlight:
    """A batch whose results are on their way from the device."""

    decoded: DecodedBatch
    """What was run; held so that its page-locked memory is not reused before the copy is done."""
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
    transform
        Normalises the pixels on the device.
    name
        Of the job, for messages.
    """

    def __init__(
        self,
        model: "nn.Module",
        layers: Sequence[ResolvedLayer],
        transform: TestTransform,
        *,
        device: "torch.device",
        name: str,
    ) -> None:
        import torch

        if device.type == "cpu":
            keep_freed_memory()
        # Channels last is the layout that convolutions want, on the CPU as on tensor cores.
        self._model = model.to(device).to(memory_format=torch.channels_last)
        self._recorder = Recorder(model, layers)
        self._normalise = transform.normaliser(device)
        self._device = device
        self._name = name
        self._stack = ExitStack()

    def __enter__(self) -> "ForwardPass":
        import torch

        self._stack.enter_context(self._recorder)
        self._stack.enter_context(torch.inference_mode())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def launch(self, decoded: DecodedBatch) -> InFlight:
        """Start one batch.

        Raises
        ------
        OutOfDeviceMemory
            If the batch does not fit; anything else that the network raises comes with the job's name and rows.
        """
        import torch

        batch = decoded.batch
        try:
            self._model(self._normalise(decoded.pixels.to(self._device, non_blocking=True)))
            outputs = self._recorder.take()
        except torch.OutOfMemoryError as e:
            raise OutOfDeviceMemory(
                f"{self._name}: a batch of {len(batch)} images does not fit the memory of {self._device} ({e}). Set a "
                f"smaller batch_size, such as {max(1, len(batch) // 2)}; finished chunks are kept."
            ) from e
        except Exception as e:
            e.add_note(f"while running {self._name}, rows {batch.start} to {batch.stop - 1}")
            raise
        if self._device.type != "cuda":
            return InFlight(decoded, tuple(outputs), None)
        host = [torch.empty(o.shape, dtype=o.dtype, pin_memory=True).copy_(o, non_blocking=True) for o in outputs]
        ready = torch.cuda.Event()
        ready.record()
        return InFlight(decoded, tuple(host), ready)
