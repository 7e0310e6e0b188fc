"""The ResNet50 of the Matryoshka release: blurred strided convolutions, and heads that read the first features.

Written after the description in https://arxiv.org/abs/2205.13147, with the names that its files have.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

NESTED_WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Features that the nested heads read, as in the paper of Matryoshka representations."""
_LEAST_CHANNELS = 16
"""Strided convolutions with fewer input channels (the stem's) are not blurred."""
_BINOMIAL = (1.0, 2.0, 1.0)


class BlurPoolConv2d(nn.Module):
    """A strided convolution of a blurred input: against aliasing, https://arxiv.org/abs/1904.11486."""

    blur_filter: torch.Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        line = torch.tensor(_BINOMIAL)
        blur = torch.outer(line, line) / line.sum() ** 2
        self.conv = conv
        self.register_buffer("blur_filter", blur.repeat(conv.in_channels, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Blur each channel, then convolve."""
        return self.conv(functional.conv2d(x, self.blur_filter, padding=1, groups=self.conv.in_channels))


class FirstFeatures(nn.Module):
    """Hands on the first features and drops the others."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x[:, :n]``."""
        return x[:, : self.n]

    def extra_repr(self) -> str:
        """Show how many."""
        return str(self.n)


class MatryoshkaHead(nn.Module):
    """One linear classifier for each nested width; its output is that of the widest, which reads every feature."""

    def __init__(self, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        for i, width in enumerate(widths):
            self.add_module(f"nesting_classifier_{i}", nn.Linear(width, num_classes))
        self._widest = f"nesting_classifier_{len(widths) - 1}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the widest head, shape (image, class)."""
        return self.get_submodule(self._widest)(x)


def blurpool_resnet50(*, features: int | None = None, nested: bool = False, num_classes: int = 1000) -> nn.Module:
    """Build a ResNet50 with blurred strided convolutions.

    Parameters
    ----------
    features
        Features that the classifier reads, of the 2048 that are pooled; None reads all.
    nested
        Whether it has a classifier for each of `NESTED_WIDTHS` instead of one.
    num_classes
        Outputs of each classifier.
    """
    import timm

    model: Any = timm.create_model("resnet50", pretrained=False, num_classes=num_classes)
    _blur_strided(model)
    if nested:
        model.fc = MatryoshkaHead(NESTED_WIDTHS, num_classes)
    elif features is not None:
        # Cut before the classifier, so that its input, the penultimate layer, is what it reads.
        model.global_pool = nn.Sequential(model.global_pool, FirstFeatures(features))
        model.fc = nn.Linear(features, num_classes)
        model.num_features = model.head_hidden_size = features
    return model


def _blur_strided(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and max(child.stride) > 1 and child.in_channels >= _LEAST_CHANNELS:
            setattr(module, name, BlurPoolConv2d(child))
        else:
            _blur_strided(child)
