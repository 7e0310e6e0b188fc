"""Networks: building one from its source, giving it its weights, and what its input looks like."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract._weights import file_digest, is_file, load_strictly, random_seed, read_state, state_digest
from extract.errors import InvalidModel, WeightsUnreadable
from extract.spec import ModelSpec, check_normalisation
from store.errors import DrfarmError, InvalidRequest, UnknownName

if TYPE_CHECKING:
    from torch import nn

_OURS = ("pretrained", "checkpoint_path", "weights")
"""Constructor arguments that would choose weights behind the study's back."""


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
        If timm or torchvision has no such model.
    InvalidModel
        If it can't be built, or its normalisation is not known.
    WeightsUnreadable, WeightsMismatch
        If the weights are missing or don't fit.
    """
    import torch

    where = f"model {spec.name!r}"
    with _named(where):
        seed = random_seed(spec.weights)
        path = Path(spec.weights) if is_file(spec.weights) else None
        digest = file_digest(path) if path else None
    with torch.random.fork_rng(devices=[]):
        # The CPU generator alone: torch.manual_seed would reseed the caller's devices too.
        torch.default_generator.manual_seed(seed or 0)
        module = _build(spec, hub=spec.weights == "hub", where=where)
    if path is not None:
        with _named(where):
            state = read_state(path)
        load_strictly(module, state, where=f"{where}: {path}")
    module.eval().requires_grad_(requires_grad=False)
    input_size, mean, std = _input(spec, module, where=where)
    return LoadedModel(
        module=module,
        weights=digest or state_digest(module.state_dict()),
        input_size=input_size,
        mean=mean,
        std=std,
    )


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Put the model's name before what is said of its weights."""
    try:
        yield
    except InvalidRequest as e:
        raise type(e)(f"{where}: {e}") from e


def _build(spec: ModelSpec, *, hub: bool, where: str) -> "nn.Module":
    from torch import nn

    kind, _, name = spec.source.partition(":")
    for argument in _OURS:
        if argument in spec.arguments:
            raise InvalidModel(f"{where}: args can't hold {argument!r}; `weights` says which weights are loaded.")
    try:
        if kind == "timm":
            module = _build_timm(name, dict(spec.arguments), hub=hub, where=where)
        elif kind == "torchvision":
            module = _build_torchvision(name, dict(spec.arguments), hub=hub, where=where)
        else:
            module = _build_python(name, dict(spec.arguments), hub=hub, where=where)
    except DrfarmError:
        raise
    except Exception as e:
        # Constructors and downloads raise whatever they like; the caller needs the model's name and what to do.
        if hub:
            raise WeightsUnreadable(
                f"{where}: the hub's weights for {spec.source} could not be had ({type(e).__name__}: {e}). Check the "
                "network, or download the file elsewhere and give its path as `weights`."
            ) from e
        raise InvalidModel(
            f"{where}: {spec.source} can't be built with args {dict(spec.arguments)}: {type(e).__name__}: {e}. Correct "
            "`args` in the study."
        ) from e
    if not isinstance(module, nn.Module):
        raise InvalidModel(f"{where}: {spec.source} must return a torch.nn.Module, got {type(module).__name__}.")
    return module


def _build_timm(name: str, arguments: dict[str, Any], *, hub: bool, where: str) -> Any:
    import timm

    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise UnknownName.among("timm model", base, timm.list_models(), where=where)
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{base}.*")] if tag else []
    if tag and tag not in tags:
        raise UnknownName.among(f"tag of timm model {base}", tag, tags, where=where)
    return timm.create_model(name, pretrained=hub, **arguments)


def _build_torchvision(name: str, arguments: dict[str, Any], *, hub: bool, where: str) -> Any:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UnknownName.among("torchvision model", name, known, where=where)
    if not hub and name in ("googlenet", "inception_v3"):
        # Without it torchvision warns and initialises as it does by default, slowly.
        arguments = {"init_weights": True, **arguments}
    return torchvision.models.get_model(name, weights="DEFAULT" if hub else None, **arguments)


def _build_python(name: str, arguments: dict[str, Any], *, hub: bool, where: str) -> Any:
    module_name, _, attribute = name.partition(":")
    if hub:
        raise InvalidModel(f"{where}: python:{name} has no hub; `weights` is a file or random:SEED.")
    try:
        target: Any = importlib.import_module(module_name)
    except ImportError as e:
        raise InvalidModel(
            f"{where}: python:{name}: module {module_name!r} can't be imported ({e}). Install it where extraction "
            "runs, or put its folder on PYTHONPATH."
        ) from e
    for part in attribute.split("."):
        if not hasattr(target, part):
            names = [n for n in vars(target) if not n.startswith("__")] if hasattr(target, "__dict__") else []
            raise UnknownName.among(f"callable in {module_name}", part, names, where=where)
        target = getattr(target, part)
    if not callable(target):
        raise InvalidModel(f"{where}: python:{name} is a {type(target).__name__}, expected something to call.")
    return target(**arguments)


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
    return None


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
