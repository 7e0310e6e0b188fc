"""Protocols: named, versioned sets of solver settings, part of every job's identity. Pure (no I/O)."""

from dataclasses import asdict, dataclass

from probe.errors import InvalidProbe
from store import JSON, UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class SgdProtocol:
    """Settings of stochastic gradient descent on a linear probe with softmax cross-entropy."""

    name: str
    """What a study calls it."""
    version: int
    """Raised when what the name means changes; enters the identity."""
    epochs: int
    """Passes over the training rows."""
    batch_size: int
    """Rows of a step; the last of an epoch may be smaller."""
    learning_rate: float
    """Step size of the first epoch."""
    decay_every_epochs: int
    """The step size is multiplied by ``decay_factor`` after every so many epochs."""
    decay_factor: float
    """See ``decay_every_epochs``."""
    momentum: float
    """Heavy-ball momentum, no dampening, not Nesterov's (torch.optim.SGD)."""
    weight_decay: float
    """L2 weight on weights and bias, added to the gradient."""
    order_seed: int
    """Seed of the order of rows, the same for every probe so that they share mini-batches."""

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "decay_every_epochs"):
            if getattr(self, field) < 1:
                raise InvalidProbe(f"protocol {self.name}: {field} must be >= 1, got {getattr(self, field)}.")
        if self.learning_rate <= 0:
            raise InvalidProbe(f"protocol {self.name}: learning_rate must be > 0, got {self.learning_rate}.")

    def identity(self) -> dict[str, JSON]:
        """Return every setting, for the id of a job."""
        return asdict(self)

    def rate(self, epoch: int) -> float:
        """Return the step size of an epoch, counted from 0."""
        return self.learning_rate * self.decay_factor ** (epoch // self.decay_every_epochs)


# Appendix B of the paper: SGD with momentum 0.9, learning rate 0.1, 50 epochs, the rate divided by 10 every 10 epochs,
# batch 256, weight decay 1e-4. Five more budgets that the authors' scripts used are listed in docs/probing.md.
SGD_PROTOCOLS = {
    "paper": SgdProtocol(
        name="paper",
        version=1,
        epochs=50,
        batch_size=256,
        learning_rate=0.1,
        decay_every_epochs=10,
        decay_factor=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        order_seed=0,
    ),
}


def sgd_protocol(name: str) -> SgdProtocol:
    """Return the SGD protocol of this name; `UnknownName` where there is none."""
    try:
        return SGD_PROTOCOLS[name]
    except KeyError:
        raise UnknownName.among("protocol of solver sgd", name, SGD_PROTOCOLS) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Rows on which the best epoch is chosen; exactly one of ``split_id`` and ``fraction`` is given."""

    split_id: str | None = None
    """Id of the representation of a validation split of its own."""
    fraction: float | None = None
    """Fraction of the training rows that is held out instead."""
    seed: int = 0
    """Seed of the held-out rows: the last ``n - int((1 - fraction) n)`` of ``torch.randperm``, as the authors'."""

    def __post_init__(self) -> None:
        if (self.split_id is None) == (self.fraction is None):
            raise InvalidProbe("validation is either a split of its own or a fraction of the training rows, not both.")
        if self.fraction is not None and not 0 < self.fraction < 1:
            raise InvalidProbe(f"val_fraction lies in (0, 1), got {self.fraction}.")

    def identity(self) -> dict[str, JSON]:
        """Return what decides the rows, for the id of a job."""
        if self.split_id is not None:
            return {"split_id": self.split_id}
        return {"fraction": self.fraction, "seed": self.seed}

    @property
    def label(self) -> str:
        """How it is told in the ``protocol`` column, so that selected and unselected probes never share a name."""
        return f"val-{self.split_id[:8]}" if self.split_id is not None else f"val-{self.fraction:g}-seed-{self.seed}"


def protocol_label(protocol: SgdProtocol, validation: Validation | None) -> str:
    """Return the ``protocol`` column of a job: the protocol's name, and the validation where there is one."""
    return protocol.name if validation is None else f"{protocol.name}+{validation.label}"
