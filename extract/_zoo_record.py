"""What the zoo says of one network: where it comes from, how its file looks, and what was different from the paper."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from store.ids import JSON

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

CheckpointFormat = Literal["state dict", "robustness", "lightning", "augreg"]
"""How a file of weights is laid out; see `extract.checkpoints`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooNetwork:
    """One network that the paper, or its code, ran. Plain data: nothing is loaded."""

    name: str
    """Name after ``zoo:``."""
    architecture: str
    """``timm:NAME``, or ``blurpool_resnet50``, which `extract` builds itself."""
    arguments: Mapping[str, JSON] = field(default_factory=dict)
    """Keyword arguments of the constructor."""
    width: int
    """Neurons of the penultimate layer."""
    upstream: str
    """Data that it was trained on."""
    loss: str
    """What it was trained to minimise."""
    file: str
    """Name of the file of weights in the weights folder."""
    aliases: tuple[str, ...] = ()
    """Other names under which the same file is found."""
    url: str | None
    """Where the file is published: the file, or the page that lists it; None where nobody published it."""
    origin: str
    """Whose weights these are, in words."""
    sha256: str | None = None
    """What the file's sha256 begins with, hexadecimal; None where the publisher does not say."""
    format: CheckpointFormat
    """How the file is laid out."""
    input_size: int = 224
    """Side of the square input in pixels."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Normalisation per channel that the paper used."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Normalisation per channel that the paper used."""
    trained_mean: tuple[float, float, float] | None = None
    """Normalisation that the network was trained with, where it is another; None: the same."""
    trained_std: tuple[float, float, float] | None = None
    """Given if and only if `trained_mean` is."""
    top1: float | None = None
    """Top-1 accuracy on ImageNet's validation images, a fraction; None where nobody says."""
    top1_by: Literal["authors", "release"] | None = None
    """Who measured it: the paper's authors (short side to 224, centre crop 224) or the release of the weights."""
    notes: tuple[str, ...] = ()
    """Where it differs from what the paper's text says."""
    in_paper: bool = True
    """Whether the paper shows it; otherwise its code ran it, and the paper does not."""
