"""The parts of a layer that the curves of a CKA task compare: which curves, and what the seeds give. Pure (no I/O)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe.coordinates import Coordinates, coordinates
from probe.spec import CkaKind, CkaTask, Sizes
from probe.statistics import Statistics
from probe.subsets import parse_method


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What is asked of one part against the whole, or of one pair of parts."""

    kind: CkaKind
    """Which of the two."""
    seed: int
    """Seed of the part."""
    seed_b: int | None
    """Seed of the other part; None for the whole layer."""
    sizes: Sizes
    """Sizes, rising."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of its parts."""
        return (self.seed,) if self.seed_b is None else (self.seed, self.seed_b)


def curves_of(task: CkaTask) -> list[Curve]:
    """Return the curves of a task."""
    curves = [Curve(kind="part_whole", seed=s, seed_b=None, sizes=k) for s, k in task.part_whole]
    return curves + [Curve(kind="pair", seed=a, seed_b=b, sizes=k) for a, b, k in task.pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that seeds give."""

    method: str
    """How coordinates are chosen."""
    width: int
    """Neurons of the layer."""
    trained: Statistics | None
    """Statistics that decide principal components or ranks."""
    neurons: NDArray[np.int64] | None = None
    """Neurons of the layer that are at hand, rising, shape (r,); None where all are."""

    @property
    def nested(self) -> bool:
        """Whether one part serves every size."""
        return parse_method(self.method).nested

    def of(self, seed: int, n_neurons: int | None) -> Coordinates:
        """Return the coordinates of a seed, up to a size, among the neurons at hand."""
        chosen = coordinates(self.method, seed, self.width, n_neurons=n_neurons, statistics=self.trained)
        if self.neurons is None:
            return chosen
        assert chosen.order is not None  # a projection would need them all
        return Coordinates(order=np.searchsorted(self.neurons, chosen.order).astype(np.int64, copy=False))

    def groups(self, sizes: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
        """Yield the sizes that one part serves, and the largest of them."""
        if self.nested:
            yield max(sizes), sizes
        else:
            for k in sizes:
                yield k, (k,)
