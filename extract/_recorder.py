"""Recording many layers in one forward pass."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from extract._hooks import watch
from extract._pooling import apply_pool
from extract.errors import InvalidLayer
from extract.layers import ResolvedLayer

if TYPE_CHECKING:
    import torch
    from torch import nn


class Recorder:
    """Records pooled activations of several layers while a network runs; a context manager that leaves no hook behind.

    Parameters
    ----------
    model
        Network that is going to be run.
    layers
        What to record. After a forward pass, `take` returns it in this order.
    kept
        Per layer, the indices of the neurons to record, int64, on the network's device; None records all.
    """

    def __init__(
        self,
        model: "nn.Module",
        layers: Sequence[ResolvedLayer],
        kept: "Sequence[torch.Tensor | None] | None" = None,
    ) -> None:
        self._model = model
        self._layers = tuple(layers)
        self._kept = tuple(kept) if kept is not None else (None,) * len(self._layers)
        self._outputs: dict[int, torch.Tensor] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Recorder":
        for index, layer in enumerate(self._layers):
            module = self._model.get_submodule(layer.module)
            self._stack.callback(watch(module, layer.side, self._receiver(index, layer)).remove)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        self._outputs.clear()

    def _receiver(self, index: int, layer: ResolvedLayer) -> Callable[[Any], None]:
        def receive(value: Any) -> None:
            if index in self._outputs:
                raise InvalidLayer(f"layer {layer.name!r} ran more than once in one forward pass; name another layer.")
            self._outputs[index] = apply_pool(value, layer.pool, self._kept[index])

        return receive

    def forget(self) -> None:
        """Forget what a forward pass left that did not come to its end."""
        self._outputs.clear()

    def take(self) -> "list[torch.Tensor]":
        """Return what the last forward pass left, one tensor (n, width) per layer, float32, and forget it.

        Raises
        ------
        InvalidLayer
            If a layer did not run.
        """
        silent = [layer.name for i, layer in enumerate(self._layers) if i not in self._outputs]
        if silent:
            raise InvalidLayer(f"layer {silent[0]!r} did not run in this forward pass; name a layer that always runs.")
        outputs = [self._outputs[i] for i in range(len(self._layers))]
        self._outputs.clear()
        return outputs
