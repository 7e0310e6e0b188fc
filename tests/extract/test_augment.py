import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision.transforms import ColorJitter, RandomResizedCrop, functional

from extract._augment import AS_RELEASED, PAPER, Augmentation, augment, draw
from extract._draws import Draws
from extract.transforms import make_transform

RECIPES = {"paper-v1": PAPER, "as-released-v1": AS_RELEASED}
HALF = (0.5, 0.5, 0.5)

# What these versions drew when they were made. Another result is another version of the transform.
FROZEN_UNIFORM = [0.08951714423608426, 0.22866869020296077, 0.946810828367106]
FROZEN_ORDER = (1, 2, 0, 3)
FROZEN_BELOW = 985
FROZEN_AS_RELEASED = Augmentation(
    crop=(93, 38, 380, 296),
    flip=False,
    order=(1, 0, 2, 3),
    brightness=1.2218342053557367,
    contrast=0.793885750067832,
    saturation=0.9670952678010323,
    hue=None,
    angle=0.7383977247477667,
)
FROZEN_PAPER = Augmentation(
    crop=None,
    flip=False,
    order=(0, 2, 1, 3),
    brightness=1.127328940306206,
    contrast=1.157600630824681,
    saturation=1.1742712904326185,
    hue=-0.1864010525080232,
    angle=1.774673642845893,
)


def picture(width, height, mode="RGB", seed=0):
    """Smooth colours with some noise: hues, greys, black and white all occur."""
    rng = np.random.default_rng((width, height, seed))
    small = Image.fromarray(rng.integers(-90, 345, (4, 4, 3)).clip(0, 255).astype(np.uint8))
    smooth = np.asarray(small.resize((width, height)), dtype=np.int64)
    return Image.fromarray((smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)).convert(mode)


def by_torchvision(image, drawn, size):
    """The pipeline of torchvision's own functions, with our parameters."""
    if drawn.crop is None:
        image = functional.center_crop(functional.resize(image, size), [size, size])
    else:
        left, top, width, height = drawn.crop
        image = functional.resized_crop(image, top, left, height, width, [size, size])
    if drawn.flip:
        image = functional.hflip(image)
    for operation in drawn.order:
        if operation == 0:
            image = functional.adjust_brightness(image, drawn.brightness)
        elif operation == 1:
            image = functional.adjust_contrast(image, drawn.contrast)
        elif operation == 2:
            image = functional.adjust_saturation(image, drawn.saturation)
        elif drawn.hue is not None:
            image = functional.adjust_hue(image, drawn.hue)
    return np.asarray(functional.rotate(image, drawn.angle))


def many(recipe, n=4000, width=64, height=48):
    return [draw(recipe, width=width, height=height, draws=Draws(seed=0, row=row, view=0)) for row in range(n)]


@pytest.mark.parametrize("version", RECIPES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(32, 32), (50, 37), (37, 50), (200, 31), (1, 1), (1, 9), (9, 1), (2, 3)])
def test_equals_torchvision_to_the_bit(version, mode, size):
    image = picture(*size, mode)
    mean = HALF if mode == "RGB" else (0.5,)
    transform = make_transform(version, input_size=24, mean=mean, std=mean, seed=3)
    seen = set()
    for row in range(12):
        drawn = draw(RECIPES[version], width=size[0], height=size[1], draws=Draws(seed=3, row=row, view=1))
        got = transform.pixels(image, row=row, view=1)
        assert np.array_equal(
            got.reshape(got.shape[:2] if mode == "L" else got.shape), by_torchvision(image, drawn, 24)
        )
        seen.add(got.tobytes())
    assert len(seen) > 1, "the views differ"


@settings(deadline=None, max_examples=60)
@given(
    order=st.permutations(range(4)),
    factors=st.tuples(*[st.floats(0.75, 1.25)] * 3),
    hue=st.floats(-0.5, 0.5),
    angle=st.floats(-2, 2),
    flip=st.booleans(),
    mode=st.sampled_from(["RGB", "L"]),
)
def test_any_parameters_equal_torchvision(order, factors, hue, angle, flip, mode):
    brightness, contrast, saturation = factors
    drawn = Augmentation(
        crop=(3, 1, 20, 17),
        flip=flip,
        order=tuple(order),
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=hue,
        angle=angle,
    )
    image = picture(29, 23, mode)
    assert np.array_equal(np.asarray(augment(image, drawn, 31)), by_torchvision(image, drawn, 31))


def test_grey_images_have_no_hue_or_saturation():
    image = picture(20, 20, "L")
    base = {"crop": None, "flip": False, "order": (3, 2, 1, 0), "brightness": 1.1, "contrast": 0.8, "angle": 1.0}
    plain = augment(image, Augmentation(**base, saturation=1.0, hue=None), 20)
    strong = augment(image, Augmentation(**base, saturation=0.75, hue=0.25), 20)
    assert plain.mode == strong.mode == "L"
    assert plain.tobytes() == strong.tobytes()
    colour = picture(20, 20)
    assert (
        augment(colour, Augmentation(**base, saturation=1.0, hue=None), 20).tobytes()
        != augment(colour, Augmentation(**base, saturation=0.75, hue=0.25), 20).tobytes()
    )


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_colours_angles_and_flips_are_distributed_as_torchvisions(recipe):
    drawn = many(recipe)
    # torchvision's own numbers for the same settings.
    jitter = ColorJitter(0.25, 0.25, 0.25, recipe.hue)
    assert jitter.brightness == jitter.contrast == jitter.saturation == (0.75, 1.25)
    for name, low, high in (
        ("brightness", 0.75, 1.25),
        ("contrast", 0.75, 1.25),
        ("saturation", 0.75, 1.25),
        ("angle", -2.0, 2.0),
    ):
        values = np.array([getattr(d, name) for d in drawn])
        assert values.min() >= low
        assert values.max() < high
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3, name
    assert abs(np.mean([d.flip for d in drawn]) - 0.5) < 4 * 0.5 / math.sqrt(len(drawn))
    orders = [d.order for d in drawn]
    counts = [orders.count(o) for o in sorted(set(orders))]
    assert len(counts) == 24, "every order of the four operations occurs"
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_papers_hue_turns_and_the_codes_does_not():
    hues = np.array([d.hue for d in many(PAPER)])
    assert stats.kstest(hues, "uniform", (-0.25, 0.5)).pvalue > 1e-3
    assert {d.hue for d in many(AS_RELEASED, 50)} == {None}
    assert {d.crop for d in many(PAPER, 50)} == {None}


def test_numbers_of_one_image_are_independent():
    drawn = many(PAPER)
    columns = np.array([(d.flip, d.brightness, d.contrast, d.saturation, d.hue, d.angle, d.order[0]) for d in drawn])
    off_diagonal = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(off_diagonal).max() < 4.5 / math.sqrt(len(drawn))


@pytest.mark.parametrize("size", [(64, 48), (500, 375), (32, 32), (300, 40)])
def test_crops_are_distributed_as_torchvisions(size):
    ours = np.array([d.crop for d in many(AS_RELEASED, 3000, *size)], dtype=float)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= size).all()
    state = torch.get_rng_state()
    torch.manual_seed(0)
    image = Image.new("L", size)
    theirs = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(3000)]
    torch.set_rng_state(state)
    theirs = np.array([(left, top, w, h) for top, left, h, w in theirs], dtype=float)
    for name, a, b in zip(("left", "top", "width", "height"), ours.T, theirs.T, strict=True):
        assert stats.ks_2samp(a, b).pvalue > 1e-3, name
    assert stats.ks_2samp(ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3]).pvalue > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 9), (400, 3), (3, 400)])
def test_where_no_crop_fits_the_centre_is_taken(size):
    # No attempt fits an image so thin but by luck; what is left is torchvision's fallback.
    state = torch.get_rng_state()
    torch.manual_seed(0)
    image = Image.new("L", size)
    theirs = {RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(300)}
    torch.set_rng_state(state)
    ours = {(top, left, h, w) for left, top, w, h in (d.crop for d in many(AS_RELEASED, 300, *size))}
    assert ours & theirs, "the commonest crop is among both"
    if max(size) >= 400:
        assert ours == theirs
        assert len(ours) == 1


@pytest.mark.parametrize("version", RECIPES)
def test_pixels_depend_on_seed_row_and_view_alone(version):
    image = picture(40, 30)
    transform = make_transform(version, input_size=16, mean=HALF, std=HALF, seed=5)
    wanted = [(row, view) for row in (0, 1, 17, 2**31) for view in (0, 1, 2)]
    first = {at: transform.pixels(image, *at).tobytes() for at in wanted}
    assert {at: transform.pixels(image, *at).tobytes() for at in reversed(wanted)} == first
    assert len(set(first.values())) == len(wanted), "rows and views differ"
    other = make_transform(version, input_size=16, mean=HALF, std=HALF, seed=6)
    assert all(other.pixels(image, *at).tobytes() != first[at] for at in wanted), "seeds differ"
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda at: transform.pixels(image, *at).tobytes(), wanted * 5))
    assert threaded == [first[at] for at in wanted] * 5


@pytest.mark.slow
def test_another_process_makes_the_same_pixels():
    image = picture(40, 30)
    transform = make_transform("paper-v1", input_size=16, mean=HALF, std=HALF, seed=5)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        theirs = [pool.submit(transform.pixels, image, row, 1).result() for row in range(4)]
    assert all(np.array_equal(t, transform.pixels(image, row, 1)) for row, t in enumerate(theirs))


def test_the_image_itself_is_left_alone():
    image = picture(24, 24)
    before = image.tobytes()
    make_transform("paper-v1", input_size=24, mean=HALF, std=HALF, seed=0).pixels(image)
    assert image.tobytes() == before


def test_rotated_corners_are_black_and_nearest():
    white = Image.new("RGB", (64, 64), (255, 255, 255))
    base = {"crop": None, "flip": False, "order": (0, 1, 2, 3), "brightness": 1.0, "contrast": 1.0, "saturation": 1.0}
    values = np.unique(np.asarray(augment(white, Augmentation(**base, hue=None, angle=2.0), 64)))
    assert values.tolist() == [0, 255]


class TestDraws:
    """The numbers are frozen: stored activations depend on them."""

    def test_the_stream_never_changes(self):
        draws = Draws(seed=1, row=2, view=3)
        assert [draws.uniform(0, 1) for _ in range(3)] == FROZEN_UNIFORM
        assert draws.order(4) == FROZEN_ORDER
        assert draws.below(1000) == FROZEN_BELOW

    def test_versions_draw_what_they_always_drew(self):
        drawn = draw(AS_RELEASED, width=500, height=375, draws=Draws(seed=0, row=0, view=0))
        assert drawn == FROZEN_AS_RELEASED
        assert draw(PAPER, width=500, height=375, draws=Draws(seed=0, row=0, view=0)) == FROZEN_PAPER

    def test_bits_are_numpys_generators(self):
        # `Generator.random` has always made its float64 so: an oracle for today's NumPy.
        oracle = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7, spawn_key=(8, 9))))
        draws = Draws(seed=7, row=8, view=9)
        assert [draws.uniform(0, 1) for _ in range(100)] == oracle.random(100).tolist()

    def test_below_covers_all_and_only_its_range(self):
        draws = Draws(seed=0, row=0, view=0)
        counts = np.bincount([draws.below(6) for _ in range(6000)], minlength=6)
        assert len(counts) == 6
        assert stats.chisquare(counts).pvalue > 1e-3
        assert draws.below(1) == 0
