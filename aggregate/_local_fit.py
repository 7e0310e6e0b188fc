"""A parabola through each seed's curve where seeds can't tell sizes apart. Pure (no I/O).

On a fine grid neighbouring sizes ask one question several times. What they answer differently is noise of single
probes, and the hull of the sizes that are not rejected grows with the number of questions instead of shrinking. The
cure is to ask once: over the window of those sizes, z_s(k) of each seed s is replaced by its least-squares parabola in
log k. The fit is linear in z_s, the same for all seeds, so that its values are n independent draws again and have an
exact t interval; noise that a seed has in common at neighbouring sizes (nested subsets) passes through it unchanged.
Its bias is the third order of the expected curve over the window, on whose whole length that curve moves by only some
six standard errors.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from aggregate._curves import Curves
from aggregate._runs import Flags, Floats, Integers

_DEGREE: Final = 2
_FEWEST: Final = 6
"""Sizes in a window, at least: twice the coefficients, so that the fit smooths and does not only interpolate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFit:
    """Values of seeds, smoothed where a window was wide enough."""

    z: Floats
    """As given outside the windows, fitted inside, shape (r,)."""
    changed: Flags
    """Cells that have a fit, shape (n_cells,)."""


def local_fit(curves: Curves, z: Floats, first: Integers, last: Integers) -> LocalFit:
    """Fit a parabola per seed over the sizes from just below `first` to just above `last`.

    The whole layer is never part of it, for its ratio is known to be 1. Windows of less than six sizes, and those in
    which not every size has the same seeds, two at least, are left as they are.

    Parameters
    ----------
    z
        Value of each seed at each size, shape (r,), laid out as `curves.seed_value`.
    first, last
        First and last index of the sizes that are not rejected, shape (n_cells,) each; -1 where there is none.
    """
    fitted = z.copy()
    changed = np.zeros(curves.whole.size, dtype=np.bool_)
    for cells, rows in _windows(curves, first, last):
        # Shapes: rows (windows, sizes, seeds).
        size = curves.size[np.searchsorted(curves.starts, rows[:, :, 0], side="right") - 1]
        x = np.log(size.astype(np.float64))
        x = (x - x[:, :1]) / (x[:, -1:] - x[:, :1]) * 2 - 1
        basis, _ = np.linalg.qr(x[:, :, None] ** np.arange(_DEGREE + 1))
        fitted[rows] = basis @ (basis.transpose(0, 2, 1) @ z[rows])
        changed[cells] = True
    return LocalFit(z=fitted, changed=changed)


def _windows(curves: Curves, first: Integers, last: Integers) -> list[tuple[Integers, Integers]]:
    """Return windows of one shape together: their cells (w,), and indices into the values, (w, sizes, seeds)."""
    n_cells = curves.whole.size
    usable = ~curves.is_whole
    begin = np.searchsorted(curves.cell, np.arange(n_cells))
    n_usable = np.bincount(curves.cell[usable], minlength=n_cells)
    # The whole layer is the last size of its cell, so what is usable is a run that begins with the cell.
    low = np.maximum(first - 1, begin)
    high = np.minimum(last + 1, begin + n_usable - 1)
    length = high - low + 1
    wide = np.flatnonzero((first >= 0) & (last >= 0) & (length >= _FEWEST))
    if not wide.size:
        return []
    n_seeds = np.diff(curves.starts, append=curves.seed_value.size)
    found = []
    shapes = np.stack([length[wide], n_seeds[low[wide]]], axis=1)
    for m, n in np.unique(shapes, axis=0):
        if n < 2:
            continue
        cells = wide[(shapes == (m, n)).all(axis=1)]
        group = low[cells][:, None] + np.arange(m)
        cells = cells[even := (n_seeds[group] == n).all(axis=1)]
        rows = curves.starts[group[even]][:, :, None] + np.arange(n)
        same = (curves.seed[rows] == curves.seed[rows[:, :1, :]]).all(axis=(1, 2))
        if same.any():
            found.append((cells[same], rows[same]))
    return found
