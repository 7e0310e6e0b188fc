"""When a task hangs: what is predicted, what is measured, and how often it was tried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drfarm.farm._deadline import FACTOR, LEAST_S, PATIENCE, Pace

amounts = st.floats(1e-3, 1e5)


def test_a_short_task_has_a_minute_and_a_long_one_twenty_times_what_was_predicted():
    pace = Pace()
    assert pace.deadline_s(0.0, 1) == LEAST_S == 60.0
    assert pace.deadline_s(1.0, 1) == LEAST_S
    assert pace.deadline_s(30.0, 1) == FACTOR * 30.0 == 600.0


def test_a_slow_cluster_has_longer_deadlines_and_a_fast_one_no_shorter_ones():
    slow, fast = Pace(), Pace()
    for _ in range(3):
        slow.learn(10.0, 40.0)
        fast.learn(10.0, 0.1)
    assert slow.deadline_s(30.0, 1) == pytest.approx(4 * FACTOR * 30.0)
    assert fast.deadline_s(30.0, 1) == FACTOR * 30.0


def test_each_try_may_take_longer():
    pace = Pace(factor=5.0)
    tries = [pace.deadline_s(100.0, attempt) for attempt in (1, 2, 3)]
    assert tries == [500.0, PATIENCE * 500.0, PATIENCE**2 * 500.0]


def test_where_nothing_is_predicted_the_others_must_have_ended_first():
    pace = Pace(predicts=False, least_s=600.0)
    assert pace.deadline_s(32_768, 1) is None
    pace.learn(0.0, 9.0)  # all of it was done already: that tells nothing
    assert pace.deadline_s(32_768, 1) is None
    pace.learn(1000.0, 10.0)
    assert pace.deadline_s(1000.0, 1) == 600.0
    assert pace.deadline_s(32_768, 1) == pytest.approx(FACTOR * 327.68)


@given(st.lists(st.tuples(amounts, amounts), max_size=20), amounts, st.integers(1, 3))
def test_no_task_that_is_as_slow_as_the_others_hangs(ended, amount, attempt):
    pace = Pace()
    for did, seconds in ended:
        pace.learn(did, seconds)
    usual = amount * sum(s for _, s in ended) / sum(a for a, _ in ended) if ended else amount
    assert pace.deadline_s(amount, attempt) >= max(LEAST_S, 10 * usual)
