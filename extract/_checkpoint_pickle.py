"""An unpickler that makes tensors and plain values only: whatever else a file names is left out, never imported or run.

It stands in for the module ``pickle`` in ``torch.load``. Whole checkpoints of training runs hold optimisers, argument
objects and functions beside the tensors; a plain unpickler would import and call what the file says.
"""

import pickle
from typing import IO, Any

_ALLOWED = {
    ("builtins", name)
    for name in ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "set", "str")
} | {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "device"),
}
_FUNCTIONS = {
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch.serialization", "_get_layout"),
}


class _Inert(type):
    """Metaclass of `LeftOut`: calling it and filling it do nothing, so that a pickle's instructions run empty."""

    def __call__(cls, *_args: object, **_kwargs: object) -> "type[LeftOut]":
        return LeftOut

    def __setitem__(cls, key: object, value: object) -> None:
        """Ignore an entry."""

    def __setattr__(cls, name: str, value: object) -> None:
        """Ignore an attribute."""


class LeftOut(metaclass=_Inert):
    """Stands for every object of a file that is neither a tensor nor a plain value."""

    def __new__(cls, *_args: object, **_kwargs: object) -> "type[LeftOut]":  # type: ignore[misc]
        """Return the class itself: nothing is made."""
        return LeftOut

    @staticmethod
    def __setstate__(state: object) -> None:
        """Ignore the state."""

    @staticmethod
    def append(value: object) -> None:
        """Ignore an item."""

    @staticmethod
    def extend(values: object) -> None:
        """Ignore items."""

    @staticmethod
    def add(value: object) -> None:
        """Ignore an item."""


class Unpickler(pickle.Unpickler):
    """Finds the few names that tensors and plain values need; `LeftOut` stands for every other."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a file means by a name."""
        if module == "__builtin__":
            module = "builtins"
        if (module, name) in _ALLOWED or (module == "torch" and name in _dtypes()):
            return super().find_class(module, name)
        if (module, name) in _FUNCTIONS:
            function = super().find_class(module, name)
            # A pickle can set attributes of what it names: those of this wrapper, which nobody else has.
            return lambda *args: function(*args)
        return LeftOut  # storages do not come here: torch.load looks them up itself


def load(file: IO[bytes], **settings: Any) -> Any:
    """Read one pickle; the counterpart of ``pickle.load``."""
    return Unpickler(file, **settings).load()


def _dtypes() -> set[str]:
    import torch

    return {name for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
