"""Joining blocks keeps rows, their order and their labels."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from probe._joined_blocks import joined


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 25))
def test_the_same_rows_in_the_same_order_in_large_blocks(lengths, least):
    ends = np.cumsum([0, *lengths])
    x, y = np.arange(3 * ends[-1], dtype=np.float32).reshape(-1, 3), np.arange(ends[-1])
    given_blocks = [(x[a:b], y[a:b]) for a, b in pairwise(ends)]
    found = list(joined(iter(given_blocks), least=least))
    assert all(len(labels) >= least for _, labels in found[:-1])
    assert all(len(labels) < least + 9 for _, labels in found)
    if found:
        np.testing.assert_array_equal(np.concatenate([a for a, _ in found]), x)
        np.testing.assert_array_equal(np.concatenate([b for _, b in found]), y)
    else:
        assert not len(lengths)


def test_a_large_block_is_not_copied():
    x, y = np.zeros((4, 2)), np.arange(4)
    ((same, labels),) = joined([(x, y)], least=4)
    assert same is x
    assert labels is y


def test_wide_rows_are_joined_up_to_a_size():
    blocks = [(np.zeros((2, 50), np.float32), np.arange(2)) for _ in range(7)]  # 400 bytes each
    assert [len(y) for _, y in joined(blocks, least=1000, least_bytes=1000)] == [6, 6, 2]
