"""Several stored passes over the training rows: which rows each solver sees."""

import dataclasses

import numpy as np
import pytest
import torch
from batch_problem import (
    CLASSES,
    LOGISTIC,
    RIDGE,
    SIZES,
    WIDTH,
    C,
    Problem,
    assert_predicts,
    by_hand,
    make,
    mean_eigenvalue,
    refitted_logistic,
    refitted_ridge,
)
from plain import plain_probe
from sklearn.preprocessing import StandardScaler
from small_store import probe_task, put, written

from probe import InvalidProbe, Validation, coordinates, ridge_protocol
from probe._inputs import CONTROL_SEED
from store import open_store


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    return Problem(open_store(tmp_path_factory.mktemp("c") / "store", create=True), n_views=3)


class TestViews:
    """Several stored passes over the training rows."""

    @pytest.mark.parametrize("label", ["random", "random_projection"])
    def test_sgd_cycles_through_them(self, viewed, short_protocol, label):
        p, k = viewed, 7
        of = coordinates(label, 1, WIDTH, n_neurons=k)
        z = [torch.from_numpy(of.apply(v.numpy())) for v in p.views]
        zt = torch.from_numpy(of.apply(p.xt))

        def guess(views):
            alone = plain_probe(
                views, p.labels, k, n_classes=C, protocol=short_protocol, seed=1, rows=torch.from_numpy(p.rows)
            )
            return alone(zt).argmax(1).numpy()

        row = p.written(short_protocol, [(label, 1, (k,))])[label, 1, k]
        assert_predicts(row, guess(z), p.yt)
        assert row["predicted_count"] != np.bincount(guess(z[:1]), minlength=C).tolist()  # the other views matter

    @pytest.mark.parametrize("view", ["first", "epoch"])
    def test_held_out_rows_are_validated_in_the_view_that_the_protocol_names(self, viewed, short_protocol, view):
        p = viewed
        protocol = dataclasses.replace(short_protocol, validation_view=view, epochs=3)
        held = Validation(fraction=0.3, seed=5)
        row = p.written(protocol, [("first", 1, (7,))], validation=held)["first", 1, 7]
        order = torch.randperm(len(p.rows), generator=torch.Generator().manual_seed(5)).numpy()
        n = int(0.7 * len(p.rows))
        kept, val = p.rows[order[:n]], p.rows[order[n:]]
        best = []

        def look(linear, epoch):
            seen = p.views[epoch if view == "epoch" else 0]
            right = linear(seen[val, :7]).argmax(1) == p.labels[val]
            best.append((right.double().mean().item(), linear(torch.from_numpy(p.xt[:, :7])).argmax(1).numpy()))

        plain_probe(
            list(p.views),
            p.labels,
            7,
            n_classes=C,
            protocol=protocol,
            seed=1,
            rows=torch.from_numpy(kept),
            each_epoch=look,
        )
        accuracy, guess = max(best, key=lambda b: b[0])  # the first of equals
        assert row["val_accuracy"] == pytest.approx(accuracy)
        assert_predicts(row, guess, p.yt)

    @pytest.mark.parametrize("label", ["random", "pca", "pca:unit-variance", "ranked:by-weight"])
    @pytest.mark.parametrize("solver", ["ridge", "logistic"])
    def test_closed_forms_take_the_rows_of_all(self, viewed, label, solver):
        p = viewed
        x, y = np.concatenate([v[p.rows] for v in p.views.numpy()]), np.tile(p.y, 3)
        rows = p.written(RIDGE if solver == "ridge" else LOGISTIC, [(label, 1, SIZES)])
        alone = []
        for k in SIZES:
            for train, labels in ((p.x, p.y), (x, y)):
                z, zt = by_hand(label, 1, k, train, labels, p.xt)
                if solver == "ridge":
                    (guess,) = refitted_ridge(z, labels, 0.01 * mean_eigenvalue(train), zt)
                else:
                    (guess,) = refitted_logistic(z, labels, 0.01, train, zt)
                alone.append(guess)
            assert_predicts(rows[label, 1, k], alone[-1], p.yt)
        assert any((a != b).any() for a, b in zip(alone[::2], alone[1::2], strict=True))  # the other views matter

    def test_components_are_as_many_as_the_rows_of_all_views_allow(self, tmp_path):
        store = open_store(tmp_path / "store", create=True)
        (views, y), (xt, yt) = make(n_views=3)
        ids = put(store, "train", views[:, :5], y[:5], classes=CLASSES), put(store, "test", xt, yt, classes=CLASSES)
        (row,) = written(store, probe_task(store, *ids, RIDGE, [("pca", 1, (14,))]))  # 15 rows of 5 samples
        assert row["accuracy"] is not None
        with pytest.raises(InvalidProbe, match="15 training rows of 20 neurons have at most 14"):
            written(store, probe_task(store, *ids, RIDGE, [("pca", 1, (15,))]))

    def test_held_out_rows_of_closed_forms_are_validated_in_all(self, viewed):
        p, strengths = viewed, (1e-4, 1.0, 100.0)
        protocol = ridge_protocol("relative:" + ",".join(map(str, strengths)))
        row = p.written(protocol, [("first", 1, (7,))], validation=Validation(fraction=0.3, seed=5))["first", 1, 7]
        order = torch.randperm(len(p.rows), generator=torch.Generator().manual_seed(5)).numpy()
        n, views, y = int(0.7 * len(p.rows)), p.views.numpy(), p.labels.numpy()
        kept, val = p.rows[order[:n]], p.rows[order[n:]]
        x, z, zv = (
            views[:, kept].reshape(-1, WIDTH),
            views[:, kept, :7].reshape(-1, 7),
            views[:, val, :7].reshape(-1, 7),
        )
        tried = []
        for strength in sorted(strengths, reverse=True):
            guess, guess_val = refitted_ridge(z, np.tile(y[kept], 3), strength * mean_eigenvalue(x), p.xt[:, :7], zv)
            tried.append(((guess_val == np.tile(y[val], 3)).mean(), guess))
        accuracy, guess = max(tried, key=lambda t: t[0])
        assert row["val_accuracy"] == pytest.approx(accuracy, abs=1e-12)
        assert_predicts(row, guess, p.yt)

    def test_standardised_features_have_the_moments_of_all(self, viewed, short_protocol):
        p, k = viewed, 7
        protocol = dataclasses.replace(short_protocol, normalisation="standardised")
        scaler = StandardScaler().fit(p.views.numpy()[:, p.rows, :k].reshape(-1, k).astype(np.float64))
        z = [torch.from_numpy(scaler.transform(v[:, :k]).astype(np.float32)) for v in p.views.numpy().astype(float)]
        alone = plain_probe(z, p.labels, k, n_classes=C, protocol=protocol, seed=1, rows=torch.from_numpy(p.rows))
        guess = alone(torch.from_numpy(scaler.transform(p.xt[:, :k].astype(float)).astype(np.float32))).argmax(1)
        assert_predicts(p.written(protocol, [("first", 1, (k,))])["first", 1, k], guess.numpy(), p.yt)

    @pytest.mark.parametrize("label", ["random", "pca", "random_projection"])
    def test_a_control_is_scored_in_all(self, viewed, label):
        p = viewed
        permuted = p.y[np.random.default_rng(CONTROL_SEED).permutation(len(p.y))]
        x = p.views.numpy()[:, p.rows].reshape(-1, WIDTH)
        row = p.written(RIDGE, [(label, 1, (7,))], control="random-labels")[label, 1, 7]
        (z,) = by_hand(label, 1, 7, x, np.tile(p.y, 3))
        (guess,) = refitted_ridge(z, np.tile(permuted, 3), 0.01 * mean_eigenvalue(x), z)
        assert_predicts(row, guess, np.tile(permuted, 3))

    def test_test_rows_of_all_views_are_scored(self, viewed):
        p = viewed
        xt = np.stack([p.xt, p.xt[::-1] * 1.1])
        test_id = put(p.store, "test-views", xt, p.yt, classes=CLASSES)
        (row,) = written(p.store, probe_task(p.store, p.train_id, test_id, RIDGE, [("first", 1, (7,))]))
        x = p.views.numpy()[:, p.rows].reshape(-1, WIDTH)
        (guess,) = refitted_ridge(x[:, :7], np.tile(p.y, 3), 0.01 * mean_eigenvalue(x), xt[..., :7].reshape(-1, 7))
        assert_predicts(row, guess, np.tile(p.yt, 2))
