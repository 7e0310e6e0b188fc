"""The simulation in small: nothing lost, nothing twice, and workers busy."""

import pytest
from simulate import QUIET, ROUGH, Trouble, driver_bytes, simulate
from synthetic import plan


@pytest.fixture(scope="module")
def tasks():
    return plan(20_000)


@pytest.mark.parametrize("trouble", [QUIET, ROUGH])
@pytest.mark.parametrize("n_workers", [1, 30])
def test_every_probe_is_measured_once(tasks, n_workers, trouble):
    outcome = simulate(tasks, n_workers, trouble)
    assert outcome.n_done == 20_000
    assert outcome.n_given_up == 0
    assert set(outcome.ran.values()) == {1}
    assert 0.3 < outcome.efficiency < 1.05


def test_failures_cost_what_they_lose(tasks):
    quiet, failing = simulate(tasks, 20, QUIET), simulate(tasks, 20, Trouble(failures=0.05))
    assert quiet.lost_s == 0
    assert failing.lost_s > 0
    assert failing.n_tries > quiet.n_tries
    assert quiet.efficiency > 0.9
    assert failing.efficiency > 0.9


def test_what_fails_every_time_is_given_up(tasks):
    outcome = simulate(tasks[:50], 5, Trouble(failures=1.0))
    assert outcome.n_done == 0
    assert outcome.n_given_up >= 50
    assert not outcome.ran
    # Three of each, and those of tasks that were cut after one or two.
    assert 3 * outcome.n_given_up <= outcome.n_tries < 5 * outcome.n_given_up


def test_workers_stay_with_what_they_read(tasks):
    few = simulate(tasks, 10, QUIET)
    assert few.n_reads < 0.35 * few.n_tries
    assert few.n_reads >= 40


def test_the_same_seed_is_the_same_run(tasks):
    first, second = (simulate(tasks, 30, ROUGH, seed=3) for _ in range(2))
    assert (first.wall_s, first.ran) == (second.wall_s, second.ran)


def test_the_driver_is_measured_in_a_process_of_its_own():
    measured = driver_bytes(5_000)
    assert 0 < measured["imported"] <= measured["peak"] < 500 * 2**20
    assert measured["n_tasks"] > 50
