"""L-BFGS against the dense BFGS formula, and on functions whose minimum is known."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe._lbfgs import History, Reached, minimise


@dataclass
class Quadratic:
    """f(w) = 1/2 ||A w - b||^2 + l2/2 ||w||^2, scores A w."""

    a: torch.Tensor
    b: torch.Tensor
    l2: float = 0.1
    rounding: float = 1e-12
    products: int = 0

    def scores(self, point):
        self.products += 1
        return self.a @ point

    def gradient(self, point, residuals):
        self.products += 1
        return self.a.T @ residuals + self.l2 * point

    def at(self, scores, point, step_scores, step, length):
        r, w = scores + length * step_scores - self.b, point + length * step
        return Reached(
            float(0.5 * r @ r + 0.5 * self.l2 * w @ w),
            float(r @ step_scores + self.l2 * w @ step),
            lambda: float(step_scores @ step_scores + self.l2 * step @ step),
            r,
        )


def quadratic(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return Quadratic(torch.from_numpy(rng.normal(size=(n, d))), torch.from_numpy(rng.normal(size=n)))


def search(problem, start, precondition=torch.clone, *, tolerance=1e-10, max_iterations=500, memory=10):
    return minimise(
        problem,
        start,
        precondition=precondition,
        tolerance=tolerance,
        max_iterations=max_iterations,
        history=History(memory),
    )


@given(n_pairs=st.integers(0, 6), seed=st.integers(0, 50))
def test_the_direction_is_that_of_the_dense_formula(n_pairs, seed):
    rng = np.random.default_rng(seed)
    d = 8
    hessian = (lambda m: m @ m.T + np.eye(d))(rng.normal(size=(d, d)))
    h0 = (lambda m: m @ m.T + np.eye(d))(rng.normal(size=(d, d)))
    history, pairs = History(4), []
    for _ in range(n_pairs):
        s = rng.normal(size=d)
        y = hessian @ s
        pairs.append((s, y))
        history.push(*(torch.from_numpy(v) for v in (s, y, h0 @ y)))
    kept = pairs[-4:]
    inverse = h0 * (kept[-1][0] @ kept[-1][1] / (kept[-1][1] @ h0 @ kept[-1][1]) if kept else 1.0)
    for s, y in kept:  # BFGS: H <- (I - s y'/s'y) H (I - y s'/s'y) + s s'/s'y
        rho = 1 / (s @ y)
        left = np.eye(d) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    g = rng.normal(size=d)
    found = history.direction(torch.from_numpy(g), torch.from_numpy(h0 @ g))
    np.testing.assert_allclose(found.numpy(), -inverse @ g, rtol=1e-9, atol=1e-9)
    assert len(history) == len(kept)


@given(n=st.integers(1, 30), d=st.integers(1, 20), seed=st.integers(0, 50), memory=st.integers(1, 10))
def test_a_quadratic_is_solved(n, d, seed, memory):
    problem = quadratic(n, d, seed)
    found = search(problem, torch.zeros(d, dtype=torch.float64), memory=memory)
    exact = torch.linalg.solve(problem.a.T @ problem.a + 0.1 * torch.eye(d).double(), problem.a.T @ problem.b)
    assert found.norm <= 1e-10
    np.testing.assert_allclose(found.point.numpy(), exact.numpy(), atol=1e-8)


def test_the_exact_metric_needs_one_step_and_four_products():
    problem = quadratic(50, 20)
    hessian = problem.a.T @ problem.a + 0.1 * torch.eye(20).double()
    found = search(problem, torch.zeros(20).double(), lambda g: torch.linalg.solve(hessian, g))
    assert found.n_iterations == 1
    assert problem.products == 4  # scores and gradient at the start, then of the step
    assert search(quadratic(50, 20), torch.zeros(20).double()).n_iterations > 5


def test_a_metric_of_the_wrong_size_costs_lengths_not_products():
    problem = quadratic(50, 20)
    hessian = problem.a.T @ problem.a + 0.1 * torch.eye(20).double()
    for factor in (1e-6, 1e6):
        found = search(problem, torch.zeros(20).double(), lambda g, f=factor: f * torch.linalg.solve(hessian, g))
        assert found.norm <= 1e-10
        assert found.n_iterations <= 2


@dataclass
class Kink:
    """f(w) = sum of sqrt(1 + (w - c)^2 / e): flat curvature away from c, steep beside it."""

    centre: torch.Tensor
    e: float = 1e-4
    rounding: float = 1e-12

    def scores(self, point):
        return point.clone()

    def gradient(self, point, residuals):
        return residuals

    def at(self, scores, point, step_scores, step, length):
        u = scores + length * step_scores - self.centre
        root = (1 + u * u / self.e).sqrt()
        return Reached(
            float(root.sum()),
            float((u / self.e / root) @ step_scores),
            lambda: float((1 / (self.e * root**3)) @ step_scores**2),
            u / self.e / root,
        )


def test_newtons_steps_that_overshoot_are_held_in_the_bracket():
    centre = torch.tensor([3.0, -70.0, 0.01], dtype=torch.float64)
    found = search(Kink(centre), torch.zeros(3, dtype=torch.float64), tolerance=1e-6)
    assert found.norm <= 1e-6
    np.testing.assert_allclose(found.point.numpy(), centre.numpy(), atol=1e-8)


def test_steps_run_out():
    found = search(quadratic(50, 20), torch.zeros(20).double(), max_iterations=3)
    assert found.n_iterations == 3
    assert 1e-10 < found.norm < float("inf")


def test_the_gradient_goes_down_to_rounding():
    found = search(quadratic(50, 20), torch.zeros(20).double(), tolerance=0.0, max_iterations=300)
    assert found.norm < 1e-13


def test_a_start_at_the_minimum_is_left_where_it_is():
    problem = quadratic(5, 5)
    point = search(problem, torch.zeros(5).double(), tolerance=1e-12).point
    again = search(problem, point, tolerance=1e-10)
    assert again.n_iterations == 0
    assert torch.equal(again.point, point)


@pytest.mark.parametrize("change", [0.0, -1.0])
def test_a_pair_without_curvature_is_left_out(change):
    history = History(3)
    one = torch.ones(2).double()
    history.push(one, change * one, change * one)
    assert len(history) == 0
