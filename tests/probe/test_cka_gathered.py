"""CKA of parts of a layer of which only some neurons are stored, against the same parts of the whole layer."""

import numpy as np
import pytest
from plain import gram_cka
from small_store import cka_task, put, written

from probe import InvalidProbe, coordinates, gathered, parse_method
from probe import _cka_gathered as reading
from probe._cka_curves import Parts, curves_of
from store import open_store

WIDTH, MASKED = 70, (2, 64, 119)
SIZES, SEEDS = (1, 5, 16), (1, 2, 3)
PAIRS = [(1, 2, SIZES), (1, 3, (5, 16)), (2, 3, (16,))]
ALLOWED = ("random", "random_independent", "first")


class Problem:
    """A test split of two views, stored whole and gathered."""

    def __init__(self, store):
        rng = np.random.default_rng(2)
        x = np.maximum(rng.normal(size=(120, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH)) * 0.3 + 0.3, 0)
        x = np.stack([x, x + 0.1 * rng.normal(size=x.shape)]).astype(np.float32)
        y = rng.integers(0, 3, 120)
        parts = [coordinates(m, s, WIDTH, n_neurons=k).order for m in ALLOWED for s in SEEDS for k in SIZES]
        self.neurons = np.unique(np.concatenate(parts))
        assert len(self.neurons) < WIDTH
        self.store = store
        self.whole = put(store, "test", x, y, masked=MASKED)
        self.some = put(store, "test", x, y, masked=MASKED, neurons=self.neurons, rows_per_chunk=50)
        self.x = np.delete(x, MASKED, axis=1)

    def values(self, test_id, method, **fields):
        rows = written(self.store, cka_task(self.store, test_id, method, **fields))
        assert {(r["width"], r["fraction"] * WIDTH) for r in rows} <= {(WIDTH, r["n_neurons"]) for r in rows}
        return {(r["seed"], r["seed_b"], r["n_neurons"]): r for r in rows}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("a") / "store", create=True))


@pytest.mark.parametrize("at_once", [10**6, 40, 1], ids=["together", "some", "alone"])
@pytest.mark.parametrize("estimator", ["biased", "debiased", "minibatch"])
@pytest.mark.parametrize("method", ["random", "random_independent"])
def test_pairs_are_those_of_the_whole_layer(problem, monkeypatch, method, estimator, at_once):
    monkeypatch.setattr(reading, "MOST_AT_ONCE", at_once)
    p = problem
    some, whole = (p.values(i, method, pairs=PAIRS, estimator=estimator) for i in (p.some, p.whole))
    assert some.keys() == whole.keys()
    for key, row in some.items():
        for name in ("value", "ci_low", "ci_high"):
            assert (row[name] is None) == (whole[key][name] is None)
            if row[name] is not None:
                assert row[name] == pytest.approx(whole[key][name], abs=1e-9)
        assert row["n_samples"] == whole[key]["n_samples"] == (234 if estimator == "biased" else 117)
    assert len({round(r["value"], 6) for r in some.values()}) > 3
    if estimator == "biased":
        x = p.x.reshape(-1, WIDTH).astype(np.float64)
        for (a, b, k), row in some.items():
            parts = [x[:, coordinates(method, s, WIDTH, n_neurons=k).order] for s in (a, b)]
            assert row["value"] == pytest.approx(gram_cka(*parts), abs=1e-9)


def test_reads_share_what_fits(problem, monkeypatch):
    """Pairs that together need few enough neurons are measured on one read."""
    monkeypatch.setattr(reading, "MOST_AT_ONCE", 32)
    p = problem
    features = p.store.features.open(p.some)
    task = cka_task(p.store, p.some, "random", pairs=[(1, 2, (5,)), (1, 3, (5,)), (2, 3, (16,)), (1, 2, (16,))])
    source = Parts(method="random", width=WIDTH, trained=None)
    found = list(reading.shared_reads(features, curves_of(task), source))
    assert [len(curves) for _, curves, _ in found] == [2, 1, 1]
    for columns, curves, parts in found:
        needed = {int(n) for c in curves for s in c.seeds for n in source.of(s, max(c.sizes)).order}
        assert set(p.neurons[columns]) == needed
        for curve in curves:
            for seed in curve.seeds:
                order = source.of(seed, max(curve.sizes)).order
                np.testing.assert_array_equal(parts.neurons[parts.of(seed, max(curve.sizes)).order], order)


def test_part_against_whole_is_refused(problem):
    p = problem
    for estimator in ("biased", "debiased", "minibatch"):
        with pytest.raises(
            InvalidProbe, match=f"{len(p.neurons)} of {WIDTH}.*CKA of a part against the whole needs it"
        ):
            p.values(p.some, "random", part_whole=[(1, (5,))], pairs=PAIRS, estimator=estimator)


@pytest.mark.parametrize("label", ["pca", "pca_least", "random_projection", "random_projection_uniform", "ranked"])
def test_methods_that_need_the_whole_layer_are_refused(problem, label):
    p = problem
    trained = {"train_id": p.whole} if parse_method(label).needs_statistics else {}
    with pytest.raises(InvalidProbe, match=f"method '{label}' needs it"):
        p.values(p.some, label, pairs=[(1, 2, (5,))], **trained)


def test_parts_that_are_not_stored_or_too_large_are_refused(problem, monkeypatch):
    p = problem
    with pytest.raises(
        InvalidProbe, match=r"k = 60 of random, seed 1: those up to k = \d+ \(fraction 0\.\d+\) are stored"
    ):
        p.values(p.some, "random", pairs=[(1, 2, (5, 60))])
    with pytest.raises(InvalidProbe, match="k = 7 of random_independent, seed 1: it is not stored"):
        p.values(p.some, "random_independent", pairs=[(1, 2, (7,))])
    monkeypatch.setattr(gathered, "MOST_NEURONS", 15)
    with pytest.raises(InvalidProbe, match=r"CKA of two parts forms the covariance.*up to 15, and k = 16"):
        p.values(p.some, "random", pairs=PAIRS)
    assert p.values(p.some, "random", pairs=[(1, 2, (15,))])
