"""The sizes at which the paper measured, and with how many seeds: what "all jobs of a figure" means. Pure (no I/O).

Union of the authors' scripts; a size is k = int(f d), as they truncated it, and none where that is 0.
"""

from dataclasses import dataclass
from math import comb
from typing import Final

from aggregate._runs import Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeGrid:
    """Sizes of one curve, given as fractions of the layer or as numbers of neurons."""

    fractions: tuple[float, ...] = ()
    """Fractions f of the width, in (0, 1], rising."""
    n_neurons: tuple[int, ...] = ()
    """Sizes in neurons, rising; used where there are no fractions."""

    def sizes(self, width: int) -> tuple[int, ...]:
        """Return the distinct sizes k, 1 <= k <= width, rising, for a layer of this width."""
        wanted = [int(fraction * width) for fraction in self.fractions] or self.n_neurons
        return tuple(sorted({size for size in wanted if 1 <= size <= width}))


def wanted_values(grid: SizeGrid, width: int, *, n_seeds: int, measure: Measure) -> dict[int, int]:
    """Return how many values each size needs: {k: seeds, or pairs of seeds}.

    The whole layer is one value whatever the seed (the authors ran it once); its CKA is 1 and needs none.
    """
    each = comb(n_seeds, 2) if measure == "cka_pair" else n_seeds
    wanted = dict.fromkeys(grid.sizes(width), each)
    if width in wanted:
        if measure == "accuracy":
            wanted[width] = 1
        else:
            del wanted[width]
    return wanted


def _of(*fractions: float) -> SizeGrid:
    return SizeGrid(fractions=fractions)


WIDE: Final = _of(0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.9, 1.0)
"""ResNet50 and WRN50-2, and Places365: the coarse grid that Table 1 was read off."""
NARROW: Final = _of(0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.9, 1.0)
"""ResNet18."""
MIDDLE: Final = _of(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.9, 1.0)
"""VGG16 and the ViTs of ImageNet-1k."""
FEW: Final = _of(0.005, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0)
"""The ViTs of ImageNet-21k."""
PROJECTED: Final = _of(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.9)
"""Principal components and random projections."""
REGULARISED: Final = _of(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0)
"""Dropout."""
DECORRELATED: Final = _of(0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0)
"""DeCov."""
LAYERS: Final = _of(0.0005, 0.005, 0.05, 0.1, 0.2, 0.4, 0.5, 0.8, 0.9, 1.0)
"""Middle layers."""
IMAGENET: Final = _of(0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.9, 1.0)
"""ImageNet and ImageNetV2."""
SIMILARITY: Final = _of(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 0.9)
"""CKA of a part and the whole."""
DOUBLING: Final = SizeGrid(n_neurons=(8, 16, 32, 64, 128, 256, 512, 1024, 2048))
"""Matryoshka's own sizes."""
FIXED: Final[dict[int, SizeGrid]] = {
    8: SizeGrid(n_neurons=(1, 2, 4, 6, 8)),
    16: SizeGrid(n_neurons=(2, 4, 6, 8, 10, 12, 14, 16)),
    32: SizeGrid(n_neurons=(2, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32)),
    64: SizeGrid(n_neurons=(4, 8, 10, 16, 20, 28, 32, 40, 45, 50, 58, 64)),
    128: SizeGrid(n_neurons=(4, 8, 10, 16, 20, 32, 40, 60, 65, 75, 90, 100, 120, 128)),
    256: SizeGrid(n_neurons=(5, 10, 20, 30, 50, 100, 128, 150, 180, 200, 220, 240, 256)),
    512: SizeGrid(n_neurons=(8, 16, 32, 48, 64, 90, 128, 200, 256, 300, 350, 400, 450, 500, 512)),
    1024: SizeGrid(n_neurons=(4, 8, 16, 32, 48, 64, 90, 128, 200, 256, 300, 400, 512, 600, 700, 900, 1024)),
}
"""The ff-x networks, by their width."""
