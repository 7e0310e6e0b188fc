"""The matrix products of a step in a named precision: factors are rounded, sums are float32.

=========  ====================  ==============================================================
precision  significant bits      error of one product of two factors, relative
=========  ====================  ==============================================================
float32    24                    2^-24
tf32       11 (exponent of 8)    2^-10 (each factor is rounded by at most 2^-11)
bf16       8 (exponent of 8)     2^-7 (each factor by at most 2^-8)
=========  ====================  ==============================================================

so a sum ``a . b`` is off by at most that times ``|a| . |b|``, besides the rounding of a float32 sum. On a GPU the
tensor cores do it; a CPU rounds the factors and multiplies in float32, so that a result means the same on both.
Weights, momentum and gradients are kept in float32 throughout.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from probe.protocols import Precision

if TYPE_CHECKING:
    import torch

UNIT = {"float32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}
"""Largest relative error of one rounded factor."""


def rounded(x: "torch.Tensor", precision: Precision) -> "torch.Tensor":
    """Return float32 numbers rounded to the nearest of a precision, ties to even; still float32."""
    import torch

    if precision == "float32":
        return x
    if precision == "bf16":
        return x.bfloat16().float()
    # tf32 keeps 10 of 23 fraction bits: add just under half of the last kept bit, and that bit for ties, and cut.
    bits = x.view(torch.int32)
    nearest = ((bits + (0xFFF + ((bits >> 13) & 1))) & ~0x1FFF).view(torch.float32)
    return torch.where(x.isfinite(), nearest, x)


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Let float32 products on a GPU use TF32 only where it was asked for; restore the process's setting afterwards."""
    import torch

    before, wanted = torch.get_float32_matmul_precision(), "high" if precision == "tf32" else "highest"
    if before != wanted:
        torch.set_float32_matmul_precision(wanted)
    try:
        yield
    finally:
        if before != wanted:
            torch.set_float32_matmul_precision(before)


class Products:
    """``out += a @ b`` and ``out = a @ b`` where ``b`` is part of a block of features and ``out`` is float32."""

    def __init__(self, precision: Precision, device: "torch.device") -> None:
        self._precision = precision
        self._half = precision == "bf16" and device.type != "cpu"
        self._emulated = precision != "float32" and device.type == "cpu"

    def factor(self, x: "torch.Tensor") -> "torch.Tensor":
        """Return the buffer that products read for a buffer of features: itself where the type is the same."""
        import torch

        return torch.zeros_like(x, dtype=torch.bfloat16) if self._half else x

    def refresh(self, factor: "torch.Tensor", x: "torch.Tensor") -> None:
        """Bring a `factor` up to date with its features."""
        if self._half:
            factor.copy_(x)
        elif self._emulated:
            factor.copy_(rounded(x, self._precision))

    def add(self, out: "torch.Tensor", a: "torch.Tensor", b: "torch.Tensor") -> None:
        """Add the product of ``a``, float32, and ``b``, a factor, to ``out``."""
        import torch

        if self._half:
            out.add_(torch.mm(a.bfloat16(), b, out_dtype=torch.float32))
        else:
            out.addmm_(rounded(a, self._precision) if self._emulated else a, b)

    def write(self, out: "torch.Tensor", a: "torch.Tensor", b: "torch.Tensor") -> None:
        """Write the product of ``a``, float32, and ``b``, a factor, to ``out``."""
        import torch

        if self._half:
            out.copy_(torch.mm(a.bfloat16(), b, out_dtype=torch.float32))
        else:
            torch.mm(rounded(a, self._precision) if self._emulated else a, b, out=out)
