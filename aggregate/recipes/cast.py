"""Who plays in the paper: its networks and data sets as roles, and the names that a store may have them under. Pure.

A role has the name that the authors' accuracies have; the zoo's name, and what the authors' scripts say, are others. A
store may call its own network by a role's name: names are all that results carry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRole:
    """A network of the paper, or of a store that plays in its place."""

    role: str
    """Name of the role, unique among models and data sets."""
    label: str
    """What a legend says."""
    names: tuple[str, ...]
    """Names that a store may have it under, `role` first."""
    zoo: str | None
    """Its name in the zoo; None for a network that is not the paper's."""
    width: int | None
    """Neurons of its penultimate layer; None where that is for the store to say."""
    look: int = 0
    """Which colour it has where many networks share a panel; those of one architecture have one."""
    variant: int = 0
    """Which dashes: 0 for standard training, then adversarial and other ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRole:
    """A data set of the paper, or of a store."""

    role: str
    """Name of the role."""
    label: str
    """What a legend or a title says."""
    names: tuple[str, ...]
    """Names that a store may have it under, `role` first."""
    zoo: str | None
    """Its name in the zoo; None for a data set that is not the paper's."""


def _model(
    role: str, label: str, width: int, *names: str, zoo: str | None = None, look: int = 0, variant: int = 0
) -> ModelRole:
    zoo = zoo or role
    known = tuple(dict.fromkeys((role, zoo, *names)))
    return ModelRole(role=role, label=label, names=known, zoo=zoo, width=width, look=look, variant=variant)


def _vit(patch: int, upstream: str, *, look: int, variant: int) -> ModelRole:
    return _model(
        f"vit_s{patch}-{upstream}k",
        f"ViT S-{patch}" + (" (ImageNet-21k)" if upstream == "21" else ""),
        384,
        zoo=f"vit_small_patch{patch}_224-in{upstream}k",
        look=look,
        variant=variant,
    )


WIDTHS: Final = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Neurons in the final layer of the ff-x networks."""
DROPOUT: Final = tuple(f"0.{tenths}" for tenths in range(1, 9))
"""Rates of the dropout networks."""

_MODELS: Final = (
    _model("resnet18", "ResNet18", 512, look=3),
    _model("resnet18-AT", "ResNet18 AT", 512, "resnet18_robustl2eps3", zoo="resnet18-l2-eps3", look=3, variant=1),
    _model("resnet50", "ResNet50", 2048, "resnet50_nonrob"),
    _model("resnet50-AT", "ResNet50 AT", 2048, "resnet50_robustl2eps3", zoo="resnet50-l2-eps3", variant=1),
    _model(
        "resnet50-linf", "ResNet50 AT l∞", 2048, "resnet50_robustlinfeps4", zoo="resnet50-linf-eps4", look=2, variant=2
    ),
    _model("wrn50_2", "WRN50-2", 2048, "wide_resnet50_2_nonrob", zoo="wide_resnet50_2", look=1),
    _model(
        "wrn50_2-AT",
        "WRN50-2 AT",
        2048,
        "wide_resnet50_2_robustl2eps3",
        zoo="wide_resnet50_2-l2-eps3",
        look=1,
        variant=1,
    ),
    _model("vgg16_bn", "VGG16 (bn)", 4096, "vgg16_bn_nonrob", look=2),
    _model("vgg16_bn-AT", "VGG16 (bn) AT", 4096, "vgg16_bn_robustl2eps3", zoo="vgg16_bn-l2-eps3", look=2, variant=1),
    _vit(16, "1", look=4, variant=0),
    _vit(32, "1", look=6, variant=0),
    _vit(16, "21", look=4, variant=1),
    _vit(32, "21", look=6, variant=1),
    _model("resnet50-mrl", "ResNet50 MRL", 2048, "resnet50_mrl", look=3),
    *(
        _model(f"resnet50-ff{width}", f"ResNet50 ff{width}", width, f"resnet50_ff{width}", look=position)
        for position, width in enumerate(reversed(WIDTHS), 1)
    ),
    *(
        _model(f"resnet50-dropout{rate}", f"dropout {rate}", 2048, f"resnet50_drop_rate_{rate}", look=position)
        for position, rate in enumerate(DROPOUT)
    ),
    _model("resnet50-decov0.0001", "DeCov 0.0001", 2048, "resnet50_decov_0.0001", look=8),
)
MODELS: Final[Mapping[str, ModelRole]] = MappingProxyType({model.role: model for model in _MODELS})
"""Every network of the paper by role."""


def _dataset(role: str, label: str, *names: str, zoo: str | None = None) -> DatasetRole:
    zoo = zoo or role
    return DatasetRole(role=role, label=label, names=tuple(dict.fromkeys((role, zoo, *names))), zoo=zoo)


_DATASETS: Final = (
    _dataset("cifar10", "CIFAR10"),
    _dataset("cifar100", "CIFAR100"),
    _dataset("flowers", "Flowers", "oxford-flowers102", zoo="flowers102"),
    _dataset("pets", "Oxford-IIIT-Pets", "oxford-iiit-pet", zoo="oxford-iiit-pets"),
    _dataset("imagenet", "ImageNet", "imagenet1k", "imagenet-1k"),
    _dataset("imagenetv2", "ImageNetV2", "imagenet-v2"),
    _dataset("places365", "Places365", "places"),
)
DATASETS: Final[Mapping[str, DatasetRole]] = MappingProxyType({dataset.role: dataset for dataset in _DATASETS})
"""Every data set of the paper by role."""
FOUR: Final = ("cifar10", "cifar100", "flowers", "pets")
"""The four data sets that most figures have."""
