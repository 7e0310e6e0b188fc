"""Rows on which an epoch, a step size or a penalty is chosen. Pure (no I/O)."""

from dataclasses import dataclass

from probe.errors import InvalidProbe
from store import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Rows on which a probe's best epoch or hyperparameter is chosen; exactly one of the first two fields is given.

    Rows that are held out are read as the training rows are, hence augmented where those are, or from a representation
    of the same split under another transform (``clean_id``).
    """

    split_id: str | None = None
    """Id of the representation of a validation split of its own."""
    fraction: float | None = None
    """Fraction of the training rows that is held out instead."""
    seed: int = 0
    """Seed of the held-out rows: the last ``n - int((1 - fraction) n)`` of ``torch.randperm``, as the authors'."""
    clean_id: str | None = None
    """Id of another representation of the training split, from which the held-out rows are read: the same samples, as
    the test transform shows them. None reads them from the training representation."""

    def __post_init__(self) -> None:
        if (self.split_id is None) == (self.fraction is None):
            raise InvalidProbe("validation is either a split of its own or a fraction of the training rows, not both.")
        if self.fraction is not None and not 0 < self.fraction < 1:
            raise InvalidProbe(f"val_fraction lies in (0, 1), got {self.fraction}.")
        if self.clean_id is not None and self.fraction is None:
            raise InvalidProbe(
                f"representation {self.clean_id[:12]} is to show the rows that are held out of the training split, and "
                "none are: give a fraction with clean_id, or take it as a split of its own (split_id)."
            )

    def identity(self) -> dict[str, JSON]:
        """Return what decides the rows, for the id of a job."""
        if self.split_id is not None:
            return {"split_id": self.split_id}
        held: dict[str, JSON] = {"fraction": self.fraction, "seed": self.seed}
        return held if self.clean_id is None else held | {"clean_id": self.clean_id}

    @property
    def label(self) -> str:
        """How it is told in the ``protocol`` column, so that selected and unselected probes never share a name."""
        if self.split_id is not None:
            return f"val-{self.split_id[:8]}"
        held = f"val-{self.fraction!r}-seed-{self.seed}"
        return held if self.clean_id is None else f"{held}-clean-{self.clean_id[:8]}"

    @property
    def training_rows(self) -> str:
        """Which training rows are left to fit on: the name under which their statistics are stored."""
        return "all" if self.fraction is None else f"train-{self.fraction!r}-seed-{self.seed}"
