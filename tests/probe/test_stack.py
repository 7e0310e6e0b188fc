"""The layout of a stack: every weight of every probe has one place, and little else is computed."""

from hypothesis import given
from hypothesis import strategies as st

from probe import PAPER_FRACTIONS
from probe._stack import MIN_ROWS, PANEL, filled_up, plan_stack

layouts = st.integers(1, 400).flatmap(
    lambda d: st.tuples(
        st.just(d), st.integers(2, 120), st.sets(st.integers(1, d), min_size=1, max_size=12).map(sorted)
    )
)


@given(layouts)
def test_every_weight_of_every_probe_has_one_place(layout):
    width, n_classes, sizes = layout
    stack = plan_stack(tuple(sizes), width=width, n_classes=n_classes)
    assert list(stack.sizes) == sorted(sizes, reverse=True)
    for i, k in enumerate(stack.sizes):
        covered = [n for p in stack.panels if p.n_rows >= (i + 1) * n_classes for n in range(p.start, p.stop)]
        assert covered[:k] == list(range(k))
    assert [p.offset for p in stack.panels] == [0, *(p.end for p in stack.panels[:-1])]
    assert stack.n_weights == sum(p.n_rows * PANEL for p in stack.panels)
    assert stack.reach == filled_up(max(sizes))


@given(layouts)
def test_products_have_shapes_that_do_not_depend_on_what_else_is_stacked(layout):
    width, n_classes, sizes = layout
    together = plan_stack(tuple(sizes), width=width, n_classes=n_classes)
    alone = plan_stack((sizes[0],), width=width, n_classes=n_classes)
    assert {p.start for p in alone.panels} <= {p.start for p in together.panels}
    assert all(p.n_rows >= MIN_ROWS for p in (*together.panels, *alone.panels))
    assert all(p.start % PANEL == 0 and p.stop - p.start == PANEL for p in together.panels)


def test_few_zeros_are_computed_on_the_papers_grid():
    sizes = tuple({int(f * 2048) for f in PAPER_FRACTIONS})
    stack = plan_stack(sizes, width=2048, n_classes=10)
    assert stack.n_weights / (10 * sum(sizes)) < 1.1
