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
        ({"n_classes": 1}, "two classes apart or more, got 1"),
        ({"n_classes": 5}, "training rows: labels must be 0 to 4, got 0 to 6"),
        ({"n_views": 2}, "2 views need a function"),
        ({"n_views": 0}, "0 views need"),
        ({"validation": list, "validation_rows": torch.arange(3)}, "not both"),
        ({"validation": list}, "validation rows are empty"),
        ({"validation_rows": torch.arange(0)}, "validation rows are empty"),
    ],
)
def test_what_cannot_be_trained_is_refused(problem, short_protocol, change, message):
    with pytest.raises(InvalidProbe, match=message):
        fit(problem, short_protocol, **({"sizes": (1,), "n_classes": 7} | change))


def test_nothing_to_score_is_refused(problem, short_protocol):
    train, _ = problem
    with pytest.raises(InvalidProbe, match="no rows to score"):
        fit_nested(train, list, sizes=(1,), n_classes=7, protocol=short_protocol, seed=1)


def several_views(x, n_views):
    """Return views of the same rows: noise of their own on the features."""
    rng = np.random.default_rng(5)
    return [x + torch.from_numpy(rng.normal(scale=0.3, size=x.shape).astype(np.float32)) for _ in range(n_views)]


class Reader:
    """Views in one buffer that each call overwrites, as a caller with little memory would have it."""

    def __init__(self, views):
        self.views, self.buffer, self.asked = views, torch.empty_like(views[0]), []

    def __call__(self, number):
        self.asked.append(number)
        return self.buffer.copy_(self.views[number])


def test_views_are_taken_in_turn(problem, short_protocol):
    (x, y), test = problem
    views = several_views(x, 3)
    read = Reader(views)
    fitted = fit(((read, y), test), short_protocol, (4, 150), n_views=3)
    assert read.asked == [0, 1, 2, 0, 1]
    for k, weight in zip(fitted.sizes, fitted.weights, strict=True):
        alone = plain_probe(views, y, k, n_classes=7, protocol=short_protocol, seed=3)
        np.testing.assert_allclose(weight, alone.weight.detach().numpy(), atol=1e-5)
    one_view = fit(((views[0], y), test), short_protocol, (4, 150))
    assert not np.allclose(one_view.weights[1], fitted.weights[1], atol=1e-3)


@pytest.mark.parametrize("view", ["first", "epoch"])
@pytest.mark.parametrize("every", [1, 2])
def test_held_out_rows_are_validated_in_the_view_that_the_protocol_names(problem, short_protocol, view, every):
    (x, y), test = problem
    views = several_views(x, 2)
    rows, held = torch.arange(220), torch.arange(220, 300)
    protocol = dataclasses.replace(short_protocol, validation_view=view, validate_every=every)
    read = Reader(views)
    fitted = fit(((read, y), test), protocol, (20,), n_views=2, train_rows=rows, validation_rows=held)
    seen = []

    def watch(linear, epoch):
        shown = views[0 if view == "first" else epoch % 2]
        accuracy = (linear(shown[held, :20]).argmax(1) == y[held]).double().mean().item()
        seen.append((accuracy, epoch, linear.weight.detach().numpy().copy()))

    plain_probe(views, y, 20, n_classes=7, protocol=protocol, seed=3, rows=rows, each_epoch=watch)
    looked_at = [s for s in seen if every == 1 or s[1] in (1, 3, 4)]
    accuracy, epoch, weight = max(looked_at, key=lambda s: (s[0], -s[1]))
    assert (fitted.best_epochs, fitted.val_accuracies) == ((epoch,), (pytest.approx(accuracy),))
    np.testing.assert_allclose(fitted.weights[0], weight, atol=1e-5)


def test_held_out_rows_are_a_split_of_their_own(problem, short_protocol):
    (x, y), _ = problem
    rows, held = torch.arange(220), torch.arange(220, 300)
    a = fit(problem, short_protocol, train_rows=rows, validation_rows=held)
    b = fit(problem, short_protocol, train_rows=rows, validation=lambda: [(x[held], y[held])])
    assert a.val_accuracies == b.val_accuracies
    assert all(np.array_equal(p, q) for p, q in zip(a.weights, b.weights, strict=True))


def test_the_learning_rate_is_chosen_on_validation_rows_alone(problem, short_protocol):
    (x, y), (xt, _) = problem
    rows, held = torch.arange(220), torch.arange(220, 300)
    rates = (0.001, 0.1, 0.02)
    protocol = dataclasses.replace(short_protocol, learning_rates=rates)
    sizes = (1, 20, 150)
    fitted = fit(problem, protocol, sizes, train_rows=rows, validation_rows=held)
    alone = [
        fit(problem, dataclasses.replace(short_protocol, learning_rate=r), sizes, train_rows=rows, validation_rows=held)
        for r in rates
    ]
    for i, k in enumerate(sizes):
        accuracies = [f.val_accuracies[i] for f in alone]
        best = accuracies.index(max(accuracies))
        assert fitted.learning_rates[i] == rates[best]
        assert fitted.val_accuracies[i] == accuracies[best]
        assert fitted.best_epochs[i] == alone[best].best_epochs[i]
        np.testing.assert_allclose(fitted.weights[i], alone[best].weights[i], atol=1e-5)
        assert fitted.weights[i].shape == (7, k)
    assert alone[0].learning_rates == (0.001,) * 3
    # Test labels have no say.
    upside_down = ((x, y), (xt, torch.zeros(len(xt), dtype=torch.int64)))
    assert fit(upside_down, protocol, sizes, train_rows=rows, validation_rows=held).learning_rates == (
        fitted.learning_rates
    )


def test_learning_rates_need_validation_rows(problem, short_protocol):
    protocol = dataclasses.replace(short_protocol, learning_rates=(0.1, 0.01))
    with pytest.raises(InvalidProbe, match="tries 2 learning rates: choosing one needs validation rows"):
        fit(problem, protocol)


@pytest.mark.parametrize("n_classes", [2, 10, 33])
def test_with_several_rates_a_probe_is_the_same_bits_alone_or_stacked(n_classes, short_protocol):
    x, y = make_problem(401, 130, n_classes)
    problem = ((x[:301], y[:301]), (x[301:], y[301:]))
    protocol = dataclasses.replace(short_protocol, learning_rates=(0.1, 0.03, 0.3))
    options = {"n_classes": n_classes, "train_rows": torch.arange(250), "validation_rows": torch.arange(250, 301)}
    sizes = (1, 31, 33, 64, 130)
    together = fit(problem, protocol, sizes, **options)
    for i, k in enumerate(sizes):
        alone = fit(problem, protocol, (k,), **options)
        assert alone.learning_rates[0] == together.learning_rates[i]
        assert np.array_equal(alone.weights[0], together.weights[i])


def test_standardised_features_are_trained_as_if_given_so(problem, short_protocol):
    (x, y), (xt, yt) = problem
    x, xt = (10.0 ** torch.linspace(-2, 1, 150) * t + 5 for t in (x, xt))
    rows = torch.arange(220)
    protocol = dataclasses.replace(short_protocol, normalisation="standardised")
    fitted = fit(((x, y), (xt, yt)), protocol, train_rows=rows)
    mean, std = x[rows].double().mean(0), x[rows].double().std(0, correction=0)
    z, zt = (((t.double() - mean) / std).float() for t in (x, xt))
    given = fit(((z, y), (zt, yt)), short_protocol, train_rows=rows)
    for i, k in enumerate(SIZES):
        # Weights come back for the raw features.
        np.testing.assert_allclose(fitted.weights[i] * std[:k].numpy(), given.weights[i], atol=2e-4)
        assert abs(fitted.scores[i].accuracy - given.scores[i].accuracy) <= 0.01
        logits = xt[:, :k].double().numpy() @ fitted.weights[i].T.astype(np.float64) + fitted.biases[i]
        assert abs((logits.argmax(1) == yt.numpy()).mean() - fitted.scores[i].accuracy) <= 0.01
    plain = fit(((x, y), (xt, yt)), short_protocol, train_rows=rows)
    assert not np.allclose(plain.weights[-1], fitted.weights[-1], atol=1e-2)


def test_fixed_initial_weights_do_not_follow_the_seed(problem, short_protocol):
    fixed = dataclasses.replace(short_protocol, initial="fixed")
    a, b, c = fit(problem, fixed, seed=1), fit(problem, fixed, seed=9), fit(problem, short_protocol, seed=9)
    assert all(np.array_equal(p, q) for p, q in zip(a.weights, b.weights, strict=True))
    assert not np.array_equal(a.weights[-1], c.weights[-1])


@pytest.mark.parametrize(("precision", "bound"), [("tf32", 2e-3), ("bf16", 2e-2)])
def test_a_lower_precision_is_near_and_not_the_same(problem, short_protocol, precision, bound):
    exact = fit(problem, short_protocol)
    rough = fit(problem, dataclasses.replace(short_protocol, precision=precision))
    for a, b, p, q in zip(exact.weights, rough.weights, exact.scores, rough.scores, strict=True):
        assert 0 < np.abs(a - b).max() < bound * max(1, np.abs(a).max())
        assert abs(p.accuracy - q.accuracy) <= 0.03


def test_what_is_not_finite_is_refused_with_its_place(problem, short_protocol):
    (x, y), (xt, yt) = problem
    bad, bad_test = x.clone(), xt.clone()
    bad[17, 3] = float("inf")
    bad_test[5, 2] = float("nan")
    with pytest.raises(
        InvalidProbe, match="training rows, view 0: features must be finite, got inf in row 17, column 3"
    ):
        fit(((bad, y), (xt, yt)), short_protocol)
    with pytest.raises(InvalidProbe, match="got inf in row 17, column 3"):
        fit(((bad, y), (xt, yt)), short_protocol, train_rows=torch.arange(5, 40))
    with pytest.raises(InvalidProbe, match="test rows: features must be finite, got nan in row 5, column 2"):
        fit(((x, y), (bad_test, yt)), short_protocol)
    with pytest.raises(InvalidProbe, match="validation rows: features must be finite"):
        fit(((bad, y), (xt, yt)), short_protocol, train_rows=torch.arange(10), validation_rows=torch.arange(15, 20))
    with pytest.raises(InvalidProbe, match="test rows: labels must be 0 to 6, got 7 to 7"):
        fit(((x, y), (xt, torch.full_like(yt, 7))), short_protocol)


def test_features_whose_sum_overflows_are_finite_all_the_same(short_protocol):
    x = torch.full((40, 3), 3e38)
    y = torch.arange(40) % 2
    fitted = fit(((x, y), (x[:4], y[:4])), short_protocol, (1, 3), n_classes=2)
    assert fitted.diverged == (True, True)  # they can't be trained on; that is told, not hidden


def test_a_probe_that_diverges_is_marked_and_its_neighbours_are_not(problem, short_protocol):
    (x, y), (xt, yt) = problem
    huge, huge_test = x.clone(), xt.clone()
    huge[:, 100] *= 1e30
    huge_test[:, 100] *= 1e30
    spoilt = ((huge, y), (huge_test, yt))
    fitted = fit(spoilt, short_protocol)
    assert fitted.diverged == tuple(k > 100 for k in SIZES)
    clean = fit(problem, short_protocol)
    assert clean.diverged == (False,) * len(SIZES)
    for a, b, diverged in zip(fitted.weights, clean.weights, fitted.diverged, strict=True):
        assert diverged or np.array_equal(a, b)
    rows, held = torch.arange(220), torch.arange(220, 300)
    chosen = fit(spoilt, short_protocol, train_rows=rows, validation_rows=held)
    assert chosen.diverged == fitted.diverged
    assert [a is None for a in chosen.val_accuracies] == list(fitted.diverged)
    assert [e is None for e in chosen.best_epochs] == list(fitted.diverged)


def test_odd_problems_have_a_value(short_protocol):
    """Constant and duplicated neurons, a class that is missing, d = 1, one row, fewer rows than a batch."""
    x, y = make_problem(60, 40, 3)
    x[:, 1] = 2.5
    x[:, 2] = x[:, 3]
    for normalisation in ("none", "standardised"):
        protocol = dataclasses.replace(short_protocol, normalisation=normalisation)
        for rows in (torch.arange(1), torch.arange(5), torch.nonzero(y != 2)[:, 0]):
            for width in (1, 40):
                part = x[:, :width].contiguous()
                fitted = fit(
                    ((part, y), (part, y)),
                    protocol,
                    {1, 2, width} & set(range(width + 1)),
                    n_classes=3,
                    train_rows=rows,
                )
                assert not any(fitted.diverged)
                assert all(np.isfinite(w).all() for w in (*fitted.weights, *fitted.biases))
                assert all(0 <= s.accuracy <= 1 for s in fitted.scores)
                assert all(s.predicted.sum() == 60 for s in fitted.scores)


gpu = pytest.mark.gpu


def need_cuda():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device on this machine")


@gpu
@pytest.mark.parametrize("options", [{}, {"normalisation": "standardised"}, {"learning_rates": (0.1, 0.03)}])
def test_a_gpu_gives_the_same_probes_to_rounding(problem, short_protocol, options):
    need_cuda()
    (x, y), test = problem
    protocol = dataclasses.replace(short_protocol, **options)
    rows = {"train_rows": torch.arange(220), "validation_rows": torch.arange(220, 300)}
    for features in (x, x.half()):
        a = fit(((features, y), test), protocol, **rows)
        b = fit(((features, y), test), protocol, device="cuda", **rows)
        assert a.learning_rates == b.learning_rates
        for p, q in zip(a.weights, b.weights, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-4)


@gpu
def test_a_gpu_takes_views_and_batches_that_do_not_fit(problem, short_protocol, monkeypatch):
    need_cuda()
    (x, y), test = problem
    views = several_views(x, 3)
    expected = fit(((Reader(views), y), test), short_protocol, n_views=3)
    for share in (0.8, 0.0):  # resident, and sent batch by batch
        monkeypatch.setattr("probe._steps.RESIDENT_SHARE", share)
        found = fit(((Reader(views), y), test), short_protocol, n_views=3, device="cuda")
        for p, q in zip(expected.weights, found.weights, strict=True):
            np.testing.assert_allclose(p, q, atol=1e-4)


@gpu
@pytest.mark.parametrize(("precision", "atol"), [("tf32", 2e-3), ("bf16", 2e-2)])
def test_a_gpu_rounds_factors_as_the_cpu_says(problem, short_protocol, precision, atol):
    need_cuda()
    protocol = dataclasses.replace(short_protocol, precision=precision)
    before = torch.get_float32_matmul_precision()
    a, b = fit(problem, protocol), fit(problem, protocol, device="cuda")
    assert torch.get_float32_matmul_precision() == before
    for p, q in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(p, q, atol=atol)
