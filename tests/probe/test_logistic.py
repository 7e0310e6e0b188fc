"""Logistic probes against scikit-learn and against the objective written out, and what their certificate promises."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from probe import InvalidProbe
from probe._logistic_metric import metric_at
from probe._softmax import CentredFeatures, SoftmaxProblem
from probe.logistic import fit_logistic
from probe.logistic_protocol import LOGISTIC_PROTOCOLS, LogisticProtocol, logistic_protocol
from probe.statistics import statistics
from store import UnknownName

SIZES = (1, 3, 20, 60)
TIGHT = LogisticProtocol(name="tight", version=1, l2=(1e-2,), tolerance=1e-10)


def make_rows(n=400, d=60, n_classes=5, seed=0, dtype=np.float32):
    """ReLU features of correlated neurons with scales of their own, classes that overlap."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    centres = rng.normal(size=(n_classes, 12))
    hidden = centres[y] + 1.5 * rng.normal(size=(n, 12))
    x = np.maximum(hidden @ rng.normal(size=(12, d)) + 1.5 * rng.normal(size=(n, d)), 0)
    return (x * np.exp(rng.normal(size=d))).astype(dtype), y


@pytest.fixture(scope="module")
def rows():
    x, y = make_rows(600)
    return (x[:400], y[:400]), (x[400:], y[400:])


def fit(rows, protocol=TIGHT, sizes=SIZES, *, n_classes=5, **options):
    train, test = rows
    return fit_logistic(train, lambda: [test], sizes=sizes, n_classes=n_classes, protocol=protocol, **options)


def scale_of(x, scaling):
    """Return s, shape (d,), as the protocol defines it."""
    variance = np.where(np.ptp(x, 0) > 0, x.astype(np.float64).var(0), 0)
    return {
        "none": np.ones(x.shape[1]),
        "layer": np.full(x.shape[1], np.sqrt(variance.mean()) or 1.0),
        "standardised": np.where(variance > 0, variance, 1.0) ** 0.5,
    }[scaling]


def objective(x, y, weight, bias, *, l2, scale):
    """Return the objective of raw weights and its gradient by V and c, by automatic differentiation in float64."""
    k = weight.shape[1]
    x64 = torch.from_numpy(x[:, :k].astype(np.float64))
    s = torch.from_numpy(scale[:k])
    mean = x64.mean(0)
    v = (torch.from_numpy(weight) * s).requires_grad_()
    c = (torch.from_numpy(bias) + torch.from_numpy(weight) @ mean).requires_grad_()
    logits = ((x64 - mean) / s) @ v.T + c
    value = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)) + 0.5 * l2 * (v * v).sum()
    value.backward()
    return float(value.detach()), max(float(v.grad.abs().max()), float(c.grad.abs().max()))


def probabilities(x, weight, bias):
    logits = x[:, : weight.shape[1]].astype(np.float64) @ weight.T + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("scaling", ["layer", "standardised", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_optimum_is_scikit_learns(scaling, dtype):
    x, y = make_rows(dtype=dtype)
    n, l2 = len(y), 3e-3
    protocol = dataclasses.replace(TIGHT, l2=(l2,), scaling=scaling, max_iterations=5000)
    fitted = fit(((x, y), (x, y)), protocol)
    assert all(fitted.converged)
    scale = scale_of(x, scaling)
    for k, weight, bias in zip(fitted.sizes, fitted.weights, fitted.biases, strict=True):
        scaled = x[:, :k].astype(np.float64) / scale[:k]
        oracle = LogisticRegression(C=1 / (n * l2), tol=1e-12, max_iter=500, solver="newton-cholesky").fit(scaled, y)
        theirs = oracle.coef_ / scale[:k]
        np.testing.assert_allclose(weight * scale[:k], oracle.coef_, atol=1e-6)
        np.testing.assert_allclose(bias - bias.mean(), oracle.intercept_ - oracle.intercept_.mean(), atol=1e-6)
        np.testing.assert_allclose(probabilities(x, weight, bias), oracle.predict_proba(scaled), atol=1e-6)
        ours, _ = objective(x, y, weight, bias, l2=l2, scale=scale)
        best, _ = objective(x, y, theirs, oracle.intercept_, l2=l2, scale=scale)
        assert ours == pytest.approx(best, rel=1e-10)
    # Guard against the trivial pass: the probes learnt something, and more neurons help.
    assert fitted.scores[-1].accuracy > fitted.scores[0].accuracy + 0.3


@pytest.mark.parametrize("scaling", ["layer", "standardised", "none"])
@pytest.mark.parametrize("max_iterations", [1, 4, 1000])
def test_the_certificate_is_the_gradient_at_the_weights(rows, scaling, max_iterations):
    (x, y), _ = rows
    protocol = dataclasses.replace(TIGHT, scaling=scaling, max_iterations=max_iterations)
    fitted = fit(rows, protocol)
    for i, (weight, bias) in enumerate(zip(fitted.weights, fitted.biases, strict=True)):
        _, norm = objective(x, y, weight, bias, l2=1e-2, scale=scale_of(x, scaling))
        assert fitted.gradient_norms[i] == pytest.approx(norm, rel=1e-3, abs=1e-13)
        assert fitted.converged[i] == (norm <= 1e-10)
        assert fitted.n_iterations[i] <= max_iterations
    assert all(fitted.converged) == (max_iterations == 1000)


def test_the_counts_are_those_of_the_weights(rows):
    _, (xt, yt) = rows
    fitted = fit(rows)
    for weight, bias, score in zip(fitted.weights, fitted.biases, fitted.scores, strict=True):
        guess = (xt[:, : weight.shape[1]].astype(np.float64) @ weight.T + bias).argmax(1)
        assert score.n_test == len(yt)
        assert score.predicted.tolist() == np.bincount(guess, minlength=5).tolist()
        assert score.correct.tolist() == np.bincount(yt[guess == yt], minlength=5).tolist()
        assert score.actual.tolist() == np.bincount(yt, minlength=5).tolist()


def test_what_is_fitted_beside_a_probe_only_moves_it_below_the_tolerance(rows):
    together = fit(rows)
    for i, k in enumerate(SIZES):
        alone = fit(rows, sizes=(k,))
        np.testing.assert_allclose(alone.weights[0], together.weights[i], atol=1e-7)
        assert alone.scores[0].predicted.tolist() == together.scores[i].predicted.tolist()


def test_a_warm_start_saves_steps(rows):
    protocol = dataclasses.replace(TIGHT, tolerance=1e-6)
    close = fit(rows, protocol, sizes=(59, 60)).n_iterations[1]
    assert close < fit(rows, protocol, sizes=(60,)).n_iterations[0]


def test_threads_blocks_and_statistics_only_move_a_probe_below_the_tolerance(rows):
    (x, y), (xt, yt) = rows
    reference = fit(rows)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        threads = fit(rows, sizes=(20,))
    finally:
        torch.set_num_threads(before)
    given = statistics([(x[:, :60], y)], 5)
    parts = [(xt[a : a + 7], yt[a : a + 7]) for a in range(0, len(yt), 7)]
    cut = fit_logistic((x, y), lambda: parts, sizes=SIZES, n_classes=5, protocol=TIGHT)
    np.testing.assert_allclose(threads.weights[0], reference.weights[2], atol=1e-7)
    assert threads.scores[0].predicted.tolist() == reference.scores[2].predicted.tolist()
    for other in (cut, fit(rows, statistics=given)):
        for a, b, p, q in zip(reference.weights, other.weights, reference.scores, other.scores, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-7)
            assert p.predicted.tolist() == q.predicted.tolist()


def test_float32_products_are_only_a_way(rows):
    (x, y), test = rows
    quick, exact = fit(rows), fit(((x.astype(np.float64), y), test))
    for a, b in zip(quick.weights, exact.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_tensors_float16_and_rows_of_the_training_set(rows):
    (x, y), (xt, yt) = rows
    reference = fit(((x[50:300], y[50:300]), (xt, yt)))
    spoilt = x.copy()
    spoilt[:50] = np.nan
    spoilt.setflags(write=False)
    chosen = np.arange(50, 300)
    tensors = ((torch.from_numpy(spoilt.copy()), torch.from_numpy(y)), (torch.from_numpy(xt), torch.from_numpy(yt)))
    for other in (
        fit(((spoilt, y), (xt, yt)), train_rows=chosen),
        fit(tensors, train_rows=torch.from_numpy(chosen)),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(reference.weights, other.weights, strict=True))
    half = x.astype(np.float16)
    for a, b in zip(
        fit(((half, y), (xt, yt))).weights, fit(((half.astype(np.float32), y), (xt, yt))).weights, strict=True
    ):
        assert np.array_equal(a, b)


def test_the_penalty_is_chosen_on_validation_rows(rows):
    (x, y), test = rows
    train, held = (x[:250], y[:250]), (x[250:], y[250:])
    values = (1e-5, 1e-3, 1e-2, 1e-1, 10.0)
    protocol = dataclasses.replace(TIGHT, l2=values, tolerance=1e-8, max_iterations=5000)
    fitted = fit((train, test), protocol, validation=lambda: [held])
    for i, k in enumerate(SIZES):
        alone = {
            l2: fit((train, held), dataclasses.replace(protocol, l2=(l2,)), sizes=(k,)).scores[0].accuracy
            for l2 in values
        }
        best = max(alone.values())
        assert fitted.val_accuracies[i] == best
        assert fitted.l2[i] == max(l2 for l2, accuracy in alone.items() if accuracy == best)
        again = fit((train, test), dataclasses.replace(protocol, l2=(fitted.l2[i],)), sizes=(k,))
        np.testing.assert_allclose(fitted.weights[i], again.weights[0], atol=1e-3 * np.abs(fitted.weights[i]).max())
    assert len(set(fitted.l2)) > 1  # or the selection would not be tested


def test_one_penalty_with_validation_rows_is_only_scored(rows):
    _, test = rows
    fitted = fit(rows, validation=lambda: [test])
    assert fitted.val_accuracies == tuple(s.accuracy for s in fitted.scores)
    assert fitted.l2 == (1e-2,) * 4
    assert fit(rows).val_accuracies is None


def test_layers_of_any_scale_and_rotation_give_the_same_probe(rows):
    (x, y), (xt, yt) = rows
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(60, 60)))[0]
    plain = fit(rows, sizes=(60,))
    turned = fit((((1000 * x @ rotation), y), ((1000 * xt @ rotation), yt)), sizes=(60,))
    np.testing.assert_allclose(turned.weights[0] @ rotation.T * 1000, plain.weights[0], atol=1e-6)
    assert turned.scores[0].predicted.tolist() == plain.scores[0].predicted.tolist()


def test_part_of_a_layer_takes_the_scale_of_the_whole(rows):
    (x, y), (xt, yt) = rows
    whole = fit(rows, sizes=(20,))
    variance = float(x.astype(np.float64).var(0).mean())
    part = fit(((x[:, :20], y), (xt[:, :20], yt)), sizes=(20,), mean_variance=variance)
    np.testing.assert_allclose(part.weights[0], whole.weights[0], atol=1e-7)
    assert not np.allclose(fit(((x[:, :20], y), (xt, yt)), sizes=(20,)).weights[0], whole.weights[0], atol=1e-3)


def test_a_class_without_training_rows_is_never_predicted(rows):
    (x, y), test = rows
    keep = y != 2
    fitted = fit(((x[keep], y[keep]), test))
    packed = np.unique(y[keep], return_inverse=True)[1]
    alone = fit(((x[keep], packed), (test[0], np.zeros_like(test[1]))), n_classes=4)
    for weight, bias, score, other in zip(fitted.weights, fitted.biases, fitted.scores, alone.weights, strict=True):
        assert np.array_equal(np.delete(weight, 2, 0), other)
        assert not weight[2].any()
        assert np.isneginf(bias[2])
        assert score.predicted[2] == score.correct[2] == 0 < score.actual[2]
        assert probabilities(test[0], weight, bias)[:, 2].max() == 0


def test_separable_classes_have_a_finite_probe():
    x, y = make_rows(30, 60, 5, seed=4)  # fewer rows than neurons
    fitted = fit(((x, y), (x, y)), dataclasses.replace(TIGHT, l2=(1e-6,), tolerance=1e-8))
    assert fitted.converged[-1]
    assert fitted.scores[-1].accuracy == 1
    assert np.isfinite(fitted.weights[-1]).all()


def test_constant_and_doubled_neurons():
    x, y = make_rows(200, 6)
    same = np.concatenate([np.full((200, 1), 0.1, np.float32), x, x[:, :1], np.zeros((200, 1), np.float32)], 1)
    for scaling in ("layer", "standardised", "none"):
        fitted = fit(((same, y), (same, y)), dataclasses.replace(TIGHT, scaling=scaling), sizes=(1, 2, 8, 9))
        assert all(fitted.converged)
        np.testing.assert_allclose(fitted.weights[3][:, [0, 8]], 0, atol=1e-8)
        np.testing.assert_allclose(fitted.weights[3][:, 1], fitted.weights[3][:, 7], atol=1e-7)
        # A constant neuron alone: the frequencies of classes.
        expected = np.bincount(y, minlength=5) / 200
        np.testing.assert_allclose(probabilities(same[:1], fitted.weights[0], fitted.biases[0])[0], expected, atol=1e-8)


def test_nothing_but_constant_neurons():
    x, y = np.full((20, 3), 7.0, np.float32), np.arange(20) % 3
    fitted = fit(((x, y), (x, y)), sizes=(1, 3), n_classes=3)
    assert all(fitted.converged)
    assert not np.abs(fitted.weights[1]).max()


def test_features_far_from_zero(rows):
    (x, y), (xt, yt) = rows
    for shift in (30, 1e5):
        a, b = x.astype(np.float64) + shift, xt.astype(np.float64) + shift
        a = a.astype(np.float32)
        moved = fit(((a, y), (b.astype(np.float32), yt)), dataclasses.replace(TIGHT, tolerance=1e-7))
        assert all(moved.converged)
        exact = fit(((a.astype(np.float64), y), (b, yt)))
        np.testing.assert_allclose(moved.weights[-1], exact.weights[-1], atol=1e-4)


@pytest.mark.parametrize(("n_classes", "k", "kind"), [(4, 5, "whole"), (40, 20, "class"), (3, 300, "mean")])
def test_metrics_are_parts_of_the_hessian(n_classes, k, kind):
    x, y = make_rows(500, k, n_classes)
    x64 = torch.from_numpy(x.astype(np.float64))
    features = CentredFeatures(torch.from_numpy(x), x64.mean(0), x64.std(0))
    problem = SoftmaxProblem(features, torch.from_numpy(y), l2=0.1, dtype=torch.float64)
    rng = np.random.default_rng(1)
    point = torch.from_numpy(rng.normal(size=(n_classes, k + 1)) / 10)
    p, vector = problem.probabilities(point), torch.from_numpy(rng.normal(size=(n_classes, k + 1)))
    rows = torch.cat([(x64 - x64.mean(0)) / x64.std(0), torch.ones(500, 1).double()], 1)
    ridge = torch.tensor([0.1] * k + [0.0]).double()
    solved = metric_at(features, k, p, 0.1)(vector)
    if kind == "whole":  # the derivative of the gradient, along what was solved for
        step = 1e-4 * solved
        change = [
            problem.gradient(q, problem.at(problem.scores(q), q, problem.scores(q), q, 0.0).residuals)
            for q in (point + step, point - step)
        ]
        vector = vector - torch.nn.functional.pad(vector[:, k:].mean(0).expand(n_classes, 1), (k, 0))
        # A shift of all biases changes nothing: only the rest of the vector can be had.
        np.testing.assert_allclose((change[0] - change[1]) / 2e-4, vector, atol=2e-2)
    else:
        weights = p * (1 - p)
        weights = weights if kind == "class" else weights.mean(0).expand(n_classes, -1)
        back = torch.stack(
            [(rows.T @ (w * (rows @ v)) / 500) + ridge * v for w, v in zip(weights, solved, strict=True)]
        )
        np.testing.assert_allclose(back, vector, atol=2e-2)


@settings(max_examples=25)
@given(
    n=st.integers(2, 60),
    d=st.integers(1, 30),
    n_classes=st.integers(2, 6),
    seed=st.integers(0, 1000),
    l2=st.sampled_from([1e-4, 1e-2, 1.0]),
    scaling=st.sampled_from(["layer", "standardised", "none"]),
)
def test_every_probe_is_certified(n, d, n_classes, seed, l2, scaling):
    x, y = make_rows(n, d, n_classes, seed)
    x[:, d // 2] = x[0, 0]
    y[:2] = 0, 1
    protocol = LogisticProtocol(name="any", version=1, l2=(l2,), scaling=scaling, max_iterations=5000)
    sizes = sorted({1, (d + 1) // 2, d})
    fitted = fit(((x, y), (x, y)), protocol, sizes=sizes, n_classes=n_classes)
    assert all(fitted.converged)
    present = np.isin(np.arange(n_classes), y)
    for weight, bias, norm in zip(fitted.weights, fitted.biases, fitted.gradient_norms, strict=True):
        assert np.isfinite(weight).all()
        assert np.array_equal(np.isfinite(bias), present)
        packed = np.unique(y, return_inverse=True)[1]
        _, found = objective(x, packed, weight[present], bias[present], l2=l2, scale=scale_of(x, scaling))
        assert norm == pytest.approx(found, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (61,)}, "of 61 neurons was asked of a layer of 60"),
        ({"train_rows": np.arange(0)}, "no training rows"),
        ({"train_rows": np.array([3])}, "two classes at least, got 1 of class"),
        ({"n_classes": 3}, "labels must be 0 to 2"),
        ({"protocol": LOGISTIC_PROTOCOLS["validated"]}, "needs validation rows"),
        ({"mean_variance": float("nan")}, "mean_variance must be"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows, change, message):
    with pytest.raises(InvalidProbe, match=message):
        fit(rows, **({"sizes": (1,)} | change))


def test_rows_that_cannot_be_used_are_refused(rows):
    (x, y), (xt, yt) = rows
    bad = x.copy()
    bad[5, 1] = np.inf
    with pytest.raises(InvalidProbe, match="training rows: features must be finite, got inf in row 5, column 1"):
        fit(((bad, y), (xt, yt)))
    assert fit(((bad, y), (xt, yt)), sizes=(1,), mean_variance=1.0).converged == (True,)
    with pytest.raises(InvalidProbe, match="test rows: features must be finite"):
        fit(((x, y), (bad, y)))
    with pytest.raises(InvalidProbe, match="test rows have 59 columns, the largest probe takes 60"):
        fit(((x, y), (xt[:, :59], yt)))
    with pytest.raises(InvalidProbe, match="features have 400 rows, labels 399"):
        fit(((x, y[1:]), (xt, yt)))
    with pytest.raises(InvalidProbe, match="no rows to score"):
        fit(((x, y), (xt[:0], yt[:0])))


def test_features_near_the_end_of_float32():
    x, y = make_rows(50, 4)
    for top, dtype in ((3e38, np.float32), (1e-30, np.float32), (1e150, np.float64)):
        scaled = x / x.max() * dtype(top)
        fitted = fit(((scaled, y), (scaled, y)), dataclasses.replace(TIGHT, tolerance=1e-6), sizes=(1, 4))
        assert all(fitted.converged)
        assert fitted.scores[1].accuracy > fitted.scores[0].accuracy


def test_one_test_row_and_one_neuron(rows):
    (x, y), (xt, yt) = rows
    fitted = fit(((x[:, :1], y), (xt[:1, :1], yt[:1])), sizes=(1,))
    assert fitted.scores[0].n_test == 1
    assert fitted.converged == (True,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l2": ()}, "l2 holds none"),
        ({"l2": (0.1, 0.1)}, "holds one twice"),
        ({"l2": (0.0,)}, "must be > 0 and finite, got 0.0"),
        ({"tolerance": 0.0}, "tolerance must be > 0"),
        ({"max_iterations": 0}, "max_iterations must be >= 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InvalidProbe, match=message):
        dataclasses.replace(TIGHT, **change)


def test_names_of_protocols():
    assert logistic_protocol("default") is LOGISTIC_PROTOCOLS["default"]
    spelled = logistic_protocol("standardised:1,1e-3")
    assert (spelled.name, spelled.l2, spelled.scaling) == ("standardised:0.001,1", (0.001, 1.0), "standardised")
    assert logistic_protocol("standardised:0.001,1.0") == spelled
    assert spelled.needs_validation
    assert spelled.solver == "logistic"
    assert json.loads(json.dumps(spelled.identity())) == spelled.identity()
    assert spelled.identity()["l2"] == [0.001, 1.0]
    with pytest.raises(UnknownName, match="protocol of solver logistic"):
        logistic_protocol("defualt")
    with pytest.raises(UnknownName, match="scaling"):
        dataclasses.replace(TIGHT, scaling="whitened")
    with pytest.raises(InvalidProbe, match="expected numbers behind the colon"):
        logistic_protocol("layer:much")


@pytest.mark.gpu
def test_a_gpu_gives_the_same_probes(rows):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device on this machine")
    for a, b in zip(fit(rows).weights, fit(rows, device="cuda").weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
