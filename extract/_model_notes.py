"""What a person should know of a loaded network: deviations, another normalisation, and what was done to its file."""

from typing import TYPE_CHECKING

from extract._weights import random_seed
from extract.spec import ModelSpec
from extract.zoo import zoo_network

if TYPE_CHECKING:
    from extract.checkpoints import Checkpoint

_CLOSE = 1e-4
"""Largest difference at which two normalisations are the same: files keep them in float32."""

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


def weights_notes(spec: ModelSpec, digest: str | None, checkpoint: "Checkpoint | None") -> tuple[str, ...]:
    """Say what the zoo knows of the network, whether the file is the zoo's, and what was renamed in it."""
    notes: list[str] = []
    kind, _, name = spec.source.partition(":")
    if kind == "zoo" and digest is not None:
        network = zoo_network(name)
        notes += network.notes if network.trained_mean is None else ()
        if network.sha256 is not None and not digest.startswith(network.sha256):
            notes.append(
                f"{spec.weights} is not the file that the zoo names for {name}: sha256 {network.sha256}... expected, "
                f"{digest[: len(network.sha256)]}... got."
            )
    if checkpoint is not None:
        notes += [f"{n}." for n in checkpoint.notes]
    return tuple(notes)


def normalisation_notes(
    spec: ModelSpec, mean: tuple[float, ...], std: tuple[float, ...], checkpoint: "Checkpoint | None"
) -> tuple[str, ...]:
    """Name a normalisation that is not the one of the weights' training, or not the paper's, with both values."""
    if random_seed(spec.weights) is not None:
        return ()  # weights that nothing was trained with
    notes: list[str] = []
    kind, _, name = spec.source.partition(":")
    used = (mean, std)
    if kind == "zoo":
        network = zoo_network(name)
        paper: Normalisation = (network.mean, network.std)
        if network.trained_mean is not None and network.trained_std is not None and _same(used, paper):
            notes += network.notes
        elif not _same(used, paper):
            notes.append(f"images are normalised with {_text(used)}; the paper used {_text(paper)}.")
    elif spec.mean is not None:
        said = _said_by_source(spec)
        if said is not None and not _same(used, said):
            notes.append(
                f"images are normalised with {_text(used)}, as the study says; {spec.source} was trained with "
                f"{_text(said)}."
            )
    if checkpoint is not None and checkpoint.mean is not None and checkpoint.std is not None:
        inside = (checkpoint.mean, checkpoint.std)
        if not _same(used, inside):
            notes.append(f"images are normalised with {_text(used)}; the file of weights says {_text(inside)}.")
    return tuple(notes)


def _said_by_source(spec: ModelSpec) -> Normalisation | None:
    """Return the normalisation of the very weights that are named: a tag of timm's, or a hub's default."""
    kind, _, name = spec.source.partition(":")
    if kind == "timm" and ("." in name or spec.weights == "hub"):
        import timm

        config = timm.get_pretrained_cfg(name)
        return None if config is None else (tuple(config.mean), tuple(config.std))
    if kind == "torchvision" and spec.weights == "hub":
        import torchvision

        preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return tuple(preset.mean), tuple(preset.std)
    return None


def _same(a: Normalisation, b: Normalisation) -> bool:
    flat_a, flat_b = [*a[0], *a[1]], [*b[0], *b[1]]
    return len(flat_a) == len(flat_b) and all(abs(x - y) <= _CLOSE for x, y in zip(flat_a, flat_b, strict=True))


def _text(normalisation: Normalisation) -> str:
    mean, std = (", ".join(f"{v:g}" for v in values) for values in normalisation)
    return f"mean ({mean}) and std ({std})"
