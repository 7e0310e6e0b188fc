import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from extract import TestTransform, make_transform, transform_version
from store import InvalidRequest, UnknownName

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(width, height, mode="RGB"):
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("size", [(32, 32), (50, 37), (37, 50), (224, 300), (20, 19), (333, 64), (1, 9)])
@pytest.mark.parametrize("target", [32, 33])
def test_equals_torchvision_to_the_bit(size, target):
    image = picture(*size)
    reference = transforms.Compose(
        [
            transforms.Resize(target),
            transforms.CenterCrop(target),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    ours = TestTransform(input_size=target, mean=MEAN, std=STD)
    pixels = ours.pixels(image)
    assert pixels.dtype == np.uint8
    got = ours.normaliser("cpu")(torch.from_numpy(pixels.copy())[None])[0]
    assert torch.equal(got, reference(image))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA", "YCbCr"])
def test_other_modes_become_colour_or_grey(mode):
    image = picture(12, 10, mode)
    assert TestTransform(input_size=8, mean=MEAN, std=STD).pixels(image).shape == (8, 8, 3)
    assert TestTransform(input_size=8, mean=(0.5,), std=(0.5,)).pixels(image).shape == (8, 8, 1)


def test_transparent_palettes_are_no_surprise():
    image = picture(12, 10, "P")
    image.info["transparency"] = bytes(range(256))
    assert TestTransform(input_size=8, mean=MEAN, std=STD).pixels(image).shape == (8, 8, 3)


def test_deep_images_are_refused_not_clipped():
    image = Image.fromarray(np.full((9, 9), 4000, dtype=np.uint16))
    with pytest.raises(ValueError, match="more than 8 bits"):
        TestTransform(input_size=8, mean=MEAN, std=STD).pixels(image)


def test_names():
    assert transform_version("test") == "test-v1"
    with pytest.raises(UnknownName, match="Did you mean 'test'"):
        transform_version("tset")
    with pytest.raises(InvalidRequest, match="plan again"):
        make_transform("test-v0", input_size=8, mean=MEAN, std=STD)
