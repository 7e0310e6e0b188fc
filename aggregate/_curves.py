"""Mean and spread over seeds at each measured size of each cell. Pure (no I/O).

A size counts as measured only if *all* its values are defined: CKA is undefined for a subset of constant neurons, and
a mean over the seeds that happened to avoid them would be a mean over an easier population. So with accuracy, which is
null for a probe that diverged.
"""

from dataclasses import dataclass

import numpy as np

from aggregate._runs import Flags, Floats, Integers, Runs
from aggregate._whole import is_certain_whole, whole_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Statistics of measured sizes, sorted by (cell, size), and the per-seed values behind them."""

    cell: Integers
    """Cell of each size, shape (m,), non-decreasing."""
    size: Integers
    """Neurons, shape (m,), increasing within a cell."""
    mean: Floats
    """Mean over seeds (over pairs of seeds), shape (m,)."""
    std: Floats
    """Standard deviation, ddof 0, over seeds (over pairs of seeds), shape (m,)."""
    n_seeds: Integers
    """Distinct seeds, shape (m,)."""
    whole: Floats
    """T(whole) of each cell, shape (n_cells,); NaN where it is unknown or 0, so that no ratio exists."""
    source: Integers
    """Cell whose k = width gives each cell its T(whole), shape (n_cells,); -1 where it is 1 or unknown."""
    is_whole: Flags
    """Whether the ratio is 1 without error: the size is the cell's own T(whole), shape (m,)."""
    n_undefined: Integers
    """Sizes of each cell that are left out because a value is undefined, shape (n_cells,)."""
    width: Integers
    """Neurons in the layer of each cell, shape (n_cells,)."""
    previous: Integers
    """Index of the measured size just below in the same cell, shape (m,); -1 where there is none."""
    starts: Integers
    """First entry of each size in `seed_value`, shape (m,)."""
    seed: Integers
    """Rank of the seed of each value, shape (r,)."""
    seed_value: Floats
    """Value of each seed (jackknife pseudo-value, for pairs), shape (r,), sorted by (cell, size, seed)."""
    seed_whole: Floats
    """T(whole) of the same seed where every seed of the size has one, else 0, shape (r,)."""

    def excess_of_seeds(self, delta: float) -> Floats:
        """Return z_s(k) = T_s(k) - delta T_s(whole) of each seed, shape (r,)."""
        return self.seed_value - delta * self.seed_whole

    def mean_of_seeds(self, z: Floats) -> Floats:
        """Return the mean over seeds of z at each size, shape (m,)."""
        if not self.size.size:
            return np.empty(0)
        return np.add.reduceat(z, self.starts) / np.diff(self.starts, append=z.size)

    def standard_error(self, z: Floats) -> Floats:
        """Return the standard error of the mean over seeds of z, shape (m,); NaN below two seeds.

        The two passes are on z_s = T_s(k) - delta T_s(whole) itself, which equals
        var T(k) - 2 delta cov + delta^2 var T(whole) without its cancellation.
        """
        if not self.size.size:
            return np.empty(0)
        counts = np.diff(self.starts, append=z.size)
        centred = z - np.repeat(self.mean_of_seeds(z), counts)
        squares = np.add.reduceat(centred * centred, self.starts)
        enough = counts >= 2
        return np.where(enough, np.sqrt(squares / (np.maximum(counts - 1, 1) * counts)), np.nan)


def curves(runs: Runs, *, whole_is_one: bool) -> Curves:
    """Reduce runs to one row per measured size.

    Parameters
    ----------
    whole_is_one
        T(whole) is 1 by definition (CKA). Otherwise it is the mean over seeds at k = width; see `_whole` for whose.
    """
    starts = _starts(runs.cell, runs.size)
    counts = np.diff(starts, append=runs.cell.size)
    measured = ~np.logical_or.reduceat(np.isnan(runs.value), starts) if starts.size else np.empty(0, dtype=np.bool_)
    n_cells = runs.keys.num_rows
    all_cell = runs.cell[starts]
    has_row = _marked(all_cell[runs.size[starts] == runs.width[all_cell]], n_cells)
    n_undefined = np.bincount(all_cell[~measured], minlength=n_cells)
    keep = np.repeat(measured, counts)
    cell, size, seed, seed_b = (array[keep] for array in (runs.cell, runs.size, runs.seed, runs.seed_b))
    value = runs.value[keep]
    starts, counts = _starts(cell, size), counts[measured]
    mean = np.add.reduceat(value, starts) / counts if starts.size else np.empty(0)
    centred = value - np.repeat(mean, counts)
    std = np.sqrt(np.add.reduceat(centred * centred, starts) / counts) if starts.size else np.empty(0)
    group_cell, group_size = cell[starts], size[starts]
    if seed_b.size and seed_b[0] >= 0:
        seed, value, counts = _pseudo_values(seed, seed_b, value, counts)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        cell = np.repeat(group_cell, counts)
    at_width = group_size == runs.width[group_cell]
    if whole_is_one:
        whole, seed_whole, source = np.ones(n_cells), np.zeros(value.size), np.full(n_cells, -1, dtype=np.int64)
        is_whole = at_width & is_certain_whole(runs)[group_cell]
    else:
        own = np.full(n_cells, np.nan)
        own[group_cell[at_width]] = mean[at_width]
        source = whole_source(runs, has_row=has_row, is_defined=np.isfinite(own))
        whole = np.where(source >= 0, own[source], np.nan)
        whole[whole == 0] = np.nan
        is_whole = at_width & (source[group_cell] == group_cell)
        seed_whole = _paired_whole(cell, source[cell], seed, value, starts, counts, np.repeat(at_width, counts))
    same = np.diff(group_cell, prepend=-1) == 0
    return Curves(
        cell=group_cell,
        size=group_size,
        mean=mean,
        std=std,
        n_seeds=counts,
        whole=whole,
        source=source,
        is_whole=is_whole,
        n_undefined=n_undefined,
        width=runs.width,
        previous=np.where(same, np.arange(group_cell.size) - 1, -1),
        starts=starts,
        seed=seed,
        seed_value=value,
        seed_whole=seed_whole,
    )


def _starts(cell: Integers, size: Integers) -> Integers:
    return np.flatnonzero((np.diff(cell, prepend=-1) != 0) | (np.diff(size, prepend=-1) != 0))


def _marked(cells: Integers, n_cells: int) -> Flags:
    mask = np.zeros(n_cells, dtype=np.bool_)
    mask[cells] = True
    return mask


def _paired_whole(
    cell: Integers,
    source: Integers,
    seed: Integers,
    value: Floats,
    starts: Integers,
    counts: Integers,
    at_width: Flags,
) -> Floats:
    """Return T(whole) of the source cell and same seed, 0 at sizes where some seed lacks one: there it is fixed."""
    if not at_width.any():
        return np.zeros(value.size)
    n_codes = int(seed.max()) + 1
    # Rows at k = width are sorted by (cell, seed): there is one such size per cell.
    known = cell[at_width] * n_codes + seed[at_width]
    code = source * n_codes + seed
    at = np.minimum(np.searchsorted(known, code), known.size - 1)
    paired = np.logical_and.reduceat((known[at] == code) & (source >= 0), starts)
    return np.where(np.repeat(paired, counts), value[at_width][at], 0.0)


def _pseudo_values(
    seed: Integers, seed_b: Integers, value: Floats, counts: Integers
) -> tuple[Integers, Floats, Integers]:
    """Turn values of pairs of seeds into one jackknife pseudo-value per seed.

    The ten pairs of five seeds are not ten independent values: pairs share seeds. Their mean U is a U-statistic of
    degree 2; leaving seed i out gives U_(-i), and p_i = n U - (n - 1) U_(-i) behave like n independent values with
    mean U. Their variance over n estimates var U, on the large side (Efron and Stein 1981,
    https://doi.org/10.1214/aos/1176345462). Two seeds make one pair: U_(-i) does not exist, p_i is NaN.

    Returns
    -------
    tuple
        Seed and pseudo-value, shape (r,), sorted by (size, seed), and number of seeds of each size, shape (m,).
    """
    group = np.repeat(np.arange(counts.size), counts)
    n_codes = int(seed_b.max()) + 1
    code, at = np.unique(np.concatenate([group * n_codes + seed, group * n_codes + seed_b]), return_inverse=True)
    sums = np.bincount(at, weights=np.concatenate([value, value]), minlength=code.size)
    with_seed = np.bincount(at, minlength=code.size)
    owner = code // n_codes
    n_seeds = np.bincount(owner, minlength=counts.size)
    total = np.bincount(group, weights=value, minlength=counts.size)
    n = n_seeds[owner]
    rest = (counts[owner] - with_seed).astype(np.float64)
    left_out = np.divide(total[owner] - sums, rest, out=np.full(code.size, np.nan), where=rest > 0)
    return code % n_codes, n * (total / counts)[owner] - (n - 1) * left_out, n_seeds
