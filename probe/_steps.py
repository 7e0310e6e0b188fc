"""Taking steps: mini-batches from where the features are to the stack, eagerly or as a CUDA graph.

A step is some eighty small kernels, and starting them takes a GPU longer than doing them. So the kernels of a step on a
full batch are recorded once, over buffers that stay where they are, and replayed; only the gather of the rows is
started by itself. The last batch of an epoch may be shorter and is done eagerly.
"""

from typing import TYPE_CHECKING, Protocol

from probe._stacked_probes import StackedProbes

if TYPE_CHECKING:
    import torch

RESIDENT_SHARE = 0.8
"""Share of a GPU's free memory up to which features are copied to it whole; beyond, each batch is sent by itself."""


class Steps(Protocol):
    """Where mini-batches come from."""

    x: "torch.Tensor | None"
    """Features, shape (n, d), where they are; None before the first and between two views."""

    def load(self, x: "torch.Tensor | None", y: "torch.Tensor") -> None:
        """Take up features (n, d), or let go of them, and labels (n,)."""

    def take(self, rows: "torch.Tensor") -> None:
        """Take one step on these rows, shape (batch,), int64, on the CPU."""


def steps_for(probes: StackedProbes, batch_size: int) -> Steps:
    """Return the way of taking steps for the device of the probes."""
    return EagerSteps(probes) if probes.device.type == "cpu" else CapturedSteps(probes, batch_size)


class EagerSteps:
    """Steps in the memory where features and probes both are."""

    def __init__(self, probes: StackedProbes) -> None:
        self._probes = probes
        self.x: torch.Tensor | None = None

    def load(self, x: "torch.Tensor | None", y: "torch.Tensor") -> None:
        """See `Steps.load`."""
        self.x, self._y = x, y

    def take(self, rows: "torch.Tensor") -> None:
        """See `Steps.take`."""
        assert self.x is not None
        self._probes.step(self._probes.block(self.x, rows), self._y[rows])


class CapturedSteps:
    """Steps on a GPU: the first full batch is done eagerly, as a warm-up, the second recorded, all others replayed."""

    def __init__(self, probes: StackedProbes, batch_size: int) -> None:
        import torch

        self._probes = probes
        self._labels = torch.zeros(batch_size, dtype=torch.int64, device=probes.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False
        self._sender: _Sender | None = None
        self._resident: torch.Tensor | None = None
        self.x: torch.Tensor | None = None

    def load(self, x: "torch.Tensor | None", y: "torch.Tensor") -> None:
        """Copy features to the GPU if they fit, into the memory of the last ones; else keep them where they are."""
        import torch

        self.x, self._sender = None, None
        if x is None:
            return
        device = self._probes.device
        self._y = y.to(device)
        last = self._resident
        if x.device.type == device.type:
            self.x = x
        elif last is not None and (last.shape, last.dtype) == (x.shape, x.dtype):
            self.x = last.copy_(x)
        elif x.nbytes <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            self.x = self._resident = x.to(device)
        else:
            self.x, self._sender = x, _Sender(x, len(self._labels), device)

    def take(self, rows: "torch.Tensor") -> None:
        """See `Steps.take`."""
        import torch

        assert self.x is not None
        chosen = rows.to(self._probes.device, non_blocking=True)
        if self._sender is not None:
            block = self._probes.block(self._sender.send(rows))
        else:
            block = self._probes.block(self.x, chosen)
        if len(rows) < len(self._labels):
            self._probes.step(block, self._y[chosen])
            return
        torch.index_select(self._y, 0, chosen, out=self._labels)
        if not self._warm:
            # Libraries set themselves up at their first call, on a stream of its own as recording asks for.
            side = torch.cuda.Stream(self._probes.device)
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._probes.step(block, self._labels)
            torch.cuda.current_stream().wait_stream(side)
            self._warm = True
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._probes.step(block, self._labels)
        self._graph.replay()


class _Sender:
    """Batches from the CPU's memory by way of two pinned buffers: one is sent while the other is filled."""

    def __init__(self, x: "torch.Tensor", batch_size: int, device: "torch.device") -> None:
        import torch

        self._x = x
        self._device = device
        self._pinned = [torch.empty(batch_size, x.shape[1], dtype=x.dtype, pin_memory=True) for _ in range(2)]
        self._sent = [torch.cuda.Event() for _ in range(2)]
        self._turn = 0

    def send(self, rows: "torch.Tensor") -> "torch.Tensor":
        """Return rows of the features on the device."""
        import torch

        self._turn = 1 - self._turn
        self._sent[self._turn].synchronize()
        part = self._pinned[self._turn][: len(rows)]
        torch.index_select(self._x, 0, rows, out=part)
        there = part.to(self._device, non_blocking=True)
        self._sent[self._turn].record()
        return there
