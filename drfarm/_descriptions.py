"""Keeping what loading a network told, so that a finished study is planned without loading it again.

Kept only where a digest covers all that decides it: weights from a file, and code from timm, torchvision or our zoo.
"""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from drfarm._version import __version__
from extract import LayerSpec, ModelDescription, ModelSpec, ResolvedLayer, describe_model, file_digest, weights_path
from store import NotFound, Store, canonical_json, content_id

_FORMAT = 3


def describe(spec: ModelSpec, layers: Sequence[LayerSpec], store: Store | None, *, remember: bool) -> ModelDescription:
    """Describe a network and its layers, from the store's memory where it holds; ``remember`` adds to it."""
    key = _key(spec, layers)
    if store is None or key is None:
        return describe_model(spec, layers)
    kept = _recall(store, key)
    if kept is not None:
        return _from_dict(kept, spec)
    description = describe_model(spec, layers)
    if remember:
        store.objects.put(_name(key), canonical_json(_to_dict(description)))
    return description


def _key(spec: ModelSpec, layers: Sequence[LayerSpec]) -> str | None:
    file = weights_path(spec)
    if spec.source.startswith("python:") or file is None or not file.is_file():
        return None
    return content_id(
        {
            "format": _FORMAT,
            # With the name and the text of `weights`: notes hold both, and `hub` asks more of a file than a path does.
            "model": {**asdict(spec), "weights_folder": None},
            "weights": file_digest(file),
            "layers": [asdict(layer) for layer in layers],
            # Our own version stands for the zoo and for how layers are found.
            "versions": {"drfarm": __version__} | {name: version(name) for name in ("timm", "torchvision", "torch")},
        }
    )


def _name(key: str) -> str:
    return f"descriptions/{key}.json"


def _recall(store: Store, key: str) -> dict[str, Any] | None:
    import json

    try:
        return dict(json.loads(store.objects.get(_name(key))))
    except (NotFound, ValueError):
        return None


def _to_dict(description: ModelDescription) -> dict[str, Any]:
    return {
        "weights": description.weights,
        "input_size": description.input_size,
        "mean": list(description.mean),
        "std": list(description.std),
        "layers": [asdict(layer) for layer in description.layers],
        "flop": description.flop,
        "n_parameters": description.n_parameters,
        "notes": list(description.notes),
    }


def _from_dict(kept: dict[str, Any], spec: ModelSpec) -> ModelDescription:
    return ModelDescription(
        spec=spec,
        weights=kept["weights"],
        input_size=kept["input_size"],
        mean=tuple(kept["mean"]),
        std=tuple(kept["std"]),
        layers=tuple(ResolvedLayer(**layer) for layer in kept["layers"]),
        flop=kept["flop"],
        n_parameters=kept["n_parameters"],
        notes=tuple(kept["notes"]),
    )
