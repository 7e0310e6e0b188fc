"""Counting the floating-point operations of a forward pass: matrix products, convolutions and attention.

torch has a counter of its own; importing it takes seconds, as it brings the compiler along. So would this one at its
first operation, only to be left out of what is compiled, if it did not say that it need not be.
"""

from math import prod
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class CountOperations(TorchDispatchMode):
    """Adds up the operations of what runs inside; a multiply-add is two. Elementwise operations are not counted."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0
        """Operations so far."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count it; one that is made of others, such as a linear layer, by its parts."""
        name = func.overloadpacket.__name__
        if not name.startswith("_scaled_dot_product"):
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        out = func(*args, **(kwargs or {}))
        if name in ("mm", "bmm"):
            self.flop += 2 * prod(args[0].shape) * args[1].shape[-1]
        elif name in ("addmm", "baddbmm"):
            self.flop += 2 * prod(args[1].shape) * args[2].shape[-1]
        elif name in ("convolution", "_convolution"):
            # Each output value takes one multiply-add for each weight of its channel. Transposed: each input value.
            weight, transposed = args[1], bool(args[6])
            self.flop += 2 * prod((args[0] if transposed else out).shape) * prod(weight.shape[1:])
        elif name.startswith("_scaled_dot_product"):
            query, key, value = (a.shape for a in args[:3])
            # Query times key, and the weights times value.
            self.flop += 2 * prod(query) * key[-2] + 2 * prod(query[:-1]) * value[-2] * value[-1]
        return out
