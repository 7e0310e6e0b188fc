"""Layers: which modules a study means, how they are pooled and how wide they are then."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from extract._pooling import resolve_pool
from extract._trial import TRIAL_BATCH, Trial, find_classifier, try_out
from extract.errors import InvalidLayer
from extract.models import LoadedModel
from extract.spec import MOST_WHOLE, PENULTIMATE, LayerSpec
from store.errors import UnknownName

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedLayer:
    """One layer of one network, found and measured: all that recording it takes."""

    name: str
    """Name in ids and paths: the module's dotted name, or ``penultimate``."""
    module: str
    """Dotted name of the module that is watched."""
    side: Literal["input", "output"]
    """What is recorded: what goes into the module, or what comes out."""
    pool: str
    """Pooling that is applied: ``none``, ``avg``, ``max``, ``cls``, ``flatten``, ``avg_nhwc`` or ``max_nhwc``."""
    width: int
    """Neurons after pooling."""
    keep: Literal["whole", "subsets"] = "whole"
    """Whether all its neurons are stored, or the union of a study's subsets."""


def resolve_layers(
    loaded: LoadedModel, layers: Sequence[LayerSpec], *, where: str = "the network", trial: Trial | None = None
) -> tuple[ResolvedLayer, ...]:
    """Find the layers that a study means, with their pooling and width; one forward pass of zeros.

    A glob is matched one dotted segment at a time (``blocks.*`` means blocks.0, not blocks.0.conv); what it matches
    comes in module order, without modules that never run. A layer that is named twice with one pooling is kept once.

    Raises
    ------
    UnknownName
        If a layer does not exist, with the nearest that does.
    InvalidLayer
        If a layer does not run, runs more than once, returns no tensor, or does not keep samples apart.
    """
    trial = trial or try_out(loaded, where=where)
    names = [n for n, _ in loaded.module.named_modules() if n]
    found: dict[tuple[str, str], ResolvedLayer] = {}
    for spec in layers:
        for name, module, side in _match(loaded.module, spec, names, trial, where=where):
            here = f"{where}: layer {name!r}"
            shape = _shape(trial, module, side, where=here)
            pool = resolve_pool(
                shape, spec.pool, model=loaded.module, module=loaded.module.get_submodule(module), where=here
            )
            width = _width(shape, pool)
            layer = ResolvedLayer(
                name=name, module=module, side=side, pool=pool, width=width, keep=_keep(spec.keep, width)
            )
            found.setdefault((name, pool), layer)
    return tuple(found.values())


def layer_widths(loaded: LoadedModel, layers: Sequence[LayerSpec]) -> dict[str, int]:
    """Return each layer's name and width in neurons, after pooling."""
    return {layer.name: layer.width for layer in resolve_layers(loaded, layers)}


def _match(
    model: "nn.Module", spec: LayerSpec, names: Sequence[str], trial: Trial, *, where: str
) -> list[tuple[str, str, Literal["input", "output"]]]:
    if spec.layer == PENULTIMATE:
        return [(PENULTIMATE, find_classifier(model, trial, where=where), "input")]
    if not any(c in spec.layer for c in "*?["):
        # Aliases of a shared module count: `named_modules` lists such a module once.
        if spec.layer not in {n for n, _ in model.named_modules(remove_duplicate=False) if n}:
            raise UnknownName.among("layer", spec.layer, [PENULTIMATE, *names], where=where)
        return [(spec.layer, spec.layer, "output")]
    pattern = spec.layer.split(".")
    matched = [n for n in names if _segments_match(n.split("."), pattern)]
    ran = [n for n in matched if trial.runs[n]]
    if not ran:
        if matched:
            raise InvalidLayer(
                f"{where}: layer {spec.layer!r} matches {', '.join(matched[:3])}, but none of them runs."
            )
        raise UnknownName.among("layer that matches", spec.layer, [PENULTIMATE, *names], where=where)
    return [(n, n, "output") for n in ran]


def _segments_match(segments: list[str], pattern: list[str]) -> bool:
    return len(segments) == len(pattern) and all(map(fnmatch.fnmatchcase, segments, pattern))


def _shape(trial: Trial, module: str, side: str, *, where: str) -> tuple[int, ...]:
    runs = trial.runs[module]
    if runs != 1:
        what = "does not run" if runs == 0 else f"runs {runs} times"
        raise InvalidLayer(
            f"{where}: module {module!r} {what} in one forward pass, so it has no one output; name a module that runs "
            "once, such as the block around it."
        )
    shape = trial.seen[module, side]
    if isinstance(shape, str):
        raise InvalidLayer(f"{where}: the {side} of module {module!r} is a {shape}, expected a tensor; name another.")
    if len(shape) < 2 or shape[0] != TRIAL_BATCH:
        raise InvalidLayer(
            f"{where}: module {module!r} turned {TRIAL_BATCH} samples into shape {shape}; the first dimension must "
            "stay the sample. Name another layer."
        )
    return shape


def _keep(asked: str, width: int) -> Literal["whole", "subsets"]:
    return "subsets" if asked == "subsets" or (asked == "auto" and width > MOST_WHOLE) else "whole"


def _width(shape: tuple[int, ...], pool: str) -> int:
    if pool == "flatten":
        width = 1
        for n in shape[1:]:
            width *= n
        return width
    return shape[1] if pool in ("none", "avg", "max") and len(shape) != 3 else shape[-1]
