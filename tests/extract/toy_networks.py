"""Small networks that misbehave in one way each; reached as ``python:toy_networks:NAME``."""

import torch
from torch import nn


class Plain(nn.Module):
    """Convolution, batch norm, in-place ReLU, pooling, classifier; width 6."""

    def __init__(self, scale: float = 1.0, num_classes: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, num_classes)
        self.scale = scale

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        return self.fc(x.mean((2, 3)) * self.scale)


class SharedRelu(Plain):
    """Its activation runs twice."""

    def forward(self, x):
        x = self.act(self.norm(self.act(self.conv(x))))
        return self.fc(x.mean((2, 3)))


class Pair(nn.Module):
    """Returns a tuple."""

    def forward(self, x):
        return x, x


class WithPair(Plain):
    """One module returns a tuple, one folds rows into the batch, one never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.fold = nn.Flatten(0, 1)
        self.idle = nn.Identity()

    def forward(self, x):
        x, _ = self.pair(x)
        self.fold(x)
        return super().forward(x)


class ConvHead(nn.Module):
    """No nn.Linear anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


class Poisoned(Plain):
    """Returns NaN for images whose mean is above a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x):
        x = torch.where(x.mean((1, 2, 3), keepdim=True) > self.threshold, torch.nan, x)
        return super().forward(x)


class Explodes(Plain):
    """Raises in its n-th forward pass (the first is the trial of `resolve_layers`)."""

    passes = 0

    def forward(self, x):
        if len(x) > 2:
            type(self).passes += 1
            if type(self).passes == 3:
                raise RuntimeError("the device went away")
        return super().forward(x)


class Greedy(Plain):
    """Runs out of memory for more than four images, as a CUDA device does."""

    def __init__(self, most: int = 4) -> None:
        super().__init__()
        self.most = most

    def forward(self, x):
        if len(x) > self.most and x.any():  # the trial's zeros fit
            raise torch.OutOfMemoryError("tried to allocate 1 TiB")
        return super().forward(x)


NOT_CALLABLE = 3


def not_a_network():
    return 3
