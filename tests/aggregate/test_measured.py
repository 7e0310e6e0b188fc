import pytest

from aggregate import CellKey, measured_curves, next_sizes, redundancy


def key(**other):
    names = {"model": "m", "layer": "l", "dataset": "c", "solver": "sgd", "protocol": "paper", "method": "random",
             "train_id": "a" * 64, "test_id": "b" * 64, "width": 100}  # fmt: skip
    return CellKey(**{**names, **other})


def rows(make, values, **other):
    return [make.probe(k, v, s, **other) for k, vs in values.items() for s, v in enumerate(vs, 1)]


def test_ratios_by_hand(make):
    made = rows(make, {50: [0.6, 0.8], 10: [0.2, None], 100: [1.0, 1.0]})
    made += rows(make, {20: [0.5]}, method="pca") + rows(make, {20: [0.5]}, method="first", dataset="d")
    made += rows(make, {20: [0.1]}, protocol="paper+random-labels")
    got = measured_curves(make.probes(made))
    assert got.keys() == {key(), key(method="pca"), key(method="first", dataset="d")}
    curve = got[key()]
    assert (curve.sizes, curve.n_seeds) == ((10, 50, 100), (2, 2, 2))
    assert curve.mean_ratios[0] is None
    assert curve.mean_ratios[1:] == pytest.approx((0.7, 1.0))
    assert got[key(method="pca")].mean_ratios == (0.5,)
    assert got[key(method="first", dataset="d")].mean_ratios == (None,)


def test_cka_has_ratios_to_one_and_pairs_count_seeds(make):
    pairs = [make.similarity(10, 0.9, a, b) for a, b in ((1, 2), (1, 3), (2, 3))]
    names = {"solver": None, "protocol": None, "train_id": None}
    table = make.cka([make.similarity(10, 0.5), make.similarity(20, None), *pairs])
    curve = measured_curves(table, measure="cka")[key(**names)]
    assert (curve.sizes, curve.mean_ratios, curve.n_seeds) == ((10, 20), (0.5, None), (1, 1))
    curve = measured_curves(table, measure="cka_pair")[key(**names)]
    assert curve.n_seeds == (3,)
    assert curve.mean_ratios == pytest.approx((0.9,))


def test_nothing_measured(make):
    assert measured_curves(make.probes([])) == {}


def test_refinement_and_redundancy_agree_on_the_bracket(make):
    """What is refined is what the table shows."""

    def accuracy(k, seed):
        return 0.8 * min(1.0, (k / 70) ** 0.5) + 0.001 * seed

    sizes = {5, 20, 50, 100}
    for _ in range(10):
        table = make.probes([make.probe(k, accuracy(k, s), s) for k in sizes for s in (1, 2)])
        curve = measured_curves(table)[key()]
        new = next_sizes(curve.sizes, curve.mean_ratios, delta=0.9, width=100, resolution=2)
        if not new:
            break
        sizes |= set(new)
    row = redundancy(table, None, deltas=[0.9], rules=["strict"]).to_pylist()[0]
    assert row["bracket_high"] - row["bracket_low"] <= 0.02 + 1e-12
    assert row["bracket_low"] <= 1 - 0.81 * 0.7 <= row["bracket_high"]
