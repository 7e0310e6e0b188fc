"""How positions or tokens become one vector per sample."""

from typing import TYPE_CHECKING

from extract.errors import InvalidLayer

if TYPE_CHECKING:
    import torch
    from torch import nn

_CHANNELS_FIRST = ("Conv2d", "BatchNorm2d", "BatchNormAct2d", "MaxPool2d", "AvgPool2d")


def resolve_pool(
    shape: tuple[int, ...], pool: str | None, *, model: "nn.Module", module: "nn.Module", where: str
) -> str:
    """Return the pooling that is applied to activations of a shape; it enters the id.

    Parameters
    ----------
    shape
        Of the activations, the samples first: 2-D is taken as it is (``none``), 4-D is NCHW (or NHWC, where the model
        says so), 3-D is samples, tokens, neurons.
    pool
        What the study asks for; None is ``avg``, or for tokens ``cls`` where the model has a class token.

    Raises
    ------
    InvalidLayer
        If the pooling has no meaning for the shape.
    """
    if len(shape) == 2:
        if pool == "cls":
            raise InvalidLayer(f"{where}: pool `cls` takes the first token, but the output has no tokens: {shape}.")
        return "none"
    if pool == "flatten" and len(shape) > 2:
        return "flatten"
    if len(shape) == 3:
        return pool or ("cls" if getattr(model, "cls_token", None) is not None else "avg")
    if len(shape) == 4 and pool != "cls":
        last = _is_channels_last(model) and type(module).__name__ not in _CHANNELS_FIRST
        return f"{pool or 'avg'}{'_nhwc' if last else ''}"
    fitting = "avg, max or flatten" if len(shape) == 4 else "flatten" if len(shape) > 2 else "no pool"
    raise InvalidLayer(f"{where}: pool {pool or 'avg'!r} has no meaning for an output of shape {shape}; use {fitting}.")


def _is_channels_last(model: "nn.Module") -> bool:
    # timm's Swin, MambaOut and others hand on NHWC between their blocks and say so.
    form = getattr(model, "output_fmt", None)
    return getattr(form, "value", form) == "NHWC"


def apply_pool(values: "torch.Tensor", pool: str, kept: "torch.Tensor | None" = None) -> "torch.Tensor":
    """Return one vector per sample, float32, shape (n, width), that shares no memory with ``values``.

    ``kept`` are the indices of the neurons to return, int64, shape (k,), on the same device; None returns all.

    Sharing would be wrong, not just unsafe: an in-place ReLU after the layer would overwrite what was recorded.
    """
    import torch

    positions: tuple[int, ...] = (2, 3)
    if values.ndim == 3:
        positions = (1,)
    elif pool.endswith("_nhwc"):
        positions = (1, 2)
    if pool in ("none", "flatten"):
        pooled = values.flatten(1)
    elif pool == "cls":
        pooled = values[:, 0]
    elif pool.startswith("avg"):
        pooled = values.mean(positions, dtype=torch.float32)  # half precision would round the mean
    else:
        pooled = values.amax(positions)
    if kept is not None:
        return pooled.index_select(1, kept).to(torch.float32)
    pooled = pooled.to(torch.float32)
    shares = pooled.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()
    return pooled.clone(memory_format=torch.contiguous_format) if shares else pooled.contiguous()
