"""Which batches run: what is missing and no more, always the same composition, each image decoded once."""

from hypothesis import given
from hypothesis import strategies as st

from extract._batches import VIEWS_AT_ONCE, Batch, Span, Step, fitting_views, plan_steps


@st.composite
def grids(draw):
    n = draw(st.integers(1, 300))
    size = draw(st.integers(1, 70))
    n_views = draw(st.integers(1, 2 * VIEWS_AT_ONCE + 1))
    jobs = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 90))
        spans = [Span(view=v, start=i, stop=min(i + rows, n)) for v in range(n_views) for i in range(0, n, rows)]
        jobs.append(draw(st.lists(st.sampled_from(spans), unique=True, max_size=20)))
    return n, size, jobs


@given(grids())
def test_batches_cover_what_each_job_lacks_and_no_more(grid):
    n, size, jobs = grid
    steps = plan_steps(jobs, n_samples=n, batch_size=size)
    for job, spans in enumerate(jobs):
        wanted = {(s.view, r // size) for s in spans for r in range(s.start, s.stop)}
        run = [(v, s.batch.start // size) for s in steps for v, who in zip(s.views, s.jobs, strict=True) if job in who]
        assert len(run) == len(set(run))
        assert set(run) == wanted
    for s in steps:  # always the same composition, and never a view for nobody
        assert s.batch.start % size == 0
        assert s.batch.stop == min(s.batch.start + size, n)
        assert s.views == tuple(sorted(set(s.views)))
        assert all(s.jobs)


@given(grids())
def test_an_image_is_decoded_once_for_a_group_of_views(grid):
    n, size, jobs = grid
    steps = plan_steps(jobs, n_samples=n, batch_size=size)
    decoded = [(s.views[0] // VIEWS_AT_ONCE, s.batch.start) for s in steps]
    assert decoded == sorted(set(decoded))
    assert all(v // VIEWS_AT_ONCE == s.views[0] // VIEWS_AT_ONCE for s in steps for v in s.views)


def test_nothing_missing_is_nothing_to_run():
    assert plan_steps([[], []], n_samples=10, batch_size=4) == []
    (step,) = plan_steps([[Span(view=0, start=8, stop=10)]], n_samples=10, batch_size=4)
    assert step == Step(batch=Batch(start=8, stop=10), views=(0,), jobs=((0,),))
    assert step.n_forwards == 2


def test_large_batches_are_made_in_fewer_views_at_once():
    assert fitting_views(64, 3 * 224 * 224) == VIEWS_AT_ONCE
    assert fitting_views(1024, 3 * 224 * 224) == 1
    assert fitting_views(10**6, 10**6) == 1
    spans = [Span(view=v, start=0, stop=4) for v in range(5)]
    steps = plan_steps([spans], n_samples=4, batch_size=4, views_at_once=2)
    assert [s.views for s in steps] == [(0, 1), (2, 3), (4,)]
