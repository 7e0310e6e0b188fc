"""One forward pass of zeros that shows which modules run, what they hand on, and which one reads the last features."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extract._hooks import watch
from extract.errors import InvalidLayer
from extract.models import LoadedModel

if TYPE_CHECKING:
    from torch import nn

TRIAL_BATCH = 2
"""Samples of the trial pass: two, so that a module that folds windows into the batch is told from one that does not."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one forward pass of zeros showed of every module."""

    runs: Counter[str]
    """Times each module ran."""
    seen: dict[tuple[str, str], "tuple[int, ...] | str"]
    """(module, side) to the shape of the tensor, or the type's name where it is no tensor."""
    last_linear: str | None
    """The last nn.Linear that ran, where its output is the model's."""
    flop: float
    """Floating-point operations of one image (a multiply-add is two)."""


def try_out(loaded: LoadedModel, *, where: str) -> Trial:
    """Run two images of zeros, with every module watched.

    Raises
    ------
    InvalidLayer
        If the network can't run on the input it was described with.
    """
    import torch
    from torch import nn

    from extract._operations import CountOperations

    runs: Counter[str] = Counter()
    seen: dict[tuple[str, str], tuple[int, ...] | str] = {}
    linear: list[tuple[str, torch.Tensor]] = []

    def describe(value: Any) -> tuple[int, ...] | str:
        return tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__

    def receiver(names: list[str], module: "nn.Module", side: str) -> Callable[[Any], None]:
        def receive(value: Any) -> None:
            for name in names:
                seen[name, side] = describe(value)
                runs[name] += side == "output"
            if side == "output" and isinstance(module, nn.Linear):
                linear[:] = [(names[0], value)]

        return receive

    names_of: dict[nn.Module, list[str]] = {}
    for name, module in loaded.module.named_modules(remove_duplicate=False):
        names_of.setdefault(module, []).append(name)
    with ExitStack() as stack, torch.inference_mode():
        for module, names in names_of.items():
            for side in ("input", "output"):
                stack.callback(watch(module, side, receiver(names, module, side)).remove)
        try:
            with CountOperations() as counter:
                output = loaded.module(torch.zeros(TRIAL_BATCH, *loaded.input_shape))
        except Exception as e:
            raise InvalidLayer(
                f"{where}: the network can't run on an input of shape {loaded.input_shape} ({type(e).__name__}: {e}). "
                "Give the input_size it was built for, or build it for this one (timm: args: {img_size: ...})."
            ) from e
    last = None
    if linear and isinstance(output, torch.Tensor):
        name, value = linear[0]
        same = value.data_ptr() == output.data_ptr() and value.numel() == output.numel()
        last = name if same else None
    return Trial(runs=runs, seen=seen, last_linear=last, flop=counter.flop / TRIAL_BATCH)


def find_classifier(model: "nn.Module", trial: Trial, *, where: str) -> str:
    """Return the name of the module that reads the penultimate layer.

    It is what timm's ``get_classifier`` hands out (an Identity where ``num_classes`` is 0), otherwise the last
    nn.Linear that ran, if its output is the model's.

    Raises
    ------
    InvalidLayer
        If there is no such module, with what to name instead.
    """
    from torch import nn

    get_classifier: Any = getattr(model, "get_classifier", None)
    head = get_classifier() if callable(get_classifier) else None
    if isinstance(head, nn.Module) and isinstance(getattr(head, "fc", None), nn.Module):
        # timm's VGG, Sequencer and SAM hand out the whole head, pooling and all.
        head = head.fc
    for name, module in model.named_modules():
        if head is not None and module is head and trial.runs[name] == 1:
            return name
    if trial.last_linear is not None:
        return trial.last_linear
    heads = [h for h in (head if isinstance(head, tuple | list) else [head]) if isinstance(h, nn.Module)]
    inside = {m for h in heads for m in h.modules()}
    body = [n for n, m in model.named_modules() if n and trial.runs[n] == 1 and not isinstance(m, nn.Linear)]
    last = [n for n in body if model.get_submodule(n) not in inside][-5:] or ["NAME"]
    raise InvalidLayer(
        f"{where}: no penultimate layer was found: the network has no one classifier, and its output is not that of "
        f"an nn.Linear. Name a layer instead, as in layers: [{{layer: {last[-1]}}}]; the last modules before the "
        f"classifiers are {', '.join(last)}."
    )
