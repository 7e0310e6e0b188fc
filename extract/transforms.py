"""From a decoded image to what a network reads: named, versioned, and split where the work can be shared out.

Decoding threads do the part that works on one image and releases the GIL (`pixels`, uint8); the thread that owns the
device does the arithmetic of a whole batch there (`normaliser`), so that a quarter of the bytes cross to the device.
Together they equal torchvision's ``Resize(s) -> CenterCrop(s) -> ToTensor -> Normalize`` to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from store.errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    import torch

TRANSFORMS = {"test": "test-v1"}
"""Name in a study to the versioned name that enters the id. A change of what a transform computes is a new version."""

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def transform_version(name: str) -> str:
    """Return the versioned name of a transform.

    Raises
    ------
    UnknownName
        If there is no such transform.
    """
    if name not in TRANSFORMS:
        raise UnknownName.among("transform", name, TRANSFORMS)
    return TRANSFORMS[name]


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

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Return the resized and cropped image, uint8, shape (input_size, input_size, n_channels).

        Raises
        ------
        ValueError
            If the image has more than 8 bits a channel: narrowing it would clip it without a word.
        """
        size = self.input_size
        image = _to_mode(image, "L" if self.n_channels == 1 else "RGB")
        width, height = image.size
        # torchvision's `Resize(int)`: the long side is truncated, not rounded.
        new = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
        if new != image.size:
            image = image.resize(new, Image.Resampling.BILINEAR)
        if new != (size, size):
            left, top = round((new[0] - size) / 2.0), round((new[1] - size) / 2.0)
            image = image.crop((left, top, left + size, top + size))
        return np.asarray(image).reshape(size, size, self.n_channels)

    def normaliser(self, device: "torch.device | str") -> "Callable[[torch.Tensor], torch.Tensor]":
        """Return the function that makes pixels on a device what the network reads.

        It takes what `pixels` returned, stacked: uint8, shape (n, input_size, input_size, n_channels), and returns
        float32, shape (n, n_channels, input_size, input_size), in channels-last memory order. Mean and std go to the
        device once, here: sending them with every batch would make a CUDA device wait.
        """
        import torch

        shape = (1, self.n_channels, 1, 1)
        mean = torch.tensor(self.mean, dtype=torch.float32, device=device).view(shape)
        std = torch.tensor(self.std, dtype=torch.float32, device=device).view(shape)

        def normalise(pixels: "torch.Tensor") -> "torch.Tensor":
            batch = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
            return batch.div_(255).sub_(mean).div_(std)

        return normalise


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in _DEEP_MODES:
        raise ValueError(f"the image has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns that a transparent palette goes by way of RGBA.
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def make_transform(version: str, *, input_size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> TestTransform:
    """Build the transform that a versioned name stands for.

    Raises
    ------
    InvalidRequest
        If this drfarm does not know the version.
    """
    if version != TRANSFORMS["test"]:
        raise InvalidRequest(
            f"transform {version!r}: this drfarm knows {', '.join(TRANSFORMS.values())}; extract with the one that "
            "planned the job, or plan again."
        )
    return TestTransform(input_size=input_size, mean=mean, std=std)
