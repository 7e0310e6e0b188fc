from hypothesis import given
from hypothesis import strategies as st

from extract._batches import Batch, needed_batches


@st.composite
def grids(draw):
    n = draw(st.integers(1, 300))
    size = draw(st.integers(1, 70))
    rows = draw(st.integers(1, 90))
    spans = [(i, min(i + rows, n)) for i in range(0, n, rows)]
    return n, size, draw(st.lists(st.sampled_from(spans), unique=True))


@given(grids())
def test_batches_cover_what_is_missing_and_no_more(grid):
    n, size, spans = grid
    batches = needed_batches(spans, n_samples=n, batch_size=size)
    rows = [r for b in batches for r in range(b.start, b.stop)]
    wanted = {r for start, stop in spans for r in range(start, stop)}
    assert len(rows) == len(set(rows))
    assert wanted <= set(rows) <= set(range(n))
    for b in batches:  # always the same composition, and never a batch for nothing
        assert b.start % size == 0
        assert b.stop == min(b.start + size, n)
        assert wanted & set(range(b.start, b.stop))
    assert rows == sorted(rows)


def test_nothing_missing_is_nothing_to_run():
    assert needed_batches([], n_samples=10, batch_size=4) == []
    assert needed_batches([(8, 10)], n_samples=10, batch_size=4) == [Batch(start=8, stop=10)]
