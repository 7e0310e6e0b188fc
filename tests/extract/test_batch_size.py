"""Finding a batch size: the smallest near the best rate, halved where it does not fit."""

import pytest

from extract._batch_size import find_batch_size


def device(*, overhead, per_image, most):
    """Return a device that takes so long for n images, and has memory for ``most``."""
    return lambda n: None if n > most else overhead + per_image * n


@pytest.mark.parametrize(
    ("overhead", "most", "expected"),
    [
        (0.0, 10**9, 32),  # larger batches bring nothing
        (10.0, 10**9, 128),  # until a doubling brings less than 5 %
        (1e9, 10**9, 1024),  # up to the largest that is tried
        (1e9, 300, 256),  # or that fits
        (1e9, 20, 16),
        (1e9, 1, 1),
    ],
)
def test_the_smallest_batch_near_the_best_rate(overhead, most, expected):
    assert find_batch_size(device(overhead=overhead, per_image=1.0, most=most)) == expected


def test_no_size_is_tried_after_one_that_does_not_fit():
    tried = []

    def seconds(n):
        tried.append(n)
        return None if n > 64 else 1.0

    assert find_batch_size(seconds) == 64
    assert tried == [32, 64, 128]
