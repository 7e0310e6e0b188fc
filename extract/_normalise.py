"""From pixels to what a network reads, on its device: [0, 1], minus the mean, over the standard deviation."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def make_normaliser(
    mean: tuple[float, ...], std: tuple[float, ...], device: "torch.device | str"
) -> "Callable[[torch.Tensor], torch.Tensor]":
    """Return the function that normalises a batch of pixels on a device.

    It takes uint8, shape (n, height, width, channels), and returns float32, shape (n, channels, height, width), in
    channels-last memory order. Mean and std go to the device once, here: sending them with every batch would make a
    CUDA device wait.
    """
    import torch

    means = torch.tensor(mean, dtype=torch.float32, device=device)
    stds = torch.tensor(std, dtype=torch.float32, device=device)

    def normalise(pixels: "torch.Tensor") -> "torch.Tensor":
        n, height, width, channels = pixels.shape
        # Rows of an image as one dimension: operations over the three channels alone run three numbers at a time.
        rows = pixels.to(torch.float32, memory_format=torch.contiguous_format).view(n * height, width * channels)
        rows.div_(255).sub_(means.repeat(width)).div_(stds.repeat(width))
        return rows.view(n, height, width, channels).permute(0, 3, 1, 2)

    return normalise
