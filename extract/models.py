"""Networks: building one from its source, giving it its weights, and what its input looks like."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract._construct import build
from extract._model_notes import normalisation_notes, weights_notes
from extract._weights import file_digest, is_file, load_strictly, random_seed, state_digest
from extract.checkpoints import Checkpoint, read_checkpoint
from extract.errors import InvalidModel, WeightsUnreadable
from extract.spec import ModelSpec, check_normalisation
from extract.zoo import find_weights, how_to_get, zoo_network
from store.errors import InvalidRequest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A network ready to be run, and nothing but run: in eval mode, without gradients."""

    module: "nn.Module"
    """The network, on the CPU."""
    weights: str
    """sha256, hexadecimal: of the file's bytes, or of the state dict where there is no file."""
    input_size: int
    """Side of the square input in pixels."""
    mean: tuple[float, ...]
    """Normalisation per channel of an image in [0, 1]; its length is the number of channels."""
    std: tuple[float, ...]
    """Normalisation per channel."""
    notes: tuple[str, ...] = ()
    """What a person should know of it: deviations from the paper, another normalisation, what was renamed."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one input."""
        return len(self.mean), self.input_size, self.input_size


def load_model(spec: ModelSpec) -> LoadedModel:
    """Build a network and load its weights, strictly.

    The global random state of torch is left as it was.

    Raises
    ------
    UnknownName
        If timm, torchvision or the zoo has no such model.
    InvalidModel
        If it can't be built, or its normalisation is not known.
    WeightsUnreadable, UntrustedWeights, WeightsMismatch
        If the weights are missing, hold Python objects that nobody vouched for, or don't fit.
    """
    import torch

    where = f"model {spec.name!r}"
    path = weights_path(spec)
    with _named(where):
        seed = random_seed(spec.weights)
        digest = file_digest(path) if path else None
        _check_hash(spec, path, digest)
    with torch.random.fork_rng(devices=[]):
        # The CPU generator alone: torch.manual_seed would reseed the caller's devices too.
        torch.default_generator.manual_seed(seed or 0)
        module = build(spec, hub=spec.weights == "hub" and path is None, where=where)
    checkpoint = None
    if path is not None:
        with _named(where):
            checkpoint = read_checkpoint(path, expected=module.state_dict(), trust=spec.trust)
            _check_format(spec, path, checkpoint)
        load_strictly(module, checkpoint.state, where=f"{where}: {path}")
    module.eval().requires_grad_(requires_grad=False)
    input_size, mean, std = _input(spec, module, where=where)
    notes = (*weights_notes(spec, digest, checkpoint), *normalisation_notes(spec, mean, std, checkpoint))
    return LoadedModel(
        module=module,
        weights=digest or state_digest(module.state_dict()),
        input_size=input_size,
        mean=mean,
        std=std,
        notes=tuple(f"{where}: {n}" for n in notes),
    )


def weights_path(spec: ModelSpec) -> Path | None:
    """Return the file that a model's weights are read from; None where they are random or the hub's.

    For a network of the zoo, ``hub`` is the file that the zoo expects in the weights folder.

    Raises
    ------
    UnknownName
        If the zoo has no such network.
    WeightsUnreadable
        If the zoo's file is not there, with where to get it.
    """
    where = f"model {spec.name!r}"
    with _named(where):
        if is_file(spec.weights):
            return Path(spec.weights)
    kind, _, name = spec.source.partition(":")
    if kind != "zoo" or spec.weights != "hub":
        return None
    network = zoo_network(name, where=where)
    path = find_weights(network, spec.weights_folder)
    if path is None:
        raise WeightsUnreadable(
            f"{where}: weights: the file of zoo:{name} is not there. {how_to_get(network, spec.weights_folder)} "
            "Another folder: weights_folder in the study, or $DRFARM_WEIGHTS. Nothing is downloaded unasked."
        )
    return path


def _check_hash(spec: ModelSpec, path: Path | None, digest: str | None) -> None:
    """Refuse a file of the zoo that is not the published one."""
    if path is None or digest is None or spec.weights != "hub":
        return
    network = zoo_network(spec.source.partition(":")[2])
    if network.sha256 is not None and not digest.startswith(network.sha256):
        raise WeightsUnreadable(
            f"weights: {path} is not the published file: expected a sha256 that begins with {network.sha256}, got "
            f"{digest[:12]}.... {how_to_get(network, spec.weights_folder)} To use this file all the same, give its "
            "path as `weights`."
        )


def _check_format(spec: ModelSpec, path: Path, checkpoint: Checkpoint) -> None:
    """Refuse a file of the zoo that is laid out as another."""
    if spec.weights != "hub":
        return
    network = zoo_network(spec.source.partition(":")[2])
    if checkpoint.format != network.format:
        raise WeightsUnreadable(
            f"weights: {path} has another layout than the published file: expected {network.format}, got "
            f"{checkpoint.format}. {how_to_get(network, spec.weights_folder)} To use this file all the same, give its "
            "path as `weights`."
        )


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Put the model's name before what is said of its weights."""
    try:
        yield
    except InvalidRequest as e:
        raise type(e)(f"{where}: {e}") from e


def _input(spec: ModelSpec, module: "nn.Module", *, where: str) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return input size, mean and std: the study's, else what the source says."""
    size, mean, std = spec.input_size, spec.mean, spec.std
    if size is None or mean is None or std is None:
        known = _source_input(spec, module)
        if known is None:
            lacking = [n for n, v in (("input_size", size), ("mean", mean), ("std", std)) if v is None]
            raise InvalidModel(
                f"{where}: {spec.source} does not say what its input looks like; give {', '.join(lacking)} in the "
                "study."
            )
        size = known[0] if size is None else size
        if mean is None or std is None:
            mean, std = known[1], known[2]
            try:
                check_normalisation(mean, std, where=where)
            except InvalidRequest as e:
                raise InvalidModel(f"{e} Give mean and std in the study.") from e
    channels = spec.arguments.get("in_chans")
    if isinstance(channels, int) and channels != len(mean):
        raise InvalidModel(
            f"{where}: args say in_chans: {channels}, but mean and std have {len(mean)} values; give mean and std with "
            f"{channels} in the study."
        )
    return size, mean, std


def _source_input(spec: ModelSpec, module: "nn.Module") -> tuple[int, tuple[float, ...], tuple[float, ...]] | None:
    kind, _, name = spec.source.partition(":")
    if kind == "timm":
        from timm.data.config import resolve_data_config

        # `img_size` rebuilds position embeddings: then the pretrained size is not this model's.
        image = spec.arguments.get("img_size")
        config = resolve_data_config({"img_size": image} if isinstance(image, int) else {}, model=module)
        return int(config["input_size"][-1]), _floats(config["mean"]), _floats(config["std"])
    if kind == "torchvision":
        import torchvision

        preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return int(preset.crop_size[0]), _floats(preset.mean), _floats(preset.std)
    if kind == "zoo":
        network = zoo_network(name)
        return network.input_size, network.mean, network.std
    return None


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
