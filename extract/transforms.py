"""From a decoded image to what a network reads: named, versioned, and split where the work can be shared out.

Decode workers do the part that works on one image and releases the GIL (`pixels`, uint8); the thread that owns the
device does the arithmetic of a whole batch there (`normaliser`), so that a quarter of the bytes cross to the device.
Together, ``test-v1`` equals torchvision's ``Resize(s) -> CenterCrop(s) -> ToTensor -> Normalize`` to the bit.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract._geometry import fit, to_mode
from extract._normalise import make_normaliser
from extract._on_device import ResizedOnDevice, resizes_exactly
from extract._random_transform import RECIPES, RandomTransform
from extract.spec import TransformSpec
from store.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    import torch

TRANSFORMS = {"test": "test-v1", "paper": "paper-v1", "as-released": "as-released-v1"}
"""Name in a study to the versioned name that enters the id. A change of what a transform computes is a new version."""


class Transform(Protocol):
    """One version of a transform for one network. Frozen: safe to share between threads, and picklable."""

    @property
    def input_size(self) -> int:
        """Side of what the network reads, in pixels."""
        ...

    @property
    def n_channels(self) -> int:
        """Channels of what the network reads: 3, or 1 for grey."""
        ...

    @property
    def random(self) -> bool:
        """Whether rows and views get random numbers."""
        ...

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what `pixels` returns."""
        ...

    @property
    def pixels_key(self) -> Hashable:
        """Transforms with equal keys give equal `pixels`: networks that differ in mean and std share one decode."""
        ...

    def pixels(self, image: Image.Image, row: int = 0, view: int = 0) -> NDArray[np.uint8]:
        """Return what a decode worker makes of one image: uint8, `pixel_shape`, maybe read-only.

        It depends on the image, the row, the view and the seed only, whatever worker, batch or order.

        Raises
        ------
        ValueError
            If the image has more than 8 bits a channel.
        """
        ...

    def normaliser(self, device: "torch.device | str") -> "Callable[[torch.Tensor], torch.Tensor]":
        """Return the function that makes pixels on a device what the network reads.

        It takes what `pixels` returned, stacked: uint8, shape (n, *pixel_shape), and returns float32, shape
        (n, n_channels, input_size, input_size), in channels-last memory order.
        """
        ...

    def on_device(self, image_size: tuple[int, int]) -> "Transform":
        """Return the transform that resizes on the device, for images that all have one size; or itself.

        Both give the network the same values, to the bit. It is itself where the image as it is isn't smaller than
        what is sent now, or where the installed Pillow resizes otherwise.

        Parameters
        ----------
        image_size
            Height and width of every image, in pixels.
        """
        ...

    def wins_on(self, device_type: str) -> bool:
        """Tell whether this split of the work is worth it where the network runs on ``cpu`` or ``cuda``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TestTransform:
    """``test-v1``: short side to the input size (bilinear, antialiased), centre crop, [0, 1], normalise."""

    __test__ = False  # pytest: the name is the paper's, this is no test case

    input_size: int
    """Side of the result in pixels."""
    mean: tuple[float, ...]
    """Per channel of an image in [0, 1]; one value makes the image grey."""
    std: tuple[float, ...]
    """Per channel."""

    @property
    def n_channels(self) -> int:
        """Channels of the result: 3, or 1 for grey."""
        return len(self.mean)

    @property
    def random(self) -> bool:
        """False: every view is the same."""
        return False

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what `pixels` returns."""
        return self.input_size, self.input_size, self.n_channels

    @property
    def pixels_key(self) -> Hashable:
        """What decides `pixels`."""
        return TRANSFORMS["test"], self.input_size, self.n_channels

    def pixels(self, image: Image.Image, row: int = 0, view: int = 0) -> NDArray[np.uint8]:  # noqa: ARG002 - see Transform
        """Return the resized and cropped image, uint8, shape `pixel_shape`.

        Raises
        ------
        ValueError
            If the image has more than 8 bits a channel: narrowing it would clip it without a word.
        """
        return np.asarray(fit(to_mode(image, self.n_channels), self.input_size)).reshape(self.pixel_shape)

    def normaliser(self, device: "torch.device | str") -> "Callable[[torch.Tensor], torch.Tensor]":
        """Return the function that makes pixels on a device what the network reads: see `Transform`."""
        return make_normaliser(self.mean, self.std, device)

    def on_device(self, image_size: tuple[int, int]) -> "TestTransform | ResizedOnDevice":
        """Return the transform that resizes on the device, or itself: see `Transform`."""
        height, width = image_size
        smaller = height * width < self.input_size**2
        if not smaller or not resizes_exactly(image_size, self.input_size, self.n_channels):
            return self
        return ResizedOnDevice(image_size=image_size, input_size=self.input_size, mean=self.mean, std=self.std)

    def wins_on(self, device_type: str) -> bool:  # noqa: ARG002 - see Transform
        """Tell that nothing is lost anywhere: this is the split that is there anyway."""
        return True


def transform_version(name: str, *, where: str = "") -> str:
    """Return the versioned name of a transform.

    Raises
    ------
    UnknownName
        If there is no such transform.
    """
    if name not in TRANSFORMS:
        raise UnknownName.among("transform", name, TRANSFORMS, where=where)
    return TRANSFORMS[name]


def is_random(name: str) -> bool:
    """Tell whether a transform has randomness, so that its views differ and its seed enters the id.

    Raises
    ------
    UnknownName
        If there is no such transform.
    """
    return transform_version(name) in RECIPES


def check_transform(spec: TransformSpec, *, where: str) -> None:
    """Refuse a transform that is not there, or several views of one whose views are all the same.

    Raises
    ------
    UnknownName
        If there is no such transform.
    InvalidRequest
        If views are asked of a transform without randomness.
    """
    transform_version(spec.name, where=where)
    if spec.views > 1 and not is_random(spec.name):
        choices = " or ".join(name for name in TRANSFORMS if is_random(name))
        raise InvalidRequest(
            f"{where}: transform {spec.name!r} has no randomness, so its {spec.views} views would all be the same; set "
            f"views: 1, or choose {choices}."
        )


def make_transform(
    version: str, *, input_size: int, mean: tuple[float, ...], std: tuple[float, ...], seed: int | None = None
) -> TestTransform | RandomTransform:
    """Build the transform that a versioned name stands for.

    Parameters
    ----------
    version
        A value of `TRANSFORMS`.
    input_size, mean, std
        Of the network.
    seed
        Of a transform with randomness; None for the others.

    Raises
    ------
    InvalidRequest
        If this drfarm does not know the version, or a seed is missing or of no use.
    """
    if version not in TRANSFORMS.values():
        raise InvalidRequest(
            f"transform {version!r}: this drfarm knows {', '.join(TRANSFORMS.values())}; extract with the one that "
            "planned the job, or plan again."
        )
    if version in RECIPES:
        if seed is None:
            raise InvalidRequest(f"transform {version!r} is random: it needs a seed (>= 0), got none.")
        return RandomTransform(version=version, input_size=input_size, mean=mean, std=std, seed=seed)
    if seed is not None:
        raise InvalidRequest(f"transform {version!r} has no randomness: its seed is None, got {seed}.")
    return TestTransform(input_size=input_size, mean=mean, std=std)
