"""The layout of a stack: every weight of every probe has one place, and little else is computed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe import PAPER_FRACTIONS
from probe._stack import MIN_ROWS, NARROW, PANEL, filled_up, panel_edges, plan_stack

layouts = st.integers(1, 400).flatmap(
    lambda d: st.tuples(
        st.just(d),
        st.integers(2, 120),
        st.sets(st.integers(1, d), min_size=1, max_size=12).map(sorted),
        st.integers(1, 3),
    )
)


@given(layouts)
def test_every_weight_of_every_probe_has_one_place(layout):
    width, n_classes, sizes, n_copies = layout
    stack = plan_stack(tuple(sizes), width=width, n_classes=n_classes, n_copies=n_copies)
    assert list(stack.sizes) == sorted(sizes, reverse=True)
    assert stack.n_probes == len(sizes) * n_copies <= stack.n_slots
    for slot in range(stack.n_probes):
        k = stack.size(slot)
        covered = [n for p in stack.panels if p.n_rows >= stack.rows(slot).stop for n in range(p.start, p.stop)]
        assert covered[:k] == list(range(k))
    assert sorted(stack.size(s) for s in range(stack.n_probes)) == sorted(sizes * n_copies)
    assert [p.offset for p in stack.panels] == [0, *(p.end for p in stack.panels[:-1])]
    assert stack.n_weights == sum(p.n_rows * p.width for p in stack.panels)
    assert max(sizes) <= stack.reach <= max(filled_up(max(sizes)), NARROW)


@given(layouts)
def test_products_have_shapes_that_do_not_depend_on_what_else_is_stacked(layout):
    width, n_classes, sizes, n_copies = layout
    together = plan_stack(tuple(sizes), width=width, n_classes=n_classes, n_copies=n_copies)
    alone = plan_stack((sizes[0],), width=width, n_classes=n_classes)
    edges = [(p.start, p.stop) for p in together.panels]
    assert edges[: len(alone.panels)] == [(p.start, p.stop) for p in alone.panels]
    assert all(p.n_rows >= MIN_ROWS for p in (*together.panels, *alone.panels))
    assert all(p.offset % NARROW == 0 for p in together.panels)


def test_the_grid_is_fixed():
    assert panel_edges(1) == ((0, 32),)
    assert panel_edges(33) == panel_edges(64) == ((0, 32), (32, 64))
    assert panel_edges(193) == ((0, 32), (32, 64), (64, 128), (128, 192), (192, 256))
    assert filled_up(65) == 2 * PANEL


@pytest.mark.parametrize("n_classes", [10, 37, 100, 102])
@pytest.mark.parametrize("width", [384, 512, 2048, 4096])
def test_few_zeros_are_computed_on_the_papers_grid(width, n_classes):
    sizes = tuple({int(f * width) for f in PAPER_FRACTIONS} - {0})
    stack = plan_stack(sizes, width=width, n_classes=n_classes)
    assert 1 <= stack.waste < 1.3
    # And it is the ratio that it says: multiply-adds of the products over those of the probes themselves.
    assert stack.waste == sum(p.n_rows * p.width for p in stack.panels) / (n_classes * sum(sizes))


def test_small_probes_alone_are_all_filling():
    assert plan_stack((1,), width=9, n_classes=20).waste == 32
