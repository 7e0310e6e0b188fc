"""Watching what goes into a module, or what comes out of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def watch(module: "nn.Module", side: str, receive: Callable[[Any], None]) -> Any:
    """Call ``receive`` with a module's first ``input``, or its ``output``, whenever it runs; return the handle."""
    if side == "input":
        return module.register_forward_pre_hook(lambda _module, inputs: receive(inputs[0] if inputs else None))
    return module.register_forward_hook(lambda _module, _inputs, output: receive(output))
