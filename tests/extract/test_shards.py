"""Shards: every chunk belongs to exactly one, whatever the layers' chunk sizes; small splits are spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.shards import Shard, block_rows, owned_cells, parse_shard
from store import InvalidRequest
from store.grid import Grid


@given(
    n=st.integers(1, 2000),
    rows=st.lists(st.sampled_from([1, 2, 8, 64, 256, 1024]), min_size=1, max_size=3),
    n_views=st.integers(1, 5),
    count=st.integers(1, 20),
    offset=st.integers(0, 2**32),
)
def test_every_chunk_belongs_to_exactly_one_shard(n, rows, n_views, count, offset):
    grids = [Grid(n_views=n_views, n_samples=n, width=3, chunk_rows=min(r, n)) for r in rows]
    block = block_rows(grids)
    for grid in grids:
        parts = [owned_cells(grid, Shard(index=i, count=count), block_rows=block, offset=offset) for i in range(count)]
        assert sorted(c for part in parts for c in part) == sorted(grid.cells())
        sizes = [len(p) for p in parts]
        if grid.chunk_rows == block:
            assert max(sizes) - min(sizes) <= 1


def test_layers_of_a_job_are_cut_at_the_same_rows():
    wide, narrow = (Grid(n_views=1, n_samples=1000, width=w, chunk_rows=r) for w, r in ((64, 16), (4, 256)))
    block = block_rows([wide, narrow])
    for i in range(4):
        shard = Shard(index=i, count=4)
        rows = [
            {r for _, c in owned_cells(g, shard, block_rows=block, offset=3) for r in range(*g.span(c))}
            for g in (wide, narrow)
        ]
        assert rows[0] == rows[1] != set()


def test_the_first_shard_does_not_get_every_small_split():
    grid = Grid(n_views=1, n_samples=10, width=3, chunk_rows=10)
    owners = {
        i
        for offset in range(8)
        for i in range(8)
        if owned_cells(grid, Shard(index=i, count=8), block_rows=10, offset=offset)
    }
    assert owners == set(range(8))


def test_what_a_person_writes():
    assert parse_shard(" 3/16") == Shard(index=2, count=16)
    assert str(Shard(index=2, count=16)) == "3/16"
    for text in ("0/4", "5/4", "1/0"):
        with pytest.raises(InvalidRequest, match="shards of"):
            parse_shard(text)
    with pytest.raises(InvalidRequest, match="the form 3/16"):
        parse_shard("3 of 16")
