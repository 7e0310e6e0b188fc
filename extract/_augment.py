"""Augmentations of one image: what is drawn, and what is done with it, as torchvision does it to Pillow images.

Drawing and applying are apart: what was drawn is plain data. torchvision's functions make the same pixels of it, to the
bit.
"""

import math
from dataclasses import dataclass

from PIL import Image, ImageEnhance

from extract._draws import Draws
from extract._geometry import fit

_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 10
# Numbers of the colour operations in a drawn order: those of torchvision's ColorJitter.
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Which augmentations a transform does, and how strong they are."""

    random_crop: bool
    """Whether a random part of the image is resized to the input size (torchvision's RandomResizedCrop, area 0.08 to 1,
    aspect 3/4 to 4/3); otherwise the whole is resized and its centre cropped, as ``test-v1`` does."""
    colour: float
    """Brightness, contrast and saturation are multiplied by a factor from 1 - colour to 1 + colour."""
    hue: float
    """Hue is turned by -hue to +hue of the colour circle; 0 leaves it alone."""
    degrees: float
    """The image is rotated by -degrees to +degrees."""


# App. B of the paper, https://arxiv.org/abs/2306.00183: ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25,
# hue=0.25), RandomRotation(degrees=2).
PAPER = Recipe(random_crop=False, colour=0.25, hue=0.25, degrees=2.0)
# The authors' code: https://github.com/nvedant07/deep-learning-base (3c0e3dd), datasets/dataset_metadata.py:132-138.
AS_RELEASED = Recipe(random_crop=True, colour=0.25, hue=0.0, degrees=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What was drawn for one view of one image."""

    crop: tuple[int, int, int, int] | None
    """Left, top, width and height of the part that is resized, in pixels; None takes the whole."""
    flip: bool
    """Whether left and right are swapped."""
    order: tuple[int, ...]
    """Order of brightness (0), contrast (1), saturation (2) and hue (3)."""
    brightness: float
    """Factor; 1 changes nothing."""
    contrast: float
    """Factor; 1 changes nothing."""
    saturation: float
    """Factor; 1 changes nothing."""
    hue: float | None
    """Part of the colour circle; None leaves the hue alone."""
    angle: float
    """Counter-clockwise, in degrees."""


def draw(recipe: Recipe, *, width: int, height: int, draws: Draws) -> Augmentation:
    """Draw one augmentation for an image of `width` x `height` pixels, distributed as torchvision's.

    The order of the draws is part of what a version of a transform means.
    """
    crop = _draw_crop(width, height, draws) if recipe.random_crop else None
    flip = draws.uniform(0.0, 1.0) < 0.5
    order = draws.order(4)
    low, high = 1.0 - recipe.colour, 1.0 + recipe.colour
    return Augmentation(
        crop=crop,
        flip=flip,
        order=order,
        brightness=draws.uniform(low, high),
        contrast=draws.uniform(low, high),
        saturation=draws.uniform(low, high),
        hue=draws.uniform(-recipe.hue, recipe.hue) if recipe.hue else None,
        angle=draws.uniform(-recipe.degrees, recipe.degrees),
    )


def _draw_crop(width: int, height: int, draws: Draws) -> tuple[int, int, int, int]:
    area = width * height
    for _ in range(_ATTEMPTS):
        part = area * draws.uniform(*_AREA)
        aspect = math.exp(draws.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        w, h = round(math.sqrt(part * aspect)), round(math.sqrt(part / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = draws.below(height - h + 1)
            left = draws.below(width - w + 1)
            return left, top, w, h
    # As torchvision: the largest centred part whose aspect is allowed.
    w, h = width, height
    if width / height < _ASPECT[0]:
        h = round(width / _ASPECT[0])
    elif width / height > _ASPECT[1]:
        w = round(height * _ASPECT[1])
    return (width - w) // 2, (height - h) // 2, w, h


def augment(image: Image.Image, drawn: Augmentation, input_size: int) -> Image.Image:
    """Apply what was drawn to an image in mode RGB or L, and return a square of side `input_size`.

    Grey images have no hue or saturation: these two change nothing there, as in torchvision.
    """
    if drawn.crop is None:
        image = fit(image, input_size)
    else:
        left, top, width, height = drawn.crop
        image = image.crop((left, top, left + width, top + height))
        if image.size != (input_size, input_size):
            image = image.resize((input_size, input_size), Image.Resampling.BILINEAR)
    if drawn.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for operation in drawn.order:
        image = _jitter(image, operation, drawn)
    # Pillow's defaults are torchvision's: nearest neighbour, same size, black where the image doesn't reach.
    return image.rotate(drawn.angle)


def _jitter(image: Image.Image, operation: int, drawn: Augmentation) -> Image.Image:
    if operation == _BRIGHTNESS:
        return ImageEnhance.Brightness(image).enhance(drawn.brightness)
    if operation == _CONTRAST:
        return ImageEnhance.Contrast(image).enhance(drawn.contrast)
    if image.mode == "L":
        return image
    if operation == _SATURATION:
        return ImageEnhance.Color(image).enhance(drawn.saturation)
    return image if drawn.hue is None else _turn_hue(image, drawn.hue)


def _turn_hue(image: Image.Image, turn: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    # torchvision: truncated towards 0 and added modulo 256, not 255 steps a circle.
    steps = int(turn * 255)
    hue = hue.point([(i + steps) % 256 for i in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
