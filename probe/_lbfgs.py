"""L-BFGS for a convex function of linear scores: f(w) = loss(A w) + penalty(w), preconditioned. Pure (no I/O).

Scores are linear in w, so along a direction D they are A w + t A D: a step costs one product with A for the direction
and one with A' for the gradient, however many lengths t are tried. No decision rests on small differences of function
values, so the gradient goes down to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

_TRIALS = 40
"""Step lengths that are tried before a direction is given up."""
_SLOPE = 0.5
"""A step ends where the slope is at most this share of that at its start (Wolfe's second condition, strong)."""
_DECREASE = 1e-4
"""A step decreases f by at least this share of what its first slope promises (Wolfe's first condition)."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The function at one point of a ray."""

    value: float
    """f."""
    slope: float
    """Derivative along the ray."""
    curvature: Callable[[], float]
    """Second derivative along the ray, for who needs it."""
    residuals: "torch.Tensor"
    """Derivative of the loss by the scores, in the shape of scores."""


class Problem(Protocol):
    """What is minimised, over points of one shape."""

    def scores(self, point: "torch.Tensor") -> "torch.Tensor":
        """Return A w."""

    def gradient(self, point: "torch.Tensor", residuals: "torch.Tensor") -> "torch.Tensor":
        """Return A' residuals plus the gradient of the penalty, float64, in the shape of points."""

    def at(
        self,
        scores: "torch.Tensor",
        point: "torch.Tensor",
        step_scores: "torch.Tensor",
        step: "torch.Tensor",
        length: float,
    ) -> Reached:
        """Return the function at ``point + length * step``, of which both summands' scores are given."""

    @property
    def rounding(self) -> float:
        """Relative error of a value of f."""


class History:
    """The last steps and what they did to the gradient: an approximation of the inverse Hessian.

    Nocedal (1980), "Updating quasi-Newton matrices with limited storage": the two-loop recursion, from a preconditioner
    H0 that is scaled by s'y / y'H0 y, the s, y of the last step (Shanno and Phua, 1978). H0 y is the difference of two
    H0 g that are at hand, so a step applies H0 once.

    Parameters
    ----------
    size
        Pairs that are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def clear(self) -> None:
        """Forget all pairs."""
        self._pairs.clear()

    def push(self, step: "torch.Tensor", change: "torch.Tensor", solved_change: "torch.Tensor") -> None:
        """Add a step s, the change of the gradient y and H0 y; left out where rounding hides the curvature."""
        curvature, norm = _dot(step, change), _dot(change, solved_change)
        if curvature > 0 and norm > 0:
            self._pairs.append((step, change, solved_change, 1.0 / curvature))
            del self._pairs[: -self._size]

    def direction(self, gradient: "torch.Tensor", solved: "torch.Tensor") -> "torch.Tensor":
        """Return the direction of the next step, given the gradient g and H0 g."""
        rest, out = gradient.clone(), solved.clone()
        shares = []
        for step, change, solved_change, inverse in reversed(self._pairs):
            share = inverse * _dot(step, rest)
            shares.append(share)
            rest.sub_(change, alpha=share)
            out.sub_(solved_change, alpha=share)
        if self._pairs:
            _, change, solved_change, inverse = self._pairs[-1]
            out.mul_(1.0 / (inverse * _dot(change, solved_change)))
        for (step, change, _, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            out.add_(step, alpha=share - inverse * _dot(change, out))
        return out.neg_()


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """Where the search ended."""

    point: "torch.Tensor"
    """The point, float64."""
    value: float
    """f there."""
    norm: float
    """Largest entry of the gradient there, as the search knows it."""
    n_iterations: int
    """Steps taken."""


def minimise(
    problem: Problem,
    start: "torch.Tensor",
    *,
    precondition: Callable[["torch.Tensor"], "torch.Tensor"],
    tolerance: float,
    max_iterations: int,
    history: History,
) -> Minimum:
    """Go down until the largest entry of the gradient is at most ``tolerance``.

    Parameters
    ----------
    problem
        A convex function with a Lipschitz gradient.
    start
        First point, float64.
    precondition
        H0: a symmetric positive definite approximation of the inverse Hessian, linear in its argument.
    tolerance
        On the largest entry of the gradient.
    max_iterations
        Steps after which the search ends in any case.
    history
        Earlier steps with the same preconditioner, if any; those of this search are added.

    Returns
    -------
    Minimum
        The last point; it may be above the tolerance where iterations run out or rounding hides the way down.
    """
    point, scores = start, problem.scores(start)
    here = problem.at(scores, point, scores, point, 0.0)
    gradient = problem.gradient(point, here.residuals)
    solved = precondition(gradient)
    n, norm = 0, _largest(gradient)
    while norm > tolerance and n < max_iterations:
        n += 1
        step = history.direction(gradient, solved)
        slope = _dot(gradient, step)
        found = None
        if slope < 0:
            step_scores = problem.scores(step)
            found = _search(
                lambda t, s=scores, p=point, d=step_scores, v=step: problem.at(s, p, d, v, t),  # type: ignore[misc]
                here.value,
                slope,
                problem.rounding,
            )
        if found is None:
            if not len(history):
                break
            history.clear()
            continue
        length, here = found
        step.mul_(length)
        point = point + step
        scores = scores.add_(step_scores, alpha=length)
        new = problem.gradient(point, here.residuals)
        new_solved = precondition(new)
        history.push(step, new - gradient, new_solved - solved)
        gradient, solved, norm = new, new_solved, _largest(new)
    return Minimum(point=point, value=here.value, norm=norm, n_iterations=n)


def _search(
    along: Callable[[float], Reached], value: float, slope: float, rounding: float
) -> tuple[float, Reached] | None:
    """Return a length that meets Wolfe's conditions: Newton's method on the slope, kept in a bracket that shrinks."""
    low, high, length = 0.0, float("inf"), 1.0
    slack = rounding * (1.0 + abs(value))
    for _ in range(_TRIALS):
        here = along(length)
        low_enough = here.value <= value + _DECREASE * length * slope + slack
        if low_enough and abs(here.slope) <= -_SLOPE * slope:
            return length, here
        # The slope rises with the length (f is convex): its sign tells on which side the minimum lies.
        if here.slope > 0 or not low_enough:
            high = length
        else:
            low = length
        curvature = here.curvature()
        newton = length - here.slope / curvature if curvature > 0 else float("inf")
        if not low < newton < high:
            newton = (low + high) / 2 if high < float("inf") else 2 * length
        length = newton
    return None


def _dot(a: "torch.Tensor", b: "torch.Tensor") -> float:
    import torch

    return float(torch.dot(a.reshape(-1), b.reshape(-1)))


def _largest(a: "torch.Tensor") -> float:
    return float(a.abs().max())
