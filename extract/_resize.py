"""Pillow's bilinear resizing as torch operations on any device, equal to Pillow to the bit.

Pillow resizes 8-bit images in fixed point (https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c):
columns first, rows after, 8 bits between the two. Integers are exact on every device, so the same is done here. Since
release 13, Pillow takes rows first in some cases where they become fewer: enlarging is the same in every release.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# `PRECISION_BITS` of Resample.c: 32 bits less 8 of the pixel and 2 of headroom.
_PRECISION_BITS = 32 - 8 - 2

# Bytes of the integers in work at a time. On the CPU they stay in its cache: 64 images from 32 to 224 pixels took 9 ms
# of one core, 47 ms all at once and 14 ms in Pillow. Elsewhere this only bounds the memory.
_CACHED_BYTES = 1 << 21
_MOST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Weights:
    """Which pixels of a line of `old` pixels make each pixel of the new line, and with what weight."""

    sources: np.ndarray
    """Index of a pixel of the old line, int64, shape (taps, new)."""
    weights: np.ndarray
    """Weight in units of 2**-22, int32, shape (taps, new); 0 where a pixel has fewer taps."""

    def part(self, start: int, stop: int) -> "Weights":
        """Return the weights of the new pixels from `start` to before `stop`."""
        return Weights(self.sources[:, start:stop], self.weights[:, start:stop])


def bilinear_weights(old: int, new: int) -> Weights:
    """Return Pillow's weights of the bilinear filter for a line of `old` pixels that becomes `new` pixels long.

    Written as ``precompute_coeffs`` and ``normalize_coeffs_8bpc`` are, in double precision and the same order.
    """
    scale = old / new
    support = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    # Both ends are truncated towards 0, as C does.
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + support + 0.5).astype(np.int64), old)
    taps = np.arange(int((stop - first).max()))[:, None]
    inside = taps < stop - first
    weights = np.where(inside, np.maximum(1.0 - np.abs((taps + first - centre + 0.5) * (1.0 / support)), 0.0), 0.0)
    # One after the other: np.sum adds in pairs and would round otherwise.
    total = np.zeros(new)
    for tap in weights:
        total += tap
    fixed = (0.5 + weights / total * (1 << _PRECISION_BITS)).astype(np.int32)
    return Weights(np.minimum(first + taps, old - 1), np.where(inside, fixed, 0).astype(np.int32))


class BilinearResize:
    """Resizes batches of images of one size, columns first, and crops them, as Pillow does to the bit.

    Parameters
    ----------
    old
        Height and width of the images.
    new
        Height and width that they are resized to.
    crop
        Top, left, height and width of the part of the new image that is wanted; what lies outside is not computed.
    device
        Where the images are.
    """

    def __init__(
        self,
        old: tuple[int, int],
        new: tuple[int, int],
        *,
        crop: tuple[int, int, int, int],
        device: "torch.device | str",
    ) -> None:
        top, left, height, width = crop
        self._rows = _pass(old[0], new[0], top, height, device=device, trailing=2)
        self._columns = _pass(old[1], new[1], left, width, device=device, trailing=1)
        self._shape = (height, width)
        self._n_pixels = max(old[0], height) * max(old[1], width)

    def __call__(self, images: "torch.Tensor") -> "torch.Tensor":
        """Resize uint8 images, shape (n, old height, old width, channels), into new uint8 images, cropped."""
        import torch

        n, channels = images.shape[0], images.shape[-1]
        out = torch.empty((n, *self._shape, channels), dtype=torch.uint8, device=images.device)
        most = _CACHED_BYTES if images.device.type == "cpu" else _MOST_BYTES
        step = max(1, most // (self._n_pixels * channels * 4))
        for start in range(0, n, step):
            wide = images[start : start + step].to(torch.int32)
            for dim, taps in ((2, self._columns), (1, self._rows)):
                if taps is not None:
                    wide = _resample(wide, dim, *taps)
            out[start : start + step].copy_(wide)
        return out


def _pass(
    old: int, new: int, start: int, length: int, *, device: "torch.device | str", trailing: int
) -> "tuple[torch.Tensor, torch.Tensor] | None":
    """Return sources and weights on the device, the weights shaped to multiply; None where nothing is to do."""
    import torch

    if old == new and length == new:
        return None
    weights = bilinear_weights(old, new).part(start, start + length)
    factors = torch.from_numpy(weights.weights.copy()).view(*weights.weights.shape, *(1,) * trailing)
    return torch.from_numpy(weights.sources.copy()).to(device), factors.to(device)


def _resample(images: "torch.Tensor", dim: int, sources: "torch.Tensor", weights: "torch.Tensor") -> "torch.Tensor":
    """Make a weighted sum of pixels along one dimension; int32 in and out, values 0 to 255.

    Weights are not negative and add up to 2**22 within a half per tap, so that sums fit 31 bits and no clipping is
    needed below 2**13 taps; clipping at 255 covers the rest, as Pillow does.
    """
    total = images.index_select(dim, sources[0]).mul_(weights[0]).add_(1 << (_PRECISION_BITS - 1))
    for source, weight in zip(sources[1:], weights[1:], strict=True):
        total.addcmul_(images.index_select(dim, source), weight)
    total.bitwise_right_shift_(_PRECISION_BITS)
    return total.clamp_(max=255) if len(sources) >= 1 << 13 else total
