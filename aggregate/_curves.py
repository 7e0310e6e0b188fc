"""Mean and spread over seeds at each measured size of each cell. Pure (no I/O).

A size counts as measured only if *all* its values are defined: CKA is undefined for a subset of constant neurons, and
a mean over the seeds that happened to avoid them would be a mean over an easier population.
"""

from dataclasses import dataclass

import numpy as np

from aggregate._runs import Flags, Floats, Integers, Runs


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
    width: Integers
    """Neurons in the layer of each cell, shape (n_cells,)."""
    previous: Integers
    """Index of the measured size just below in the same cell, shape (m,); -1 where there is none."""
    starts: Integers
    """First entry of each size in `seed_value`, shape (m,)."""
    seed_value: Floats
    """Value of each seed (jackknife pseudo-value, for pairs), shape (r,), sorted by (cell, size, seed)."""
    seed_whole: Floats
    """T(whole) of the same seed where every seed of the size has one, else 0, shape (r,)."""

    def standard_error(self, delta: float) -> Floats:
        """Return the standard error of mean T(k) - delta T(whole), paired by seed, shape (m,); NaN below two seeds.

        The two passes are on z_s = T_s(k) - delta T_s(whole) itself, which equals
        var T(k) - 2 delta cov + delta^2 var T(whole) without its cancellation.
        """
        if not self.size.size:
            return np.empty(0)
        z = self.seed_value - delta * self.seed_whole
        counts = np.diff(self.starts, append=z.size)
        centred = z - np.repeat(np.add.reduceat(z, self.starts) / counts, counts)
        squares = np.add.reduceat(centred * centred, self.starts)
        enough = counts >= 2
        return np.where(enough, np.sqrt(squares / (np.maximum(counts - 1, 1) * counts)), np.nan)


def curves(runs: Runs, *, whole_is_one: bool) -> Curves:
    """Reduce runs to one row per measured size.

    Parameters
    ----------
    whole_is_one
        T(whole) is 1 by definition (CKA). Otherwise it is the mean over seeds at k = width.
    """
    starts = _starts(runs.cell, runs.size)
    counts = np.diff(starts, append=runs.cell.size)
    measured = ~np.logical_or.reduceat(np.isnan(runs.value), starts) if starts.size else np.empty(0, dtype=np.bool_)
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
    whole, seed_whole = np.ones(runs.keys.num_rows), np.zeros(value.size)
    if not whole_is_one:
        is_whole = group_size == runs.width[group_cell]
        whole = np.full(runs.keys.num_rows, np.nan)
        whole[group_cell[is_whole]] = mean[is_whole]
        whole[whole == 0] = np.nan
        seed_whole = _paired_whole(cell, seed, value, starts, counts, np.repeat(is_whole, counts))
    same = np.diff(group_cell, prepend=-1) == 0
    return Curves(
        cell=group_cell,
        size=group_size,
        mean=mean,
        std=std,
        n_seeds=counts,
        whole=whole,
        width=runs.width,
        previous=np.where(same, np.arange(group_cell.size) - 1, -1),
        starts=starts,
        seed_value=value,
        seed_whole=seed_whole,
    )


def _starts(cell: Integers, size: Integers) -> Integers:
    return np.flatnonzero((np.diff(cell, prepend=-1) != 0) | (np.diff(size, prepend=-1) != 0))


def _paired_whole(
    cell: Integers, seed: Integers, value: Floats, starts: Integers, counts: Integers, is_whole: Flags
) -> Floats:
    """Return T(whole) of the same cell and seed, 0 at sizes where some seed lacks one: there it is taken as fixed."""
    if not is_whole.any():
        return np.zeros(value.size)
    n_codes = int(seed.max()) + 1
    code = cell * n_codes + seed
    # `is_whole` rows are sorted by (cell, seed): there is one such size per cell.
    known = code[is_whole]
    at = np.minimum(np.searchsorted(known, code), known.size - 1)
    paired = np.logical_and.reduceat(known[at] == code, starts)
    return np.where(np.repeat(paired, counts), value[is_whole][at], 0.0)


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
