"""The interval covers the true DR as often as it says, over five nested noisy seeds; a bootstrap does not."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from aggregate import redundancy

WIDTH, N_SEEDS, N_CELLS, DELTA = 500, 5, 1500, 0.9
# Fine around the crossing (k = 144), so that the grid does not hide a miss.
SIZES = np.unique(np.concatenate([[1, 5, 20, 60], np.arange(80, 241, 4), [300, 400, WIDTH]]))


def expected(k: np.ndarray) -> np.ndarray:
    """Return the true mean accuracy: rises to 0.8."""
    return 0.8 * (1 - np.exp(-8 * k / WIDTH)) / (1 - np.exp(-8.0))


def simulate(rng: np.random.Generator, *, whole_noise: float) -> np.ndarray:
    """Return accuracies (cell, seed, size): nested subsets, so each seed's error drifts with k instead of jumping."""
    steps = np.diff(SIZES, prepend=0)
    walk = np.cumsum(rng.normal(size=(N_CELLS, N_SEEDS, SIZES.size)) * np.sqrt(steps), axis=2)
    bridge = walk - walk[..., -1:] * SIZES / WIDTH  # the whole layer is the same set for every seed
    own = rng.normal(size=(N_CELLS, N_SEEDS, 1)) * whole_noise  # a seed that trains well trains well at every size
    jitter = rng.normal(size=bridge.shape) * 0.002
    return expected(SIZES) + 0.03 * bridge / np.sqrt(WIDTH) + own + jitter


def table(values: np.ndarray) -> pa.Table:
    n = values.size
    cell, seed, size = (x.ravel() for x in np.indices(values.shape))
    names = pa.array([f"m{i:05d}" for i in range(N_CELLS)])
    text = {name: pa.repeat("x", n) for name in ("layer", "solver", "protocol", "method", "train_id", "test_id")}
    return pa.table(
        {
            "model": names.take(pa.array(cell)),
            "dataset": pa.repeat("d", n),
            **text,
            "seed": seed,
            "n_neurons": SIZES[size],
            "width": np.full(n, WIDTH),
            "accuracy": values.ravel(),
        }
    )


def true_strict() -> float:
    ratio = expected(SIZES) / expected(np.array([WIDTH]))
    return 1 - SIZES[np.argmax(ratio >= DELTA)] / WIDTH


def true_interpolated() -> float:
    excess = expected(SIZES) - DELTA * expected(np.array([WIDTH]))
    j = int(np.argmax(excess >= 0))
    share = -excess[j - 1] / (excess[j] - excess[j - 1])
    return 1 - (SIZES[j - 1] + share * (SIZES[j] - SIZES[j - 1])) / WIDTH


def coverage(got: pa.Table, truth: float) -> float:
    low, high = got["ci_low"].to_numpy(), got["ci_high"].to_numpy()
    return float(np.mean((low <= truth + 1e-9) & (truth <= high + 1e-9)))


def bootstrap_coverage(values: np.ndarray, truth: float, rng: np.random.Generator) -> float:
    """Return how often the percentile bootstrap over seeds covers the strict DR."""
    drs = []
    for _ in range(300):
        seeds = rng.integers(0, N_SEEDS, size=(N_CELLS, N_SEEDS))
        means = np.take_along_axis(values, seeds[:, :, None], axis=1).mean(axis=1)
        drs.append(1 - SIZES[np.argmax(means >= DELTA * means[:, -1:], axis=1)] / WIDTH)
    low, high = np.percentile(drs, [2.5, 97.5], axis=0)
    return float(np.mean((low <= truth + 1e-9) & (truth <= high + 1e-9)))


@pytest.mark.parametrize("whole_noise", [0.0, 0.02])
def test_coverage_of_the_interval_and_of_the_bootstrap(whole_noise):
    rng = np.random.default_rng(20230901)
    values = simulate(rng, whole_noise=whole_noise)
    got = redundancy(table(values), None, deltas=[DELTA], rules=["strict", "interpolated"])
    rules = np.array(got["rule"].to_pylist())
    strict, interpolated = got.filter(pa.array(rules == "strict")), got.filter(pa.array(rules == "interpolated"))
    measured = {
        "strict": coverage(strict, true_strict()),
        "interpolated": coverage(interpolated, true_interpolated()),
        "bootstrap": bootstrap_coverage(values, true_strict(), rng),
    }
    assert measured["strict"] >= 0.93, measured
    assert measured["interpolated"] >= 0.93, measured
    assert measured["bootstrap"] < 0.93, measured
    # Not by being useless: the interval is a small part of what DR could be.
    length = np.median(strict["ci_high"].to_numpy() - strict["ci_low"].to_numpy())
    assert length < 0.15, length


def test_pairs_that_share_seeds_are_not_independent():
    """Ten pairs of five seeds: the jackknife over seeds covers, a t interval over ten "independent" pairs does not."""
    rng = np.random.default_rng(20230902)
    mean = expected(SIZES) / expected(np.array([WIDTH]))
    seed_effect = (
        rng.normal(size=(N_CELLS, N_SEEDS, SIZES.size)) * 0.003 + rng.normal(size=(N_CELLS, N_SEEDS, 1)) * 0.01
    )
    a, b = np.triu_indices(N_SEEDS, 1)
    values = mean + seed_effect[:, a] + seed_effect[:, b]
    pair = np.indices(values.shape)[1].ravel()
    cka = (
        table(values)
        .rename_columns({"accuracy": "value"})
        .append_column("kind", pa.repeat("pair", values.size))
        .drop_columns(["seed"])
        .append_column("seed", pa.array(a[pair]))
        .append_column("seed_b", pa.array(b[pair]))
    )
    got = redundancy(None, cka, deltas=[DELTA], rules=["strict"])
    assert coverage(got, true_strict()) >= 0.93
    half = stats.t.ppf(0.975, a.size - 1) * values.std(axis=1, ddof=1) / np.sqrt(a.size)
    reached = values.mean(axis=1) - DELTA
    accepted = reached + half >= 0
    accepted[:, 1:] &= (reached - half < 0)[:, :-1]
    first, last = accepted.argmax(axis=1), SIZES.size - 1 - accepted[:, ::-1].argmax(axis=1)
    truth = np.argmax(mean >= DELTA)
    assert np.mean((first <= truth) & (truth <= last)) < 0.85
