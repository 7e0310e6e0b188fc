import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from extract._resize import BilinearResize, bilinear_weights

BILINEAR = Image.Resampling.BILINEAR
sides = st.integers(1, 70)


def noise(seed, *shape):
    """Pixels of which a third is black and a third white: rounding and clipping show at the ends."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-255, 511, shape).clip(0, 255)).astype(np.uint8)


def by_pillow(pixels, *sizes):
    """Resize each image in steps, each to a (height, width)."""
    out = []
    for image in pixels:
        step = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        for height, width in sizes:
            step = step.resize((width, height), BILINEAR)
        out.append(np.asarray(step).reshape(step.height, step.width, pixels.shape[-1]))
    return np.stack(out)


def by_torch(pixels, new, crop=None, device="cpu"):
    resize = BilinearResize(pixels.shape[1:3], new, crop=crop or (0, 0, *new), device=device)
    return resize(torch.from_numpy(pixels).to(device)).cpu().numpy()


@settings(deadline=None, max_examples=150)
@given(old=st.tuples(sides, sides), new=st.tuples(sides, sides), channels=st.sampled_from([1, 3]), seed=st.integers(0))
@example(old=(1, 1), new=(1, 1), channels=3, seed=0)
@example(old=(1, 1), new=(70, 70), channels=3, seed=0)
@example(old=(70, 70), new=(1, 1), channels=1, seed=0)
@example(old=(1, 70), new=(70, 1), channels=3, seed=0)
@example(old=(33, 47), new=(33, 20), channels=3, seed=0)
def test_two_passes_of_pillow_to_the_bit(old, new, channels, seed):
    # One side at a time, columns first: every release of Pillow agrees on that, whatever order it takes by itself.
    pixels = noise(seed, 2, *old, channels)
    assert np.array_equal(by_torch(pixels, new), by_pillow(pixels, (old[0], new[1]), new))


@settings(deadline=None, max_examples=100)
@given(
    old=st.tuples(sides, sides),
    more=st.tuples(st.integers(0, 70), st.integers(0, 70)),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0),
)
def test_enlarging_equals_one_call_of_pillow(old, more, channels, seed):
    pixels = noise(seed, 1, *old, channels)
    new = (old[0] + more[0], old[1] + more[1])
    assert np.array_equal(by_torch(pixels, new), by_pillow(pixels, new))


@pytest.mark.parametrize("old, new", [((32, 32), (224, 224)), ((8, 8), (224, 224)), ((375, 500), (224, 298))])
def test_sizes_of_the_paper(old, new):
    pixels = noise(0, 3, *old, 3)
    got = by_torch(pixels, new)
    assert np.array_equal(got, by_pillow(pixels, (old[0], new[1]), new))
    assert len(np.unique(got)) > 200, "not a trivial image"


def test_batches_larger_than_the_cache_are_resized_whole():
    pixels = noise(1, 23, 32, 32, 3)
    assert np.array_equal(by_torch(pixels, (224, 224)), by_pillow(pixels, (224, 224)))


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_crop_is_a_part_of_the_whole(data):
    old, new = (data.draw(st.tuples(sides, sides)) for _ in range(2))
    top, left = data.draw(st.integers(0, new[0] - 1)), data.draw(st.integers(0, new[1] - 1))
    height, width = data.draw(st.integers(1, new[0] - top)), data.draw(st.integers(1, new[1] - left))
    pixels = noise(0, 1, *old, 3)
    part = by_torch(pixels, new, crop=(top, left, height, width))
    assert np.array_equal(part, by_torch(pixels, new)[:, top : top + height, left : left + width])


def test_extreme_reduction_is_clipped_as_pillow_clips():
    pixels = np.full((1, 1, 40_000, 1), 255, dtype=np.uint8)
    assert np.array_equal(by_torch(pixels, (1, 2)), by_pillow(pixels, (1, 2)))


def test_weights_of_enlarging_have_two_taps_and_add_up_to_one():
    weights = bilinear_weights(32, 224)
    assert weights.weights.shape == (2, 224)
    assert np.abs(weights.weights.sum(axis=0) - (1 << 22)).max() <= 1


def test_the_images_are_left_alone():
    pixels = torch.from_numpy(noise(0, 2, 5, 5, 3))
    before = pixels.clone()
    for new in ((5, 5), (9, 9)):
        out = BilinearResize((5, 5), new, crop=(0, 0, *new), device="cpu")(pixels)
        assert out.data_ptr() != pixels.data_ptr()
        assert torch.equal(pixels, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("old, new", [((32, 32), (224, 224)), ((8, 8), (64, 64)), ((75, 50), (33, 22))])
def test_a_cuda_device_makes_the_same_pixels(old, new):
    pixels = noise(0, 9, *old, 3)
    assert np.array_equal(by_torch(pixels, new, device="cuda"), by_torch(pixels, new))
