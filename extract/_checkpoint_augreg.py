"""Vision transformers as JAX saves them (.npz): their arrays under the names and in the shapes of timm's network.

The layout is that of https://github.com/google-research/vision_transformer: kernels have their inputs first, and
attention keeps its heads apart.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_PREFIXES = ("opt/target/", "params/")
_SIGN = "embedding/kernel"
_OUTSIDE = {
    "embedding/kernel": "patch_embed.proj.weight",
    "embedding/bias": "patch_embed.proj.bias",
    "cls": "cls_token",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "Transformer/encoder_norm/scale": "norm.weight",
    "Transformer/encoder_norm/bias": "norm.bias",
    "head/kernel": "head.weight",
    "head/bias": "head.bias",
}
_INSIDE = {
    "LayerNorm_0/scale": "norm1.weight",
    "LayerNorm_0/bias": "norm1.bias",
    "LayerNorm_2/scale": "norm2.weight",
    "LayerNorm_2/bias": "norm2.bias",
    "MlpBlock_3/Dense_0/kernel": "mlp.fc1.weight",
    "MlpBlock_3/Dense_0/bias": "mlp.fc1.bias",
    "MlpBlock_3/Dense_1/kernel": "mlp.fc2.weight",
    "MlpBlock_3/Dense_1/bias": "mlp.fc2.bias",
    "MultiHeadDotProductAttention_1/out/kernel": "attn.proj.weight",
    "MultiHeadDotProductAttention_1/out/bias": "attn.proj.bias",
}
_BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/(.+)")
_ATTENTION = "MultiHeadDotProductAttention_1"


def is_augreg(arrays: "Mapping[str, np.ndarray]") -> bool:
    """Tell whether the names are those of a vision transformer that JAX saved."""
    return any(f"{prefix}{_SIGN}" in arrays for prefix in ("", *_PREFIXES))


def to_timm(arrays: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """Return the arrays under timm's names and in its shapes; one without a counterpart keeps its name.

    So nothing is dropped: strict loading names what is left over.
    """
    prefix = next((p for p in _PREFIXES if f"{p}{_SIGN}" in arrays), "")
    flax = {name.removeprefix(prefix): array for name, array in arrays.items()}
    state: dict[str, np.ndarray] = {}
    for name, array in flax.items():
        block = _BLOCK.fullmatch(name)
        if block is None:
            state[_OUTSIDE.get(name, name)] = _turned(name, array)
        elif block[2] in _INSIDE:
            state[f"blocks.{block[1]}.{_INSIDE[block[2]]}"] = _turned(name, array)
        else:
            state[name] = array
    _join_attention(state)
    return state


def _turned(name: str, array: "np.ndarray") -> "np.ndarray":
    """Return a kernel with its outputs first, as torch has it."""
    if not name.endswith("kernel"):
        return array
    if array.ndim == 4:  # (row, column, in, out)
        return array.transpose(3, 2, 0, 1)
    # The attention's output kernel is (head, width of a head, out).
    return array.reshape(-1, array.shape[-1]).T


def _join_attention(state: "dict[str, np.ndarray]") -> None:
    """Replace the query, key and value of each block, (in, head, width of a head), by their one matrix (out, in)."""
    import numpy as np

    blocks = {b[1] for b in map(_BLOCK.fullmatch, state) if b is not None}
    for block in blocks:
        stem = f"Transformer/encoderblock_{block}/{_ATTENTION}"
        for leaf, ours in (("kernel", "weight"), ("bias", "bias")):
            names = [f"{stem}/{part}/{leaf}" for part in ("query", "key", "value")]
            if not all(n in state for n in names):
                continue
            parts = [state.pop(n) for n in names]
            flat = [p.reshape(p.shape[0], -1).T if leaf == "kernel" else p.reshape(-1) for p in parts]
            state[f"blocks.{block}.attn.qkv.{ours}"] = np.concatenate(flat)
