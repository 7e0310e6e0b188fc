"""What is kept of a probe's predictions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Predictions of one probe on the test rows, counted."""

    n_test: int
    """Test rows."""
    correct: NDArray[np.int64]
    """Rows predicted right, per true class, shape (C,)."""
    actual: NDArray[np.int64]
    """Rows per true class, shape (C,)."""
    predicted: NDArray[np.int64]
    """Rows per predicted class, shape (C,)."""

    @property
    def accuracy(self) -> float:
        """Plain top-1: right predictions over rows."""
        return float(self.correct.sum() / self.n_test)

    @property
    def class_accuracy(self) -> list[float | None]:
        """Right predictions over rows, per class; None for a class with no test row."""
        pairs = zip(self.correct.tolist(), self.actual.tolist(), strict=True)
        return [c / n if n else None for c, n in pairs]
