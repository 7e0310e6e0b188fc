"""Ridge at every k from one factorisation against scikit-learn's Ridge refitted per k, and what must hold of it."""

import dataclasses
import json
import pickle
import tracemalloc

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge
from threadpoolctl import threadpool_limits

from probe import InvalidProbe
from probe._arrays import to_numpy
from probe._ridge_sweep import factorise, sweep, tile_rows, tiles
from probe.ridge import fit_ridge, ridge_bytes, ridge_weights
from probe.ridge_protocol import RIDGE_PROTOCOLS, RidgeProtocol, ridge_protocol
from probe.statistics import statistics
from store import UnknownName


def make(n=400, n_test=300, d=60, n_classes=7, seed=0):
    """Correlated ReLU features of unequal scale, float32, and labels that a linear map explains but for noise."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) * np.geomspace(1, 0.05, d)
    x = np.maximum(rng.normal(size=(n + n_test, d)) @ mix + 0.3, 0)
    truth = rng.normal(size=(d, n_classes))
    y = ((x - x.mean(0)) @ truth + 2.0 * rng.normal(size=(n + n_test, n_classes))).argmax(1)
    x = x.astype(np.float32)
    return (x[:n], y[:n]), (x[n:], y[n:])


TRAIN, TEST = make()


@pytest.fixture(autouse=True)
def one_thread():
    """As in a worker; and small products don't wait for each other on a busy machine."""
    with threadpool_limits(1):
        yield


def rows(x, y, size=None):
    """Return a stream of blocks, as a representation is read."""
    size = size or max(len(x), 1)
    return lambda: ((x[i : i + size], y[i : i + size]) for i in range(0, max(len(x), 1), size))


def summed(train, n_classes=7, order=None):
    x, y = train
    found = statistics([(x, y)], n_classes)
    return found if order is None else found.permuted(order)


def refitted(train, k, penalty, n_classes=7, solver="cholesky"):
    """scikit-learn's own fit of the first k columns, on one-hot labels."""
    x, y = train
    return Ridge(alpha=penalty, solver=solver).fit(x[:, :k].astype(np.float64), np.eye(n_classes)[y])


def in_order(split, order):
    return split[0][:, order], split[1]


@pytest.mark.parametrize("case", range(50))
def test_weights_and_predictions_are_those_of_scikit_learn(case):
    rng = np.random.default_rng(case)
    order, k = rng.permutation(60), int(rng.integers(1, 61))
    found = summed(TRAIN, order=order)
    penalty = float(10.0 ** rng.uniform(-4, 1)) * found.scatter.trace() / 60
    oracle = refitted(in_order(TRAIN, order), k, penalty)
    weights, bias = ridge_weights(found, k, penalty)
    assert weights.shape == (7, k)
    np.testing.assert_allclose(weights, oracle.coef_, rtol=1e-8, atol=1e-8 * np.abs(oracle.coef_).max())
    np.testing.assert_allclose(bias, oracle.intercept_, rtol=1e-8, atol=1e-8)

    x, y = in_order(TEST, order)
    decision = oracle.predict(x[:, :k].astype(np.float64))
    np.testing.assert_allclose(x[:, :k] @ weights.T + bias, decision, rtol=1e-8, atol=1e-8)
    score = fit_ridge(found, rows(x, y), lambdas=[penalty], sizes=[k], detailed=[k]).scores[k]
    each = decision.argmax(1)
    for i in range(20):  # row by row: the same prediction, not only as many
        one = fit_ridge(found, rows(x[i : i + 1], y[i : i + 1]), lambdas=[penalty], sizes=[k], detailed=[k])
        assert one.scores[k].predicted.argmax() == each[i]
    np.testing.assert_array_equal(score.predicted, np.bincount(each, minlength=7))
    np.testing.assert_array_equal(score.correct, np.bincount(y[each == y], minlength=7))
    np.testing.assert_array_equal(score.actual, np.bincount(y, minlength=7))


@pytest.mark.parametrize("n", [400, 25])  # 25: fewer rows than neurons
def test_one_pass_equals_a_refit_at_every_size(n):
    train = TRAIN[0][:n], TRAIN[1][:n]
    found = summed(train)
    penalty = 0.01 * found.scatter.trace() / 60
    curve = fit_ridge(found, rows(*TEST), lambdas=[penalty], detailed=range(1, 61))
    np.testing.assert_array_equal(curve.sizes, np.arange(1, 61))
    for k in range(1, 61):
        guess = refitted(train, k, penalty).predict(TEST[0][:, :k].astype(np.float64)).argmax(1)
        assert curve.correct[k - 1] == (guess == TEST[1]).sum()
        np.testing.assert_array_equal(curve.scores[k].predicted, np.bincount(guess, minlength=7))
        assert curve.scores[k].accuracy == curve.accuracies[k - 1]
    assert curve.n_test == 300
    assert curve.val_accuracies is None
    np.testing.assert_array_equal(curve.lambdas, penalty)
    assert curve.accuracies[-1] > 2 * np.bincount(TEST[1]).max() / 300 - (n < 60) * 0.2  # far from chance, nor flat
    assert len(set(curve.correct.tolist())) > 10


@settings(max_examples=25)
@given(sizes=st.sets(st.integers(1, 60), min_size=1, max_size=12))
def test_some_sizes_are_those_of_all(sizes):
    found = summed(TRAIN)
    every = fit_ridge(found, rows(*TEST), lambdas=[3.0])
    some = fit_ridge(found, rows(*TEST), lambdas=[3.0], sizes=sizes, detailed=sizes)
    np.testing.assert_array_equal(some.sizes, sorted(sizes))
    np.testing.assert_array_equal(some.correct, every.correct[some.sizes - 1])
    assert list(some.scores) == sorted(sizes)
    assert all(s.predicted.sum() == s.n_test == 300 for s in some.scores.values())


@settings(max_examples=25)
@given(block=st.integers(1, 700), dtype=st.sampled_from([np.float16, np.float32, np.float64]))
def test_blocks_of_test_rows_change_nothing(block, dtype):
    found = summed(TRAIN)
    x, y = TEST[0].astype(dtype), TEST[1]
    one, many = (fit_ridge(found, rows(x, y, size), lambdas=[3.0], detailed=[9, 60]) for size in (None, block))
    np.testing.assert_array_equal(one.correct, many.correct)
    np.testing.assert_array_equal(one.scores[9].predicted, many.scores[9].predicted)


def test_tiles_cover_every_row_once_and_have_one_size():
    x, y = np.arange(46.0).reshape(23, 2), np.arange(23)
    for size in (1, 3, 5, 23):
        cut = list(tiles(rows(x, y, size)(), 5, 1, 23))
        assert [len(t) for _, t in cut] == [5, 5, 5, 5, 3]
        np.testing.assert_array_equal(np.concatenate([t for t, _ in cut]), x[:, :1])
        np.testing.assert_array_equal(np.concatenate([t for _, t in cut]), y)


@pytest.mark.parametrize("n_rows", [1, 64, 10_000])
def test_tiles_of_any_size_count_the_same(n_rows):
    found = summed(TRAIN)
    factor = factorise(found, 60, 3.0, np.asarray)
    counts = sweep(factor, rows(*TEST), (1, 5, 60), detailed=frozenset([5]), n_rows=n_rows, place=np.asarray)
    curve = fit_ridge(found, rows(*TEST), lambdas=[3.0], detailed=[5])
    np.testing.assert_array_equal(counts.correct, curve.correct[[0, 4, 59]])
    np.testing.assert_array_equal(counts.detailed[5][1], curve.scores[5].predicted)


def test_the_array_standard_alone_gives_the_same_counts():
    def place(array):
        return array_api_strict.asarray(to_numpy(array))

    found = summed(TRAIN)
    factor = factorise(found, 60, 3.0, place)
    assert not isinstance(factor.z, np.ndarray)
    every = tuple(range(1, 61))
    counts = sweep(factor, rows(*TEST, 70), every, detailed=frozenset([30]), n_rows=128, place=place)
    curve = fit_ridge(found, rows(*TEST), lambdas=[3.0], detailed=[30])
    np.testing.assert_array_equal(counts.correct, curve.correct)
    np.testing.assert_array_equal(counts.actual, curve.scores[30].actual)
    np.testing.assert_array_equal(counts.detailed[30][1], curve.scores[30].predicted)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_counts():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pytest.importorskip("cupy", reason="CuPy is not installed")
    found = summed(TRAIN)
    here, there = (
        fit_ridge(found, rows(*TEST), lambdas=[3.0, 1.0], validation=rows(*TRAIN), detailed=[30], device=d)
        for d in ("cpu", "cuda")
    )
    np.testing.assert_array_equal(here.correct, there.correct)
    np.testing.assert_array_equal(here.lambdas, there.lambdas)
    np.testing.assert_array_equal(here.scores[30].predicted, there.scores[30].predicted)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_names_of_classes_do_not_matter(seed):
    name = np.random.default_rng(seed).permutation(7)
    plain = fit_ridge(summed(TRAIN), rows(*TEST), lambdas=[3.0], detailed=[20])
    named = fit_ridge(summed((TRAIN[0], name[TRAIN[1]])), rows(TEST[0], name[TEST[1]]), lambdas=[3.0], detailed=[20])
    np.testing.assert_array_equal(plain.correct, named.correct)
    for field in ("correct", "actual", "predicted"):
        np.testing.assert_array_equal(getattr(plain.scores[20], field), getattr(named.scores[20], field)[name])


@settings(max_examples=20)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-5, 5))
def test_scale_and_shift_of_a_layer_change_nothing_under_a_relative_penalty(scale, shift):
    def curve(change):
        found = summed((change(TRAIN[0].astype(np.float64)), TRAIN[1]))
        test = rows(change(TEST[0].astype(np.float64)), TEST[1])
        return fit_ridge(found, test, lambdas=RIDGE_PROTOCOLS["default"].lambdas(found))

    np.testing.assert_array_equal(curve(lambda x: x).correct, curve(lambda x: scale * x + shift).correct)


def test_directions_are_probed_like_neurons():
    matrix = np.random.default_rng(0).normal(size=(60, 20))
    project = lambda split: (split[0].astype(np.float64) @ matrix, split[1])  # noqa: E731
    curve = fit_ridge(summed(TRAIN).projected(matrix), rows(*project(TEST)), lambdas=[3.0])
    for k in (1, 7, 20):
        guess = refitted(project(TRAIN), k, 3.0).predict(project(TEST)[0][:, :k]).argmax(1)
        assert curve.correct[k - 1] == (guess == TEST[1]).sum()


def spoiled(x):
    """Neurons 0, 5 and 30 are constant, 1, 2 and 8 the same."""
    x = x.copy()
    x[:, [0, 5, 30]] = 0.1
    x[:, [2, 8]] = x[:, [1]]
    return x


def test_constant_and_duplicated_neurons_are_no_trouble():
    train, test = (spoiled(TRAIN[0]), TRAIN[1]), (spoiled(TEST[0]), TEST[1])
    found = summed(train)
    (penalty,) = RIDGE_PROTOCOLS["default"].lambdas(found)
    curve = fit_ridge(found, rows(*test), lambdas=[penalty], detailed=[1])
    for k in (2, 3, 6, 9, 31, 60):
        guess = refitted(train, k, penalty).predict(test[0][:, :k].astype(np.float64)).argmax(1)
        assert curve.correct[k - 1] == (guess == test[1]).sum()
    majority = np.bincount(train[1]).argmax()  # the constant neuron alone tells nothing
    assert curve.scores[1].predicted[majority] == 300


def test_a_tie_goes_to_the_lowest_class():
    x, y = np.ones((12, 3), dtype=np.float32), np.repeat([3, 1, 2], 4)
    found = summed((x, y), n_classes=4)
    curve = fit_ridge(found, rows(x, y), lambdas=RIDGE_PROTOCOLS["default"].lambdas(found), detailed=[3])
    assert curve.scores[3].predicted.tolist() == [0, 12, 0, 0]


def test_a_class_that_is_missing_from_the_training_rows_is_never_predicted():
    x, y = TRAIN
    train = x[y != 3], y[y != 3]
    curve = fit_ridge(summed(train), rows(*TEST), lambdas=[3.0], detailed=range(1, 61))
    for k in range(1, 61):
        guess = refitted(train, k, 3.0).predict(TEST[0][:, :k].astype(np.float64)).argmax(1)
        np.testing.assert_array_equal(curve.scores[k].predicted, np.bincount(guess, minlength=7))
        assert curve.scores[k].predicted[3] == 0
        assert curve.scores[k].actual[3] > 0


def test_one_neuron_one_row_and_one_class_are_enough():
    found = statistics([(TRAIN[0][:, :1], TRAIN[1])], 7)
    curve = fit_ridge(found, rows(TEST[0][:1, :1], TEST[1][:1]), lambdas=[1.0])
    guess = refitted(TRAIN, 1, 1.0).predict(TEST[0][:1, :1].astype(np.float64)).argmax(1)
    assert curve.accuracies.tolist() == [float(guess[0] == TEST[1][0])]
    one = statistics([(TRAIN[0], np.zeros(400, dtype=np.int64))], 1)
    assert fit_ridge(one, rows(TEST[0], np.zeros(300, dtype=np.int64)), lambdas=[1.0]).accuracies.tolist() == [1.0] * 60


def test_no_penalty_is_least_squares():
    oracle = LinearRegression().fit(TRAIN[0].astype(np.float64), np.eye(7)[TRAIN[1]])
    weights, bias = ridge_weights(summed(TRAIN), 60, 0.0)
    np.testing.assert_allclose(weights, oracle.coef_, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(bias, oracle.intercept_, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("fault", "penalty"),
    [
        *((fault, penalty) for fault in ("few rows", "constant", "duplicated") for penalty in (0.0, 1e-300, 1e-13)),
        ("all constant", 0.0),
        ("all constant", 1e-300),
    ],
)
def test_a_penalty_too_small_for_the_scatter_is_refused(fault, penalty):
    x, y = TRAIN
    if fault == "few rows":
        x, y = x[:30], y[:30]
    elif fault == "constant":
        x = np.where(np.arange(60) == 4, np.float32(0.1), x)
    elif fault == "duplicated":
        x = np.where(np.arange(60) == 4, x[:, [50]], x)
    else:
        x = np.full_like(x, 0.1)
    with pytest.raises(InvalidProbe, match=r"singular to float64 rounding.*larger lambda"):
        fit_ridge(summed((x, y)), rows(*TEST), lambdas=[penalty])


PENALTIES = (1e3, 1e-3, 30.0, 1.0)


def test_each_size_keeps_the_penalty_of_best_validation_accuracy():
    fit, val = (TRAIN[0][:60], TRAIN[1][:60]), (TRAIN[0][60:200], TRAIN[1][60:200])
    found = summed(fit)
    curve = fit_ridge(found, rows(*TEST), lambdas=PENALTIES, validation=rows(*val, 33), detailed=range(1, 61))
    kept = set()
    for k in range(1, 61):
        best = -1.0
        for penalty in sorted(PENALTIES, reverse=True):
            oracle = refitted(fit, k, penalty)
            accuracy = np.mean(oracle.predict(val[0][:, :k].astype(np.float64)).argmax(1) == val[1])
            if accuracy > best:
                best, lam, chosen = accuracy, penalty, oracle
        guess = chosen.predict(TEST[0][:, :k].astype(np.float64)).argmax(1)
        assert curve.lambdas[k - 1] == lam
        assert curve.val_accuracies[k - 1] == best
        assert curve.correct[k - 1] == (guess == TEST[1]).sum()
        np.testing.assert_array_equal(curve.scores[k].predicted, np.bincount(guess, minlength=7))
        kept.add(lam)
    assert len(kept) > 1  # there was something to choose


def test_of_penalties_that_do_as_well_the_largest_is_kept():
    x, y = np.ones((12, 3), dtype=np.float32), np.repeat([3, 1, 1], 4)
    curve = fit_ridge(summed((x, y), 4), rows(x, y), lambdas=[1.0, 5.0, 0.1], validation=rows(x, y))
    assert curve.lambdas.tolist() == [5.0] * 3
    assert curve.val_accuracies.tolist() == [8 / 12] * 3


def test_one_penalty_with_validation_rows_tells_their_accuracy():
    curve = fit_ridge(summed(TRAIN), rows(*TEST), lambdas=[3.0], validation=rows(*TEST))
    np.testing.assert_array_equal(curve.val_accuracies, curve.accuracies)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lambdas": []}, "penalties >= 0 and finite, got"),
        ({"lambdas": [-1.0]}, "penalties >= 0 and finite, got"),
        ({"lambdas": [float("nan")]}, "penalties >= 0 and finite, got"),
        ({"lambdas": [1.0, 2.0]}, "2 penalties to choose from and no validation rows"),
        ({"sizes": []}, "at least one subset size"),
        ({"sizes": [61]}, "61 neurons was asked of a layer of 60"),
        ({"sizes": [0, 3]}, "sizes run from 1 to 60"),
        ({"sizes": [3], "detailed": [4]}, "asked of size 4, which is not measured"),
        ({"test": rows(TEST[0][:0], TEST[1][:0])}, "no rows to score"),
        ({"test": lambda: iter(())}, "no rows to score"),
        ({"test": rows(TEST[0][:, :59], TEST[1])}, r"shape \(n, at least 60\)"),
        ({"test": rows(TEST[0], TEST[1] + 1)}, "labels run from 1 to 7, expected 0 to 6"),
        ({"test": rows(TEST[0], TEST[1] - 1)}, "labels run from -1 to 5"),
        ({"test": rows(np.where(TEST[0] == TEST[0].max(), np.nan, TEST[0]), TEST[1])}, "not finite"),
        ({"test": rows(np.where(TEST[0] == TEST[0].max(), np.inf, TEST[0]), TEST[1])}, "not finite"),
        ({"validation": rows(np.where(TEST[0] == 0, np.inf, TEST[0]), TEST[1])}, "not finite"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message):
    request = {"test": rows(*TEST), "lambdas": [1.0], **change}
    with pytest.raises(InvalidProbe, match=message):
        fit_ridge(summed(TRAIN), request.pop("test"), **request)


@pytest.mark.parametrize(("d", "n_classes"), [(200, 5), (400, 400)])  # tiles of rows, or the factor, need the most
def test_memory_is_what_was_foretold_whatever_the_number_of_rows(d, n_classes):
    (x, y), _ = make(n=500, n_test=1, d=d, n_classes=n_classes)
    found = summed((x, y), n_classes)
    block = x[:256].copy()

    def peak(n_blocks):
        stream = lambda: ((block, y[:256]) for _ in range(n_blocks))  # noqa: E731
        fit_ridge(found, stream, lambdas=[1.0], sizes=range(1, d + 1, 40))  # libraries are loaded
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        fit_ridge(found, stream, lambdas=[1.0], sizes=range(1, d + 1, 40))
        most = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        return most

    foretold = ridge_bytes(d, n_classes)
    few, many = peak(10), peak(40)
    assert many < 1.2 * few
    assert 0.35 * foretold < many <= foretold  # features are float32 here; what LAPACK takes for itself isn't traced


def test_threads_decide_nothing():
    found = summed(TRAIN)
    curves = []
    for n in (1, 2):
        with threadpool_limits(n):
            curves.append(fit_ridge(found, rows(*TEST), lambdas=[3.0, 0.1], validation=rows(*TRAIN), detailed=[40]))
    one, two = curves
    np.testing.assert_array_equal(one.correct, two.correct)
    np.testing.assert_array_equal(one.lambdas, two.lambdas)
    np.testing.assert_array_equal(one.scores[40].predicted, two.scores[40].predicted)


def test_a_tile_stays_in_the_cache():
    assert tile_rows(102, "cpu") * 102 * 8 <= 2**18
    assert tile_rows(2, "cpu") == 2048
    assert tile_rows(10_000, "cpu") == 64
    assert tile_rows(10**9, "cuda") == 1


def test_protocols_are_named_versioned_and_part_of_an_identity():
    for name, protocol in RIDGE_PROTOCOLS.items():
        assert ridge_protocol(name) is protocol
        assert protocol.label == protocol.name == name
        assert protocol.solver == "ridge"
        assert json.loads(json.dumps(protocol.identity())) == protocol.identity()
        assert pickle.loads(pickle.dumps(protocol)) == protocol
    assert not RIDGE_PROTOCOLS["default"].needs_validation
    assert RIDGE_PROTOCOLS["validated"].needs_validation
    assert set(RIDGE_PROTOCOLS["default"].identity()) == {"solver", "name", "version", "strengths", "relative"}


def test_a_name_may_spell_a_protocol_out():
    one = ridge_protocol("relative:0.1")
    assert one.strengths == (0.1,)
    assert one.relative
    several = ridge_protocol("absolute:10, 1e-2,0")
    assert several == ridge_protocol("absolute:0,0.01,10.0")
    assert several.name == "absolute:0,0.01,10"
    assert several.strengths == (0.0, 0.01, 10.0)
    assert not several.relative
    assert several.needs_validation


@given(strengths=st.sets(st.floats(1e-300, 1e300), min_size=1, max_size=5), relative=st.booleans())
def test_a_spelled_out_name_is_read_back(strengths, relative):
    written = f"{'relative' if relative else 'absolute'}:{','.join(map(repr, strengths))}"
    protocol = ridge_protocol(written)
    assert set(protocol.strengths) == strengths
    assert ridge_protocol(protocol.name) == protocol


def test_relative_strengths_are_times_the_mean_eigenvalue():
    found = summed(TRAIN)
    x = TRAIN[0].astype(np.float64)
    mean = np.linalg.eigvalsh((x - x.mean(0)).T @ (x - x.mean(0))).mean()
    np.testing.assert_allclose(ridge_protocol("relative:0.1,10").lambdas(found), [0.1 * mean, 10 * mean], rtol=1e-12)
    assert ridge_protocol("absolute:0.1,10").lambdas(found) == (0.1, 10.0)
    constant = summed((np.zeros_like(TRAIN[0]), TRAIN[1]))
    assert ridge_protocol("relative:0.1").lambdas(constant) == (0.1,)


@pytest.mark.parametrize("name", ["defualt", "", "rel:0.1", "relative"])
def test_an_unknown_protocol_is_refused(name):
    with pytest.raises(UnknownName, match="protocol of solver ridge"):
        ridge_protocol(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("relative:", "expected numbers behind the colon, such as relative:0.01"),
        ("absolute:1,x", "expected numbers behind the colon, such as absolute:0.01"),
        ("relative:0", "must be > 0 and finite, got 0.0"),
        ("absolute:-1", "must be >= 0 and finite, got -1.0"),
        ("relative:nan", "must be > 0 and finite, got nan"),
        ("relative:inf", "must be > 0 and finite, got inf"),
        ("relative:1,1.0", "holds one twice"),
    ],
)
def test_penalties_that_mean_nothing_are_refused(name, message):
    with pytest.raises(InvalidProbe, match=message):
        ridge_protocol(name)


def test_a_protocol_has_a_strength():
    with pytest.raises(InvalidProbe, match="strengths holds none"):
        dataclasses.replace(RIDGE_PROTOCOLS["default"], strengths=())
    assert RidgeProtocol(name="mine", version=2, strengths=(0.5,)).relative
