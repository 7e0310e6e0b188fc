"""The random numbers of one view of one sample, the same on every machine, in any order, with any NumPy."""

import numpy as np

_UNIT = 2.0**-53


class Draws:
    """A stream of random numbers that depends on (seed, row, view) and nothing else.

    NumPy keeps the bits of `SeedSequence` and `PCG64` the same for ever, but not what `Generator` makes of them
    (https://numpy.org/neps/nep-0019-rng-policy.html). Stored activations outlive a NumPy release, so the numbers are
    made from the bits here.

    Parameters
    ----------
    seed
        Of the transform (>= 0).
    row
        Row of the sample in its split (>= 0).
    view
        Which pass over the data set (>= 0).
    """

    __slots__ = ("_bits",)

    def __init__(self, *, seed: int, row: int, view: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(row, view)))

    def uniform(self, low: float, high: float) -> float:
        """Draw from [low, high), 53 random bits."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * _UNIT)

    def below(self, n: int) -> int:
        """Draw one of 0, ..., n - 1; none is likelier than another by more than n / 2**53."""
        return int(self.uniform(0.0, 1.0) * n)

    def order(self, n: int) -> tuple[int, ...]:
        """Draw a permutation of 0, ..., n - 1 (Fisher and Yates)."""
        items = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return tuple(items)
