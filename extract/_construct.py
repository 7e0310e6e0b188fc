"""Building a network from its source: timm, torchvision, a callable of the user's, or the zoo."""

import importlib
from typing import TYPE_CHECKING, Any

from extract.errors import InvalidModel, WeightsUnreadable
from extract.spec import ModelSpec
from extract.zoo import zoo_network
from store.errors import DrfarmError, UnknownName

if TYPE_CHECKING:
    from torch import nn

_OURS = ("pretrained", "checkpoint_path", "weights")
"""Constructor arguments that would choose weights behind the study's back."""


def build(spec: ModelSpec, *, hub: bool, where: str) -> "nn.Module":
    """Build the network of a spec, with the hub's weights where ``hub`` says so, else freshly initialised.

    Raises
    ------
    UnknownName
        If the source has no such model.
    InvalidModel
        If it can't be built, or is no network.
    WeightsUnreadable
        If the hub's weights can't be had.
    """
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
        elif kind == "zoo":
            module = _build_zoo(name, dict(spec.arguments), where=where)
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


def _build_zoo(name: str, arguments: dict[str, Any], *, where: str) -> Any:
    network = zoo_network(name, where=where)
    fixed = [a for a in arguments if a in network.arguments]
    if fixed:
        raise InvalidModel(
            f"{where}: zoo:{name} is the network with {fixed[0]}: {network.arguments[fixed[0]]}, and args can't change "
            f"that. Leave {fixed[0]!r} out, or name another source, such as {network.architecture}."
        )
    arguments = {**network.arguments, **arguments}
    kind, _, architecture = network.architecture.partition(":")
    if kind == "timm":
        return _build_timm(architecture, arguments, hub=False, where=where)
    from extract._zoo_networks import blurpool_resnet50

    return blurpool_resnet50(**arguments)
