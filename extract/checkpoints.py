"""Checkpoints: from a file in any known layout to a state dict under the names of the network it is for.

==============  ====================================================================================================
layout          what it is
==============  ====================================================================================================
state dict      tensors by name (safetensors or torch), also under a top-level ``state_dict`` or ``model``
robustness      a training run of the robustness library: the network under ``model.``, beside normaliser and attacker
lightning       a training run of PyTorch Lightning that wraps the network as ``model``
augreg          a vision transformer as JAX saves it, ``.npz``
==============  ====================================================================================================

Nothing is dropped in silence: what a layout adds to the network is named here, and all else is left for strict loading
to refuse.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from extract._checkpoint_augreg import is_augreg, to_timm
from extract._checkpoint_file import first_line, read_npz, read_safetensors, read_torch
from extract._zoo_record import CheckpointFormat
from extract.errors import WeightsUnreadable

if TYPE_CHECKING:
    import torch

_SHOWN = 10
_WRAPPERS = ("state_dict", "model")
_SHELLS = ("module.", "model.", "_orig_mod.")
_LIGHTNING_SIGNS = ("pytorch-lightning_version", "hyper_parameters", "callbacks", "global_step", "loops")
# torchvision's VGG against timm's, which runs the first two linear layers as convolutions.
_VGG = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The weights of one file, ready for strict loading."""

    state: "dict[str, torch.Tensor]"
    """Tensors by the network's own names."""
    format: CheckpointFormat
    """How the file is laid out."""
    notes: tuple[str, ...] = ()
    """What was renamed, left out or added on the way, for people."""
    mean: tuple[float, ...] | None = None
    """Normalisation that the file says it was trained with, per channel; None where it says nothing."""
    std: tuple[float, ...] | None = None
    """Normalisation that the file says it was trained with, per channel."""


def read_checkpoint(
    path: Path, *, expected: "Mapping[str, torch.Tensor]", trust: Literal["tensors", "pickle"] = "tensors"
) -> Checkpoint:
    """Read a file of weights for a network.

    Parameters
    ----------
    path
        A ``.safetensors`` or ``.npz`` file, or, under any other name, a torch file.
    expected
        The network's state dict: its names decide how far the file's are renamed.
    trust
        ``tensors`` refuses a torch file that holds Python objects; ``pickle`` leaves these out.

    Raises
    ------
    UntrustedWeights
        If the file holds Python objects and is not trusted.
    WeightsUnreadable
        If the file is none of the known layouts.
    """
    if path.suffix == ".npz":
        return _from_npz(path)
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path, trust=trust)
    state = _unwrap(content, path)
    notes: list[str] = []
    layout, mean, std = _layout(content, state), None, None
    if layout != "state dict":
        mean, std = _normaliser(state)
        state = _inner_network(state, path, notes)
    state = _without_shells(state, expected, notes)
    state = _for_timm_vgg(state, expected, notes)
    state = _with_counters(state, expected, notes)
    return Checkpoint(state=state, format=layout, notes=tuple(notes), mean=mean, std=std)


def _from_npz(path: Path) -> Checkpoint:
    import numpy as np
    import torch

    arrays = read_npz(path)
    if not is_augreg(arrays):
        raise WeightsUnreadable(
            f"weights: {path} is not a vision transformer that JAX saved: it has no array embedding/kernel, but "
            f"{', '.join(map(repr, list(arrays)[:_SHOWN])) or 'nothing'}. Save other networks as safetensors."
        )
    try:
        state = {n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in to_timm(arrays).items()}
    except (TypeError, ValueError, IndexError) as e:
        raise WeightsUnreadable(
            f"weights: {path} holds arrays of another type or rank than a vision transformer's: {first_line(e)}."
        ) from e
    return Checkpoint(state=state, format="augreg", notes=("the file's arrays were renamed from JAX's layout",))


def _unwrap(content: Any, path: Path) -> "dict[str, torch.Tensor]":
    for candidate in (content, *(content.get(k) for k in _WRAPPERS if isinstance(content, Mapping))):
        if _is_state(candidate):
            return dict(candidate)
    found = f"keys {', '.join(map(repr, list(content)[:_SHOWN]))}" if isinstance(content, Mapping) else type(content)
    raise WeightsUnreadable(
        f"weights: {path} holds no state dict, neither at its top nor under {' or '.join(map(repr, _WRAPPERS))}; it "
        f"has {found}. Save model.state_dict() to a file of its own."
    )


def _is_state(value: Any) -> bool:
    import torch

    return isinstance(value, Mapping) and len(value) > 0 and all(isinstance(v, torch.Tensor) for v in value.values())


def _layout(content: Collection[str], state: "Mapping[str, torch.Tensor]") -> CheckpointFormat:
    """Tell the layout by what only it has."""
    names = [k.removeprefix("module.") for k in state]
    if any(n.startswith("attacker.") for n in names) and any(n.startswith("model.") for n in names):
        return "robustness"
    if any(sign in content for sign in _LIGHTNING_SIGNS):
        return "lightning"
    # A file of the robustness library from which somebody dropped the attacker.
    if any(n.startswith("normalizer.") for n in names) and any(n.startswith("model.") for n in names):
        return "robustness"
    return "state dict"


def _normaliser(
    state: "Mapping[str, torch.Tensor]",
) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """Return the mean and std that the wrapped network was fed with, where the file has them."""
    values = {k.removeprefix("module."): v for k, v in state.items()}
    mean, std = values.get("normalizer.new_mean"), values.get("normalizer.new_std")
    if mean is None or std is None:
        return None, None
    return tuple(mean.flatten().tolist()), tuple(std.flatten().tolist())


def _inner_network(state: "dict[str, torch.Tensor]", path: Path, notes: list[str]) -> "dict[str, torch.Tensor]":
    """Return what is under ``model.``, without the normaliser and the attacker's second copy of it."""
    import torch

    named = {k.removeprefix("module."): v for k, v in state.items()}
    inner = {k.removeprefix("model."): v for k, v in named.items() if k.startswith("model.")}
    copy = {k.removeprefix("attacker.model."): v for k, v in named.items() if k.startswith("attacker.model.")}
    others = [k for k in copy if k not in inner or not torch.equal(copy[k], inner[k])]
    if others:
        raise WeightsUnreadable(
            f"weights: {path} holds two networks that differ, under model. and attacker.model. (first in "
            f"{others[0]!r}). Save the state dict of the one you mean, alone."
        )
    added = ("model.", "normalizer.", "attacker.model.", "attacker.normalize.")
    beside = {k: v for k, v in named.items() if not k.startswith(added)}
    twice = [k for k in beside if k in inner]
    if twice:
        raise WeightsUnreadable(
            f"weights: {path} holds {twice[0]!r} both as it is and under model., so which network is meant is not "
            "clear. Save the state dict of the one you mean, alone."
        )
    if inner:
        notes.append("of the training run in the file, the network under `model.` was taken")
    return inner | beside


def _without_shells(
    state: "dict[str, torch.Tensor]", expected: Collection[str], notes: list[str]
) -> "dict[str, torch.Tensor]":
    """Take off the prefixes of wrappers such as DataParallel while all names have one and none fits as it is."""
    stripped = ""
    while shell := next((s for s in _SHELLS if state and all(k.startswith(s) for k in state)), None):
        if any(k in expected for k in state):
            break
        state = {k.removeprefix(shell): v for k, v in state.items()}
        stripped += shell
    if stripped:
        notes.append(f"the prefix {stripped!r} was taken off every name in the file")
    return state


def _for_timm_vgg(
    state: "dict[str, torch.Tensor]", expected: "Mapping[str, torch.Tensor]", notes: list[str]
) -> "dict[str, torch.Tensor]":
    """Turn the classifier of torchvision's VGG into that of timm's, where the network is timm's."""
    if "pre_logits.fc1.weight" not in expected or "classifier.0.weight" not in state:
        return state
    renamed = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        ours = f"{_VGG.get(module, module)}.{leaf}"
        like = expected.get(ours)
        fits = like is not None and like.ndim == 4 and tensor.ndim == 2 and like.numel() == tensor.numel()
        renamed[ours] = tensor.reshape(like.shape) if fits and like is not None else tensor
    notes.append("the classifier's linear layers became the convolutions that timm's VGG has")
    return renamed


def _with_counters(
    state: "dict[str, torch.Tensor]", expected: "Mapping[str, torch.Tensor]", notes: list[str]
) -> "dict[str, torch.Tensor]":
    """Add the batch counters of batch normalisation to a file from before torch 0.4.1, which had none.

    They count training steps; a network that is only run never reads them.
    """
    counters = [k for k in expected if k.endswith(_COUNTER)]
    if not counters or any(k.endswith(_COUNTER) for k in state):
        return state
    notes.append("the file is from before torch 0.4.1: the batch counters, which only training reads, were set to 0")
    return state | {k: expected[k].new_zeros(()) for k in counters}
