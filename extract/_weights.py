"""Weights: what names them, their digest, and loading them strictly."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from extract.errors import WeightsMismatch, WeightsUnreadable
from store.errors import InvalidRequest

if TYPE_CHECKING:
    import torch
    from torch import nn

_SHOWN = 10
_BLOCK_BYTES = 1 << 22


def random_seed(weights: str) -> int | None:
    """Return the seed of ``random:SEED``, or None where the weights are something else.

    Raises
    ------
    InvalidRequest
        If the seed is not an integer >= 0.
    """
    kind, colon, seed = weights.partition(":")
    if kind != "random":
        return None
    if not colon or not seed.isdecimal():
        raise InvalidRequest(f"weights {weights!r}: random weights have the form random:SEED, such as random:0.")
    return int(seed)


def is_file(weights: str) -> bool:
    """Tell whether the weights are a path: neither ``hub`` nor ``random:SEED``."""
    return weights != "hub" and random_seed(weights) is None


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, hexadecimal.

    Raises
    ------
    WeightsUnreadable
        If the file is missing or can't be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except FileNotFoundError as e:
        raise WeightsUnreadable(
            f"weights: there is no file {path}. Give an existing .safetensors or torch file, `hub` or `random:SEED`."
        ) from e
    except OSError as e:
        raise WeightsUnreadable(f"weights: {path} can't be read: {e}.") from e
    return digest.hexdigest()


def state_digest(state: "Mapping[str, torch.Tensor]") -> str:
    """Return the sha256 over names, dtypes, shapes and bytes of a state dict, hexadecimal, whatever its order."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_strictly(model: "nn.Module", state: "Mapping[str, torch.Tensor]", *, where: str) -> None:
    """Load a state dict whose names and shapes are exactly the model's.

    Raises
    ------
    WeightsMismatch
        With the names that are missing, unexpected or of another shape, and what to do.
    """
    expected = model.state_dict()
    missing = [k for k in expected if k not in state]
    unexpected = [k for k in state if k not in expected]
    shapes = [
        f"{k}: {_shape(state[k])} in the file, {_shape(v)} in the model"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    if missing or unexpected or shapes:
        lines = [f"{where}: the weights don't fit the architecture."]
        lines += _section("missing from the file", missing)
        lines += _section("unexpected in the file", unexpected)
        lines += _section("of another shape", shapes)
        hint = _hint(expected, state, missing, unexpected)
        raise WeightsMismatch("\n".join(lines + ([f"  hint: {hint}"] if hint else [])))
    try:
        model.load_state_dict(dict(state), strict=True)
    except RuntimeError as e:
        raise WeightsMismatch(f"{where}: the weights don't fit the architecture: {e}") from e


def _section(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = [f"... and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [f"  {title} ({len(names)}):", *(f"    {n}" for n in [*names[:_SHOWN], *more])]


def _hint(
    expected: "Mapping[str, torch.Tensor]",
    state: "Mapping[str, torch.Tensor]",
    missing: list[str],
    unexpected: list[str],
) -> str | None:
    first = next(iter(state), "").partition(".")[0] + "."
    if missing and len(first) > 1 and all(k.startswith(first) for k in state):
        shared = sum(k.removeprefix(first) in expected for k in state)
        if shared:
            return (
                f"every name in the file begins with {first!r}; save the file again without that prefix "
                f"({shared} of {len(expected)} names then fit)."
            )
    heads = [k for k in expected if k in state and state[k].shape != expected[k].shape and expected[k].ndim > 0]
    rows = {(state[k].shape[0], expected[k].shape[0]) for k in heads}
    if not missing and not unexpected and 0 < len(heads) <= 4 and len(rows) == 1:
        ((got, want),) = rows
        if got != want:
            return (
                f"only the classifier differs: the file has {got} outputs, the model {want}; "
                f"set args: {{num_classes: {got}}}."
            )
    if missing and not unexpected and _one_module(missing, absent_from=state):
        return "the file has no classifier; set args: {num_classes: 0}."
    if unexpected and not missing and not heads:
        weight = _one_module(unexpected, absent_from=expected)
        if weight is not None and state[weight].ndim > 1:
            n = state[weight].shape[0]
            return f"the file has a classifier, the model none; set args: {{num_classes: {n}}}."
    return None


def _one_module(names: list[str], *, absent_from: "Mapping[str, torch.Tensor]") -> str | None:
    """Return the name of the weight where the names are a weight, or a weight and a bias, of a module not there."""
    module, _, leaf = max(names).rpartition(".")
    if leaf != "weight" or not {f"{module}.weight"} <= set(names) <= {f"{module}.weight", f"{module}.bias"}:
        return None
    return None if any(k.startswith(f"{module}.") for k in absent_from) else f"{module}.weight"


def _shape(tensor: "torch.Tensor") -> str:
    return "(" + ", ".join(map(str, tensor.shape)) + ")"
