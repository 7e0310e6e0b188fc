import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from extract._on_device import ResizedOnDevice, resizes_exactly
from extract.errors import ExtractError
from extract.transforms import TestTransform, make_transform

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(n, height, width, mode="RGB"):
    rng = np.random.default_rng(height * 1000 + width)
    return [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode) for _ in range(n)]


def values(transform, images, device="cpu"):
    pixels = torch.from_numpy(np.stack([transform.pixels(image, row=i) for i, image in enumerate(images)]))
    return transform.normaliser(device)(pixels.to(device))


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (1, 1), (5, 17), (17, 5), (31, 32), (2, 700)])
@pytest.mark.parametrize("target", [40, 33])
@pytest.mark.parametrize("mean, std", [(MEAN, STD), ((0.5,), (0.25,))])
def test_the_network_reads_the_same_bits(size, target, mean, std):
    plain = TestTransform(input_size=target, mean=mean, std=std)
    moved = plain.on_device(size)
    if size == (2, 700) and target == 33:
        assert moved is plain, "more pixels than the result has"
        return
    assert isinstance(moved, ResizedOnDevice)
    images = pictures(5, *size)
    expected, got = values(plain, images), values(moved, images)
    assert torch.equal(got, expected)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.unique(got).numel() > 1, "not a trivial image"


def test_fewer_bytes_cross():
    plain = TestTransform(input_size=224, mean=MEAN, std=STD)
    moved = plain.on_device((32, 32))
    assert moved.pixel_shape == (32, 32, 3)
    assert np.prod(plain.pixel_shape) == 49 * np.prod(moved.pixel_shape)
    assert moved.wins_on("cuda")
    assert moved.wins_on("cpu")
    assert not moved.wins_on("abacus"), "nobody measured it"
    assert (moved.random, moved.n_channels, moved.input_size) == (False, 3, 224)


def test_moving_twice_is_moving_once():
    moved = TestTransform(input_size=224, mean=MEAN, std=STD).on_device((32, 32))
    assert moved.on_device((32, 32)) is moved
    assert pickle.loads(pickle.dumps(moved)) == moved


@pytest.mark.parametrize("size", [(224, 224), (300, 300), (100, 600)])
def test_images_that_are_not_smaller_stay_with_the_workers(size):
    plain = TestTransform(input_size=224, mean=MEAN, std=STD)
    assert plain.on_device(size) is plain
    assert plain.wins_on("cpu")


@pytest.mark.parametrize("version", ["paper-v1", "as-released-v1"])
def test_random_transforms_stay_with_the_workers(version):
    transform = make_transform(version, input_size=224, mean=MEAN, std=STD, seed=0)
    assert transform.on_device((32, 32)) is transform
    assert transform.wins_on("cuda")


def test_a_pillow_that_rounds_otherwise_keeps_the_work(monkeypatch):
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, how: resize(self, size, how).point([*range(255), 254] * 3)
    )
    resizes_exactly.cache_clear()
    try:
        plain = TestTransform(input_size=64, mean=MEAN, std=STD)
        assert plain.on_device((32, 32)) is plain
    finally:
        resizes_exactly.cache_clear()


def test_networks_of_all_input_sizes_share_a_decode():
    keys = {TestTransform(input_size=s, mean=MEAN, std=STD).on_device((32, 32)).pixels_key for s in (40, 224)}
    assert len(keys) == 1
    plain = TestTransform(input_size=40, mean=MEAN, std=STD)
    grey = TestTransform(input_size=40, mean=(0.5,), std=(0.5,))
    keys |= {plain.pixels_key, plain.on_device((32, 31)).pixels_key, grey.on_device((32, 32)).pixels_key}
    assert len(keys) == 4


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA"])
def test_other_modes(mode):
    plain = TestTransform(input_size=40, mean=MEAN, std=STD)
    images = pictures(2, 11, 13, mode)
    assert torch.equal(values(plain.on_device((11, 13)), images), values(plain, images))


def test_an_image_of_another_size_stops_the_job():
    moved = TestTransform(input_size=40, mean=MEAN, std=STD).on_device((32, 32))
    with pytest.raises(ExtractError, match=r"row 7, .* 32 x 32 .* got 32 x 31") as caught:
        moved.pixels(pictures(1, 32, 31)[0], row=7)
    assert not isinstance(caught.value, ValueError | OSError), "or the decoder would mask the image"


def test_deep_images_are_refused_not_clipped():
    moved = TestTransform(input_size=40, mean=MEAN, std=STD).on_device((9, 9))
    with pytest.raises(ValueError, match="more than 8 bits"):
        moved.pixels(Image.fromarray(np.full((9, 9), 4000, dtype=np.uint16)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_reads_the_same_bits():
    plain = TestTransform(input_size=224, mean=MEAN, std=STD)
    images = pictures(40, 32, 32)
    assert torch.equal(values(plain.on_device((32, 32)), images, "cuda"), values(plain, images, "cuda"))
