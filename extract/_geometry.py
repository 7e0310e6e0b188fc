"""Where the pixels of a transform come from: mode, size and crop, as torchvision computes them. No torch."""

from PIL import Image

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def to_mode(image: Image.Image, n_channels: int) -> Image.Image:
    """Return the image in colour (3 channels) or grey (1 channel).

    Raises
    ------
    ValueError
        If the image has more than 8 bits a channel: narrowing it would clip it without a word.
    """
    mode = "L" if n_channels == 1 else "RGB"
    if image.mode in _DEEP_MODES:
        raise ValueError(f"the image has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns that a transparent palette goes by way of RGBA.
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def fitted_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the width and height of an image after its short side became `size` pixels long."""
    # torchvision's `Resize(int)`: the long side is truncated, not rounded.
    return (size, int(size * height / width)) if width <= height else (int(size * width / height), size)


def centre(width: int, height: int, size: int) -> tuple[int, int]:
    """Return left and top of the centred square of side `size`."""
    return round((width - size) / 2.0), round((height - size) / 2.0)


def fit(image: Image.Image, size: int) -> Image.Image:
    """Resize the short side to `size` (bilinear, antialiased) and crop the centred square."""
    new = fitted_size(*image.size, size)
    if new != image.size:
        image = image.resize(new, Image.Resampling.BILINEAR)
    if new != (size, size):
        left, top = centre(*new, size)
        image = image.crop((left, top, left + size, top + size))
    return image
