"""``test-v1`` with the resizing on the device: small images cross as they are, and grow there to the same pixels."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract._geometry import centre, fit, fitted_size, to_mode
from extract._normalise import make_normaliser
from extract._resize import BilinearResize
from extract.errors import ExtractError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizedOnDevice:
    """What ``test-v1`` gives, for images of one size, with nothing but the decoding left to the workers."""

    image_size: tuple[int, int]
    """Height and width of every image."""
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
        return *self.image_size, self.n_channels

    @property
    def pixels_key(self) -> Hashable:
        """What decides `pixels`: networks of any input size share them."""
        return "as it is", self.image_size, self.n_channels

    def pixels(self, image: Image.Image, row: int = 0, view: int = 0) -> NDArray[np.uint8]:
        """Return the image as it is, uint8, shape `pixel_shape`.

        Raises
        ------
        ValueError
            If the image has more than 8 bits a channel.
        ExtractError
            If the image has another size than all images were said to have: nothing is wrong with the image, so that
            it must not be masked.
        """
        if (image.height, image.width) != self.image_size:
            raise ExtractError(
                f"row {row}, view {view}: every image was said to be {self.image_size[0]} x {self.image_size[1]} "
                f"(height x width), got {image.height} x {image.width}; resize in the decode workers instead."
            )
        return np.asarray(to_mode(image, self.n_channels)).reshape(self.pixel_shape)

    def normaliser(self, device: "torch.device | str") -> "Callable[[torch.Tensor], torch.Tensor]":
        """Return the function that resizes, crops and normalises a batch on a device: see `Transform`."""
        resize = _make_resize(self.image_size, self.input_size, device)
        normalise = make_normaliser(self.mean, self.std, device)

        def resize_and_normalise(pixels: "torch.Tensor") -> "torch.Tensor":
            return normalise(resize(pixels))

        return resize_and_normalise

    def on_device(self, image_size: tuple[int, int]) -> "ResizedOnDevice":  # noqa: ARG002 - see Transform
        """Return itself."""
        return self

    def wins_on(self, device_type: str) -> bool:
        """Tell whether resizing there is worth it.

        On a CUDA device it takes the work off the decode workers and sends fewer bytes. On the CPU it takes less time
        of a core than Pillow does: 9 against 14 ms for 64 images from 32 to 224 pixels, 16 against 17 from 96 to 224.
        """
        return device_type in ("cpu", "cuda")


def _make_resize(image_size: tuple[int, int], size: int, device: "torch.device | str") -> BilinearResize:
    height, width = image_size
    new_width, new_height = fitted_size(width, height, size)
    left, top = centre(new_width, new_height, size)
    return BilinearResize(image_size, (new_height, new_width), crop=(top, left, size, size), device=device)


@lru_cache(maxsize=256)
def resizes_exactly(image_size: tuple[int, int], size: int, n_channels: int) -> bool:
    """Tell whether the installed Pillow and the resizing on the device agree to the bit, by trying a noisy image.

    They do in every release that we know. But Pillow promises no bits (release 13 changed the order of the two passes
    where rows are reduced), and forks of it round otherwise: who has one of those loses speed, not exactness.
    """
    import torch

    noise = np.random.default_rng(0).integers(0, 256, (*image_size, n_channels), dtype=np.uint8)
    expected = np.asarray(fit(Image.fromarray(noise.squeeze(-1) if n_channels == 1 else noise), size))
    got = _make_resize(image_size, size, "cpu")(torch.from_numpy(noise)[None])[0].numpy()
    return bool(np.array_equal(got, expected.reshape(got.shape)))
