"""When a task has taken so long that it is taken to hang. Pure (no I/O, no clock)."""

from dataclasses import dataclass

FACTOR = 20.0
"""A task hangs that takes so many times what it should: predictions are off by a few times, never by so many."""
LEAST_S = 60.0
"""No task hangs before so many seconds: a worker's first one loads libraries from a disk that may be slow."""
PATIENCE = 2.0
"""Each further try may take so many times longer than the one before: a slow task is not a hang."""


@dataclass(slots=True, kw_only=True)
class Pace:
    """How long tasks take here, beside what they should: learned from those that have ended, in any order."""

    factor: float = FACTOR
    """A task hangs that takes so many times what it should."""
    predicts: bool = True
    """Whether amounts are predicted seconds. Otherwise, nothing is known before one task has ended."""
    least_s: float = LEAST_S
    """No task hangs before so many seconds."""
    _amount: float = 0.0
    _seconds: float = 0.0

    def learn(self, amount: float, seconds: float) -> None:
        """Note that a task has ended.

        Parameters
        ----------
        amount
            What it did: predicted seconds, or images.
        seconds
            What it took.
        """
        if amount > 0:
            self._amount += amount
            self._seconds += seconds

    def deadline_s(self, amount: float, attempt: int) -> float | None:
        """Return after how many seconds a task hangs; None where nothing is known of how long it should take.

        Parameters
        ----------
        amount
            What it is to do, in the unit of `learn`.
        attempt
            Which try it is, from 1.
        """
        measured = self._seconds / self._amount if self._amount else None
        if self.predicts:
            # A machine that is faster than predicted gets no shorter deadline: a hang is only noticed later.
            measured = max(1.0, measured or 0.0)
        if measured is None:
            return None
        return float(max(self.least_s, self.factor * amount * measured) * PATIENCE ** (attempt - 1))
