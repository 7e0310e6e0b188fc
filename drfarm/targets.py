"""What is probed: one layer of one model on one data set. Pure (no I/O)."""

from dataclasses import dataclass

from probe import Names, ProbeSetting, Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One layer of one model on one data set: what probes are trained and scored on."""

    names: Names
    """Readable names."""
    width: int
    """Neurons."""
    n_classes: int
    """Classes."""
    n_train: int
    """Training rows; 0 where no measure trains."""
    n_test: int
    """Test rows."""
    train_id: str | None
    """Representation that is trained on; None where no measure trains."""
    test_id: str
    """Representation that is scored on."""
    validation: Validation | None
    """Rows that are held out of training, or a split of their own, if any."""
    settings: tuple[ProbeSetting, ...]
    """One for each measure that trains probes, in the study's order."""
    item_bytes: int
    """Size of a stored value."""
    n_views: int = 1
    """Passes over the training rows that are stored."""
    gathered: bool = False
    """Whether only the study's subsets of the layer are stored."""

    @property
    def n_fitted(self) -> int:
        """Training rows that are not held out."""
        fraction = None if self.validation is None else self.validation.fraction
        return self.n_train if fraction is None else int((1 - fraction) * self.n_train)

    @property
    def training_rows(self) -> str:
        """Name of the rows that are fitted on."""
        return "all" if self.validation is None else self.validation.training_rows
