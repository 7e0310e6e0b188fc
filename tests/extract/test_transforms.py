import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from extract import TestTransform, make_transform, transform_version
from extract.spec import TransformSpec
from extract.transforms import TRANSFORMS, check_transform, is_random
from store import InvalidRequest, UnknownName

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(width, height, mode="RGB"):
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


def make(name, size=8, mean=MEAN, std=STD, seed=0):
    seed = seed if is_random(name) else None
    return make_transform(transform_version(name), input_size=size, mean=mean, std=std, seed=seed)


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


def test_normalised_batches_are_channels_last():
    batch = make("test").normaliser("cpu")(torch.zeros((2, 8, 8, 3), dtype=torch.uint8))
    assert batch.shape == (2, 3, 8, 8)
    assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA", "YCbCr"])
def test_other_modes_become_colour_or_grey(name, mode):
    image = picture(12, 10, mode)
    assert make(name).pixels(image, row=3, view=1).shape == (8, 8, 3)
    assert make(name, mean=(0.5,), std=(0.5,)).pixels(image, row=3, view=1).shape == (8, 8, 1)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transparent_palettes_are_no_surprise(name):
    image = picture(12, 10, "P")
    image.info["transparency"] = bytes(range(256))
    assert make(name).pixels(image).shape == (8, 8, 3)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_deep_images_are_refused_not_clipped(name):
    image = Image.fromarray(np.full((9, 9), 4000, dtype=np.uint16))
    with pytest.raises(ValueError, match="more than 8 bits"):
        make(name).pixels(image)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_pixel_shape_is_that_of_the_pixels(name):
    for mean, channels in ((MEAN, 3), ((0.5,), 1)):
        transform = make(name, mean=mean, std=mean)
        assert transform.pixel_shape == (8, 8, channels) == transform.pixels(picture(9, 7)).shape
        assert (transform.n_channels, transform.input_size) == (channels, 8)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_pickled_transforms_make_the_same_pixels(name):
    transform = make(name)
    again = pickle.loads(pickle.dumps(transform))
    assert again == transform
    assert np.array_equal(again.pixels(picture(9, 7), row=5, view=2), transform.pixels(picture(9, 7), row=5, view=2))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_networks_that_differ_in_mean_and_std_share_a_decode(name):
    transform = make(name)
    other = make(name, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    assert transform.pixels_key == other.pixels_key
    assert np.array_equal(transform.pixels(picture(9, 7), row=5), other.pixels(picture(9, 7), row=5))
    different = {make(n).pixels_key for n in TRANSFORMS}
    different |= {make(name, size=9).pixels_key, make(name, mean=(0.5,), std=(0.5,)).pixels_key}
    assert len(different) == len(TRANSFORMS) + 2


def test_the_seed_decides_the_pixels_of_a_random_transform_only():
    assert make("paper", seed=0).pixels_key != make("paper", seed=1).pixels_key
    with pytest.raises(InvalidRequest, match="needs a seed"):
        make_transform("paper-v1", input_size=8, mean=MEAN, std=STD)
    with pytest.raises(InvalidRequest, match=r"seed is None, got 3"):
        make_transform("test-v1", input_size=8, mean=MEAN, std=STD, seed=3)


def test_rows_and_views_of_the_test_transform_are_the_image():
    transform, image = make("test"), picture(9, 7)
    assert np.array_equal(transform.pixels(image), transform.pixels(image, row=17, view=3))


def test_names():
    assert transform_version("test") == "test-v1"
    assert transform_version("paper") == "paper-v1"
    assert transform_version("as-released") == "as-released-v1"
    with pytest.raises(UnknownName, match="Did you mean 'test'"):
        transform_version("tset")
    with pytest.raises(InvalidRequest, match="plan again"):
        make_transform("test-v0", input_size=8, mean=MEAN, std=STD)


def test_randomness_is_known_by_name_and_by_transform():
    assert [name for name in TRANSFORMS if is_random(name)] == ["paper", "as-released"]
    assert all(make(name).random == is_random(name) for name in TRANSFORMS)
    with pytest.raises(UnknownName, match="Did you mean 'paper'"):
        is_random("papr")


def test_views_need_randomness():
    check_transform(TransformSpec(name="test"), where="train")
    check_transform(TransformSpec(name="paper", views=4, seed=1), where="train")
    with pytest.raises(InvalidRequest, match=r"train: .*its 2 views .* views: 1, or choose paper or as-released"):
        check_transform(TransformSpec(name="test", views=2), where="train")
    with pytest.raises(UnknownName, match=r"train: there is no transform 'as_released'. Did you mean 'as-released'"):
        check_transform(TransformSpec(name="as_released"), where="train")
