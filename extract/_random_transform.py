"""Transforms with randomness: every row and view is augmented in its own way, in the decode workers."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract._augment import AS_RELEASED, PAPER, augment, draw
from extract._draws import Draws
from extract._geometry import to_mode
from extract._normalise import make_normaliser

if TYPE_CHECKING:
    import torch

RECIPES = {"paper-v1": PAPER, "as-released-v1": AS_RELEASED}
"""Versioned name of a transform to what it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomTransform:
    """``paper-v1`` or ``as-released-v1``: another augmentation for every row and view; all of it in decode workers."""

    version: str
    """Versioned name."""
    input_size: int
    """Side of the result in pixels."""
    mean: tuple[float, ...]
    """Per channel of an image in [0, 1]; one value makes the image grey before it is augmented."""
    std: tuple[float, ...]
    """Per channel."""
    seed: int
    """Of every random number; each (row, view) has a stream of its own."""

    @property
    def n_channels(self) -> int:
        """Channels of the result: 3, or 1 for grey."""
        return len(self.mean)

    @property
    def random(self) -> bool:
        """True."""
        return True

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what `pixels` returns."""
        return self.input_size, self.input_size, self.n_channels

    @property
    def pixels_key(self) -> Hashable:
        """What decides `pixels`."""
        return self.version, self.input_size, self.n_channels, self.seed

    def pixels(self, image: Image.Image, row: int = 0, view: int = 0) -> NDArray[np.uint8]:
        """Return one view of the image of a row, uint8, shape `pixel_shape`.

        Raises
        ------
        ValueError
            If the image has more than 8 bits a channel: narrowing it would clip it without a word.
        """
        image = to_mode(image, self.n_channels)
        draws = Draws(seed=self.seed, row=row, view=view)
        drawn = draw(RECIPES[self.version], width=image.width, height=image.height, draws=draws)
        return np.asarray(augment(image, drawn, self.input_size)).reshape(self.pixel_shape)

    def normaliser(self, device: "torch.device | str") -> "Callable[[torch.Tensor], torch.Tensor]":
        """Return the function that makes pixels on a device what the network reads: see `Transform`."""
        return make_normaliser(self.mean, self.std, device)

    def on_device(self, image_size: tuple[int, int]) -> "RandomTransform":  # noqa: ARG002 - see Transform
        """Return itself: rotating and jittering is Pillow's work."""
        return self

    def wins_on(self, device_type: str) -> bool:  # noqa: ARG002 - see Transform
        """Tell that nothing is lost anywhere: this is the split that is there anyway."""
        return True
