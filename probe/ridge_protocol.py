"""Protocols of solver ``ridge``: named, versioned penalties, part of every job's identity. Pure (no I/O)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from probe.errors import InvalidProbe
from store import JSON, UnknownName

if TYPE_CHECKING:
    from probe.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeProtocol:
    """Penalties of a ridge regression on one-hot labels, fitted in closed form."""

    name: str
    """What a study calls it."""
    version: int
    """Raised when what the name means changes; enters the identity."""
    strengths: tuple[float, ...]
    """Penalties to try, distinct; of several, each subset size keeps the one of best validation accuracy."""
    relative: bool = True
    """A strength s means lambda = s trace(S) / d, with S the centred scatter of the whole layer's training rows: s
    times the mean eigenvalue, the same for every subset and method, blind to the layer's scale. If not, lambda = s."""

    def __post_init__(self) -> None:
        if not self.strengths:
            raise InvalidProbe(f"protocol {self.name}: strengths holds none, expected at least one.")
        if len(set(self.strengths)) < len(self.strengths):
            raise InvalidProbe(f"protocol {self.name}: strengths holds one twice: {self.strengths}.")
        for strength in self.strengths:
            if not (math.isfinite(strength) and (strength > 0 or (strength == 0 and not self.relative))):
                least = "> 0" if self.relative else ">= 0"
                raise InvalidProbe(f"protocol {self.name}: strengths must be {least} and finite, got {strength}.")

    @property
    def solver(self) -> Literal["ridge"]:
        """The solver that takes these settings."""
        return "ridge"

    @property
    def label(self) -> str:
        """How it is told in the ``protocol`` column."""
        return self.name

    @property
    def needs_validation(self) -> bool:
        """Whether there is something to choose, which only validation rows can do."""
        return len(self.strengths) > 1

    def identity(self) -> dict[str, JSON]:
        """Return every setting, for the id of a job."""
        return {
            "solver": self.solver,
            "name": self.name,
            "version": self.version,
            "strengths": list(self.strengths),
            "relative": self.relative,
        }

    def lambdas(self, whole: "Statistics") -> tuple[float, ...]:
        """Return lambda for each strength.

        Parameters
        ----------
        whole
            Statistics of the training rows of the whole layer: those of a subset would change lambda with its size. A
            layer of constant neurons has no scale; there any lambda > 0 gives the same probe, and s itself is taken.
        """
        return self.lambdas_at(float(whole.scatter.trace()) / whole.width)

    def lambdas_at(self, mean_eigenvalue: float) -> tuple[float, ...]:
        """Return lambda for each strength, where the mean eigenvalue of the layer's centred scatter is known.

        That is the mean over its neurons of their sums of squares about the mean.
        """
        if not self.relative:
            return self.strengths
        return tuple(s * (mean_eigenvalue if mean_eigenvalue > 0 else 1.0) for s in self.strengths)


RIDGE_PROTOCOLS = {
    # A hundredth of the mean eigenvalue: enough for a stable factor of duplicated neurons and of fewer rows than
    # neurons, little against the directions that hold the classes.
    "default": RidgeProtocol(name="default", version=1, strengths=(1e-2,)),
    "validated": RidgeProtocol(name="validated", version=1, strengths=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)),
}


def ridge_protocol(name: str) -> RidgeProtocol:
    """Return the ridge protocol of a name, or the one that a name spells out.

    Parameters
    ----------
    name
        One of `RIDGE_PROTOCOLS`, or strengths of one's own behind what they are: ``relative:0.1`` (times the mean
        eigenvalue), ``relative:0.01,0.1`` (chosen on validation rows), ``absolute:3.5``. The same strengths in another
        order or spelling are the same protocol.

    Raises
    ------
    UnknownName
        If there is no such name.
    InvalidProbe
        If what is spelled out is not a list of distinct penalties.
    """
    kind, colon, values = name.partition(":")
    if not colon or kind not in ("relative", "absolute"):
        try:
            return RIDGE_PROTOCOLS[name]
        except KeyError:
            known = (*RIDGE_PROTOCOLS, "relative:0.01", "absolute:1")
            raise UnknownName.among("protocol of solver ridge", name, known) from None
    try:
        strengths = tuple(sorted(float(v) for v in values.split(",")))
    except ValueError as e:
        raise InvalidProbe(
            f"protocol {name!r} of solver ridge: expected numbers behind the colon, such as {kind}:0.01,0.1."
        ) from e
    # repr is the shortest text that gives the number back, so no two protocols share a name.
    spelled = ",".join(repr(s).removesuffix(".0") for s in strengths)
    return RidgeProtocol(name=f"{kind}:{spelled}", version=1, strengths=strengths, relative=kind == "relative")
