"""Protocols of solver ``logistic``: named, versioned settings, part of every job's identity. Pure (no I/O)."""

import math
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from probe.errors import InvalidProbe
from store import JSON, UnknownName

Scaling = Literal["layer", "standardised", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticProtocol:
    """Settings of a multinomial logistic regression that is fitted to a certified gradient norm.

    The probe of size k minimises, over V (C, k) and c (C,), with m the mean of the training rows and s a scale:

        (1/n) sum_i cross-entropy(V (x_i - m) / s + c, y_i) + (l2 / 2) ||V||^2,

    the bias is not penalised. scikit-learn's ``C`` for features over s is ``1 / (n * l2)``.
    """

    name: str
    """What a study calls it."""
    version: int
    """Raised when what the name means changes; enters the identity."""
    l2: tuple[float, ...]
    """Penalties to try, distinct, on the mean loss; of several, each size keeps the one of best validation accuracy."""
    scaling: Scaling = "layer"
    """The scale s by which the penalty sees features. ``layer``: one number for all coordinates, the root of the mean
    variance of the layer's neurons over the training rows. Then l2 means the same in layers of any scale (as ridge's
    relative strengths), and all directions of a rotated layer give the probe of all its neurons. ``standardised``: the
    standard deviation of each coordinate (of PCA coordinates that blows up the small ones); 1 where it is constant.
    ``none``: 1."""
    tolerance: float = 1e-6
    """Bound of the certificate: the largest entry of the gradient of the objective by V and c."""
    max_iterations: int = 1000
    """Steps of L-BFGS after which a probe is given back as not converged."""

    def __post_init__(self) -> None:
        if not self.l2:
            raise InvalidProbe(f"protocol {self.name}: l2 holds none, expected at least one.")
        if len(set(self.l2)) < len(self.l2):
            raise InvalidProbe(f"protocol {self.name}: l2 holds one twice: {self.l2}.")
        for value in self.l2:
            if not 0 < value < math.inf:
                raise InvalidProbe(
                    f"protocol {self.name}: l2 must be > 0 and finite, got {value}: without a penalty classes that "
                    "can be separated have no finite optimum."
                )
        if not 0 < self.tolerance < math.inf:
            raise InvalidProbe(f"protocol {self.name}: tolerance must be > 0 and finite, got {self.tolerance}.")
        if self.max_iterations < 1:
            raise InvalidProbe(f"protocol {self.name}: max_iterations must be >= 1, got {self.max_iterations}.")
        if self.scaling not in get_args(Scaling):
            raise UnknownName.among(f"scaling of protocol {self.name}", self.scaling, get_args(Scaling))

    @property
    def solver(self) -> Literal["logistic"]:
        """The solver that takes these settings."""
        return "logistic"

    @property
    def label(self) -> str:
        """How it is told in the ``protocol`` column."""
        return self.name

    @property
    def needs_validation(self) -> bool:
        """Whether there is something to choose, which only validation rows can do."""
        return len(self.l2) > 1

    def identity(self) -> dict[str, JSON]:
        """Return every setting, for the id of a job."""
        return {"solver": self.solver, **asdict(self), "l2": list(self.l2)}


LOGISTIC_PROTOCOLS = {
    # Of the decades from 1e-4 to 1, the one that is within 2 points of the best at 80, 320 and 1,280 neurons of
    # mobilenetv2_100 on CIFAR-10 and Flowers-102, fitted on four fifths of the training rows and scored on the rest. At
    # 20 neurons 102 classes would rather have 1e-4 (0.15 against 0.07): `validated` finds it.
    "default": LogisticProtocol(name="default", version=1, l2=(1e-2,)),
    "validated": LogisticProtocol(name="validated", version=1, l2=(1e-4, 1e-3, 1e-2, 1e-1, 1.0)),
}


def logistic_protocol(name: str) -> LogisticProtocol:
    """Return the logistic protocol of a name, or the one that a name spells out.

    Parameters
    ----------
    name
        One of `LOGISTIC_PROTOCOLS`, or penalties of one's own behind the scaling: ``layer:0.1``, ``standardised:0.01``,
        ``none:0.001,0.01`` (chosen on validation rows). The same penalties in another order or spelling are the same
        protocol.

    Raises
    ------
    UnknownName
        If there is no such name.
    InvalidProbe
        If what is spelled out is not a list of distinct penalties.
    """
    kind, colon, values = name.partition(":")
    scaling = next((s for s in get_args(Scaling) if s == kind), None)
    if not colon or scaling is None:
        try:
            return LOGISTIC_PROTOCOLS[name]
        except KeyError:
            known = (*LOGISTIC_PROTOCOLS, *(f"{s}:0.01" for s in get_args(Scaling)))
            raise UnknownName.among("protocol of solver logistic", name, known) from None
    try:
        l2 = tuple(sorted(float(v) for v in values.split(",")))
    except ValueError as e:
        raise InvalidProbe(
            f"protocol {name!r} of solver logistic: expected numbers behind the colon, such as {kind}:0.01,0.1."
        ) from e
    # repr is the shortest text that gives the number back, so no two protocols share a name.
    spelled = ",".join(repr(v).removesuffix(".0") for v in l2)
    return LogisticProtocol(name=f"{kind}:{spelled}", version=1, l2=l2, scaling=scaling)
