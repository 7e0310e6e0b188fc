"""Decoding a few images into a buffer: what one task of a decoding thread or process does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract._stopwatch import Stopwatch
from extract.datasets import Samples
from extract.errors import CorruptSample
from extract.transforms import Transform


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a task."""

    masked: tuple[int, ...]
    """Rows of the split that can't be decoded."""
    decode_s: float
    """Seconds spent reading and decoding."""
    transform_s: float
    """Seconds spent making pixels of images."""


def decode_part(
    samples: Samples,
    transform: Transform,
    rows: range,
    views: Sequence[int],
    out: NDArray[np.uint8],
    *,
    mask: bool,
    stopped: Callable[[], bool] = lambda: False,
) -> Part:
    """Decode each row once, and make all views of it.

    Parameters
    ----------
    samples, transform
        What is decoded, and how it becomes pixels.
    rows, views
        Which.
    out
        Shape (views, rows, height, width, channels); masked rows become 0.
    mask
        Whether an image that can't be decoded is masked; otherwise its error is raised.
    stopped
        Tells when nobody waits for the rest any more.

    Raises
    ------
    CorruptSample
        If an image can't be decoded and is not masked.
    SampleUnreadable
        If the disk refuses.
    """
    decoding, transforming = Stopwatch(), Stopwatch()
    masked = []
    for i, row in enumerate(rows):
        if stopped():
            break
        try:
            with decoding:
                image = samples.image(row)
            with transforming:
                for v, view in enumerate(views):
                    out[v, i] = _pixels(samples, transform, image, row, view)
        except CorruptSample:
            if not mask:
                raise
            out[:, i] = 0
            masked.append(row)
    return Part(tuple(masked), decoding.seconds, transforming.seconds)


def _pixels(samples: Samples, transform: Transform, image: Image.Image, row: int, view: int) -> NDArray[np.uint8]:
    try:
        return transform.pixels(image, row=row, view=view)
    except (ValueError, OSError) as e:
        raise CorruptSample(
            f"sample {samples.sample_ids[row]!r} can't be transformed: {e}. Replace or remove it, or set "
            "on_corrupt: mask to keep its row and leave it out of every measure."
        ) from e
