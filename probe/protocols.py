"""Protocols: named, versioned sets of solver settings, part of every job's identity. Pure (no I/O)."""

import math
from dataclasses import MISSING, dataclass, fields
from typing import Literal, get_args

from probe.errors import InvalidProbe
from store import JSON, UnknownName

Initial = Literal["seed", "fixed"]
ValidationView = Literal["first", "epoch"]
Normalisation = Literal["none", "standardised"]
Precision = Literal["float32", "tf32", "bf16"]

FIXED_SEED = 2
"""Seed of initial weights that do not depend on the subset's: the authors' ``seed_everything(2)``."""


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
    learning_rates: tuple[float, ...] = ()
    """Step sizes to try in one pass, in place of ``learning_rate``; each probe keeps the one of best validation
    accuracy, the first of equals. Empty: ``learning_rate`` alone."""
    validate_every: int = 1
    """Validation rows are scored after every so many epochs, and after the last."""
    validation_view: ValidationView = "first"
    """View in which rows held out of the training rows are scored: always the first, or the epoch's own (what the
    authors' code did: it validated with the augmentation of training)."""
    initial: Initial = "seed"
    """Initial weights follow the subset's seed, or are the same for every seed (the authors' code)."""
    normalisation: Normalisation = "none"
    """Features as they are, or less the mean of the training rows and over their standard deviation, per neuron."""
    precision: Precision = "float32"
    """To what the factors of the two products of a step are rounded; sums are float32 (see `probe._products`)."""

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size", "decay_every_epochs", "validate_every"):
            if getattr(self, field) < 1:
                raise InvalidProbe(f"protocol {self.name}: {field} must be >= 1, got {getattr(self, field)}.")
        for field, rates in (("learning_rate", (self.learning_rate,)), ("learning_rates", self.learning_rates)):
            for rate in rates:
                if not 0 < rate < math.inf:
                    raise InvalidProbe(f"protocol {self.name}: {field} must be > 0 and finite, got {rate}.")
        if len(set(self.learning_rates)) < len(self.learning_rates):
            raise InvalidProbe(f"protocol {self.name}: learning_rates holds one twice: {self.learning_rates}.")
        if not 0 <= self.momentum < 1:
            raise InvalidProbe(f"protocol {self.name}: momentum lies in [0, 1), got {self.momentum}.")
        for field in ("weight_decay", "decay_factor"):
            if not 0 <= getattr(self, field) < math.inf:
                raise InvalidProbe(f"protocol {self.name}: {field} must be >= 0, got {getattr(self, field)}.")
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                raise UnknownName.among(f"{field} of protocol {self.name}", getattr(self, field), allowed)

    def identity(self) -> dict[str, JSON]:
        """Return every setting, for the id of a job.

        A setting that came later is left out where it has its default: ids of jobs from before it stay what they were.
        """
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, (value, default) in values.items()
            if default is MISSING or value != default
        }

    @property
    def solver(self) -> Literal["sgd"]:
        """The solver that takes these settings."""
        return "sgd"

    @property
    def rates(self) -> tuple[float, ...]:
        """Step sizes of the first epoch: those that are tried, or the only one."""
        return self.learning_rates or (self.learning_rate,)

    def rate(self, epoch: int) -> float:
        """Return the step size of an epoch, counted from 0, of the first of `rates`."""
        return self.rates[0] * self.decay_factor ** (epoch // self.decay_every_epochs)

    def validates(self, epoch: int) -> bool:
        """Say whether validation rows are scored after an epoch, counted from 0."""
        return (epoch + 1) % self.validate_every == 0 or epoch + 1 == self.epochs

    def initial_seed(self, seed: int) -> int:
        """Return the seed of the initial weights of the probes of a subset's seed."""
        return seed if self.initial == "seed" else FIXED_SEED


_CHOICES: dict[str, tuple[str, ...]] = {
    "validation_view": get_args(ValidationView),
    "initial": get_args(Initial),
    "normalisation": get_args(Normalisation),
    "precision": get_args(Precision),
}


def _paper() -> SgdProtocol:
    """Appendix B of the paper: 50 epochs at rate 0.1, a tenth every 10, momentum 0.9, batch 256, weight decay 1e-4."""
    return SgdProtocol(
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
    )


def _released(name: str, epochs: int, every: int, batch: int, decay: float, validate_every: int) -> SgdProtocol:
    """Return a budget of the authors' scripts: initial weights apart from the seed, validation on augmented images."""
    return SgdProtocol(
        name=f"as-released:{name}",
        version=1,
        epochs=epochs,
        batch_size=batch,
        learning_rate=0.1,
        decay_every_epochs=every,
        decay_factor=0.1,
        momentum=0.9,
        weight_decay=decay,
        order_seed=0,
        validate_every=validate_every,
        validation_view="epoch",
        initial="fixed",
    )


# The budgets of the authors' scripts, github.com/nvedant07/diffused-redundancy at ae5569f. Later code took the weight
# decay of the downstream data set, 5e-4 on CIFAR and Places and 1e-4 on Flowers and Pets, and the latest validated
# every fifth epoch. Flowers was validated on its own split, clean: there, the view of held-out rows has no say.
_RELEASED = (
    # name                epochs, every, batch, weight decay, validation every
    ("resnet50", 100, 20, 256, 1e-4, 1),  # both ResNet50s at coarse fractions, ViTs of ImageNet-21k, seeds 6 to 30
    ("main", 50, 10, 256, 1e-4, 1),  # ResNet18, WRN50-2, VGG16, ViTs of ImageNet-1k, Matryoshka, ff-x, inner layers
    ("pca", 100, 20, 256, 5e-4, 1),  # leading components, CIFAR
    ("pca-flowers-pets", 100, 20, 256, 1e-4, 1),
    ("late", 50, 10, 256, 5e-4, 5),  # added fractions, l-inf ResNet50, random projection, last components; CIFAR
    ("late-flowers-pets", 50, 10, 256, 1e-4, 5),
    ("dropout", 20, 3, 1024, 5e-4, 5),  # dropout and DeCov networks, CIFAR
    ("dropout-flowers-pets", 20, 3, 1024, 1e-4, 5),
    ("imagenet", 10, 1, 512, 1e-4, 1),  # ResNet50
    ("places-small", 50, 5, 1024, 5e-4, 5),  # ResNet50, small fractions
    ("places", 15, 3, 1024, 5e-4, 5),  # fractions from 0.01 or 0.1
    ("places-full", 100, 20, 1024, 5e-4, 5),  # the whole layer
)

SGD_PROTOCOLS = {p.name: p for p in (_paper(), *(_released(*row) for row in _RELEASED))}


def sgd_protocol(name: str) -> SgdProtocol:
    """Return the SGD protocol of this name; `UnknownName` where there is none."""
    try:
        return SGD_PROTOCOLS[name]
    except KeyError:
        raise UnknownName.among("protocol of solver sgd", name, SGD_PROTOCOLS) from None
