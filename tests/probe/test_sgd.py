"""Stacked probes against one plain PyTorch loop per probe: the same weights, whatever else is in the stack."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import make_problem
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import plain_probe

from probe import SGD_PROTOCOLS, InvalidProbe
from probe.sgd import batches, fit_nested, initial_probe

SIZES = (1, 3, 63, 64, 65, 128, 150)


def fit(problem, protocol, sizes=SIZES, *, n_classes=7, seed=3, **options):
    train, test = problem
    return fit_nested(train, lambda: [test], sizes=sizes, n_classes=n_classes, protocol=protocol, seed=seed, **options)


def test_weights_equal_separate_training(problem, short_protocol):
    (x, y), (xt, yt) = problem
    fitted = fit(problem, short_protocol)
    for k, weight, bias, score in zip(fitted.sizes, fitted.weights, fitted.biases, fitted.scores, strict=True):
        alone = plain_probe(x, y, k, n_classes=7, protocol=short_protocol, seed=3)
        np.testing.assert_allclose(weight, alone.weight.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(bias, alone.bias.detach().numpy(), atol=1e-5)
        guess = alone(xt[:, :k]).argmax(1)
        assert score.predicted.tolist() == torch.bincount(guess, minlength=7).tolist()
        assert score.correct.tolist() == torch.bincount(yt[guess == yt], minlength=7).tolist()
        assert score.accuracy == pytest.approx((guess == yt).double().mean().item())
    # Guard against the trivial pass: the probes learnt something, and more neurons help.
    assert fitted.scores[-1].accuracy > fitted.scores[0].accuracy + 0.05
    start, _ = initial_probe(3, 150, 7)
    assert np.abs(fitted.weights[-1] - start.numpy()).max() > 0.05


def test_the_papers_protocol_is_the_papers(problem):
    p = SGD_PROTOCOLS["paper"]
    assert (p.epochs, p.batch_size, p.learning_rate, p.momentum, p.weight_decay) == (50, 256, 0.1, 0.9, 1e-4)
    assert [round(p.rate(e), 12) for e in (0, 9, 10, 19, 20, 49)] == [0.1, 0.1, 0.01, 0.01, 0.001, 1e-5]


@pytest.mark.parametrize("n_classes", [2, 5, 10, 33, 102])
def test_a_probe_is_the_same_bits_alone_or_stacked(n_classes, short_protocol):
    x, y = make_problem(401, 130, n_classes)
    problem = ((x[:301], y[:301]), (x[301:], y[301:]))
    sizes = (1, 2, 40, 64, 100, 130)
    together = fit(problem, short_protocol, sizes, n_classes=n_classes)
    for i, k in enumerate(sizes):
        alone = fit(problem, short_protocol, (k,), n_classes=n_classes)
        assert np.array_equal(alone.weights[0], together.weights[i])
        assert np.array_equal(alone.biases[0], together.biases[i])
        assert alone.scores[0].predicted.tolist() == together.scores[i].predicted.tolist()


def test_the_number_of_threads_changes_no_bit(problem, short_protocol):
    before = torch.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3, 4):
            torch.set_num_threads(n)
            found.append(fit(problem, short_protocol))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0].weights, other.weights, strict=True))


@settings(max_examples=15, deadline=None)
@given(sizes=st.sets(st.integers(1, 90), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_any_block_of_sizes_gives_each_probe_the_same_result(sizes, seed):
    protocol = dataclasses.replace(SGD_PROTOCOLS["paper"], epochs=2, batch_size=50)
    x, y = make_problem(160, 90, 4, seed=1)
    problem = ((x[:120], y[:120]), (x[120:], y[120:]))
    whole = fit(problem, protocol, sorted({*sizes, 90}), n_classes=4, seed=seed)
    part = fit(problem, protocol, sorted(sizes), n_classes=4, seed=seed)
    by_size = dict(zip(whole.sizes, whole.weights, strict=True))
    assert all(np.array_equal(by_size[k], w) for k, w in zip(part.sizes, part.weights, strict=True))


def test_the_best_epoch_is_kept_for_each_probe(problem, short_protocol):
    (x, y), (xt, yt) = problem
    rows, held = torch.arange(220), torch.arange(220, 300)
    sizes = (2, 20, 150)
    blocks = [(x[part], y[part]) for part in held.split(30)]
    fitted = fit(problem, short_protocol, sizes, train_rows=rows, validation=lambda: blocks)
    for i, k in enumerate(sizes):
        seen = []

        def watch(linear, epoch, k=k, seen=seen):
            accuracy = (linear(x[held, :k]).argmax(1) == y[held]).double().mean().item()
            seen.append((accuracy, epoch, linear.weight.detach().numpy().copy()))

        plain_probe(x, y, k, n_classes=7, protocol=short_protocol, seed=3, rows=rows, each_epoch=watch)
        accuracy, epoch, weight = max(seen, key=lambda s: (s[0], -s[1]))
        assert fitted.best_epochs[i] == epoch
        assert fitted.val_accuracies[i] == pytest.approx(accuracy)
        np.testing.assert_allclose(fitted.weights[i], weight, atol=1e-5)
        guess = torch.from_numpy(weight) @ xt[:, :k].T + torch.from_numpy(fitted.biases[i])[:, None]
        assert fitted.scores[i].accuracy == pytest.approx((guess.argmax(0) == yt).double().mean().item())
    assert len(set(fitted.best_epochs)) > 1  # or the selection would not be tested


def test_without_validation_the_last_epoch_is_kept(problem, short_protocol):
    fitted = fit(problem, short_protocol, (5,))
    assert fitted.val_accuracies is None
    assert fitted.best_epochs is None


def test_float16_features_are_trained_in_float32(problem, short_protocol):
    (x, y), test = problem
    half = fit(((x.half(), y), test), short_protocol)
    same = fit(((x.half().float(), y), test), short_protocol)
    assert all(np.array_equal(a, b) for a, b in zip(half.weights, same.weights, strict=True))


def test_rows_that_are_left_out_have_no_say(problem, short_protocol):
    (x, y), test = problem
    spoilt = x.clone()
    spoilt[200:] = float("nan")
    rows = torch.arange(200)
    a = fit(((spoilt, y), test), short_protocol, train_rows=rows)
    b = fit(((x[:200], y[:200]), test), short_protocol)
    assert all(np.array_equal(p, q) for p, q in zip(a.weights, b.weights, strict=True))


@given(n=st.integers(1, 700), epoch=st.integers(0, 5))
def test_an_epoch_takes_each_row_once(n, epoch):
    protocol = SGD_PROTOCOLS["paper"]
    parts = list(batches(n, epoch, protocol))
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    assert all(len(p) == protocol.batch_size for p in parts[:-1])


def test_epochs_have_orders_of_their_own():
    protocol = SGD_PROTOCOLS["paper"]
    first, second = (torch.cat(list(batches(100, e, protocol))).tolist() for e in (0, 1))
    assert first != second


def test_initial_weights_are_those_of_linear_layers():
    weight, bias = initial_probe(1, 400, 50)
    assert weight.shape == (50, 400)
    assert float(weight.abs().max()) <= 400**-0.5
    assert float(bias.abs().max()) <= 400**-0.5
    reference = torch.nn.Linear(400, 50).weight.detach()
    assert float(weight.std()) == pytest.approx(float(reference.std()), rel=0.02)
    assert not torch.equal(weight, initial_probe(2, 400, 50)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (0,)}, "of 0 neurons"),
        ({"sizes": (151,)}, "of 151 neurons was asked of a layer of 150"),
        ({"train_rows": torch.arange(0)}, "no training rows"),
    ],
)
def test_what_cannot_be_trained_is_refused(problem, short_protocol, change, message):
    with pytest.raises(InvalidProbe, match=message):
        fit(problem, short_protocol, **({"sizes": (1,)} | change))


def test_nothing_to_score_is_refused(problem, short_protocol):
    train, _ = problem
    with pytest.raises(InvalidProbe, match="no rows to score"):
        fit_nested(train, list, sizes=(1,), n_classes=7, protocol=short_protocol, seed=1)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_probes_to_rounding(problem, short_protocol):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device on this machine")
    a, b = fit(problem, short_protocol), fit(problem, short_protocol, device="cuda")
    for p, q in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(p, q, atol=1e-4)
