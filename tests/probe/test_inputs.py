"""The rows that probes see: which, with which labels, in which coordinates, and once in memory."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from small_store import probe_task, put

from probe import (
    InvalidProbe,
    Mismatch,
    ProbeError,
    ProbeSetting,
    Validation,
    coordinates,
    logistic_protocol,
    ridge_protocol,
    statistics,
)
from probe._cka_batch import _valid_rows
from probe._inputs import CONTROL_SEED, Inputs
from probe._pairing import held_out
from probe._resident import Resident
from store import open_store

N, WIDTH, MASKED = 150, 12, (0, 64, 149)
KEPT = np.setdiff1d(np.arange(N), MASKED)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    x = np.maximum(rng.normal(size=(3, N, WIDTH)), 0).astype(np.float32)
    return x, rng.integers(0, 3, N)


def opened(store, x, y, *, test=None, **setting):
    train_id = put(store, "train", x, y, masked=MASKED)
    test_id = train_id if setting.get("control") else put(store, "test", *(test or (x[..., :60, :], y[:60])))
    fields = {"protocol": ridge_protocol("default"), "validation": None} | setting
    return Inputs(store, ProbeSetting(train_id=train_id, test_id=test_id, **fields))


def gathered(blocks):
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in blocks()]
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


NEURONS = coordinates("random", 1, WIDTH, n_neurons=5)
DIRECTIONS = coordinates("random_projection", 1, WIDTH, n_neurons=5)


def test_a_held_out_fraction_is_the_authors_random_split():
    rows, held = held_out(np.arange(50), Validation(fraction=0.1, seed=0))
    split = torch.utils.data.random_split(range(50), [45, 5], generator=torch.Generator().manual_seed(0))
    assert rows.tolist() == list(split[0].indices)
    assert held.tolist() == list(split[1].indices)


def test_no_rows_to_train_or_validate_on_is_refused():
    with pytest.raises(ProbeError, match="leaves none"):
        held_out(np.arange(3), Validation(fraction=0.9))
    with pytest.raises(ProbeError, match="no training rows"):
        held_out(np.arange(0), None)


@pytest.mark.parametrize("seed", [0, 7])
def test_held_out_rows_are_of_the_valid_ones_and_no_others(store, data, seed):
    x, y = data[0][0], data[1]
    inputs = opened(store, x, y, validation=Validation(fraction=0.2, seed=seed))
    assert len(inputs.train_rows) == int(0.8 * len(KEPT))
    assert sorted([*inputs.train_rows, *inputs.val_rows]) == KEPT.tolist()
    for chosen, arrays in (
        (inputs.val_rows, gathered(inputs.validation_arrays(NEURONS))),
        (inputs.train_rows, inputs.fitted_rows(NEURONS)),
    ):
        rows = np.sort(chosen)
        np.testing.assert_array_equal(arrays[0], x[rows][:, NEURONS.order])
        np.testing.assert_array_equal(arrays[1], y[rows])
    expected = statistics([(x[np.sort(inputs.train_rows)], y[np.sort(inputs.train_rows)])], 3)
    np.testing.assert_allclose(inputs.statistics().scatter, expected.scatter, rtol=1e-12, atol=1e-12)
    assert inputs.relabelled(expected) is expected


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("of", [NEURONS, DIRECTIONS], ids=["neurons", "directions"])
def test_rows_are_those_of_the_store_in_the_coordinates(store, data, of, dtype):
    x, y = data[0][0].astype(dtype), data[1]
    train_id = put(store, "train", x, y, masked=MASKED, dtype=dtype)
    test_id = put(store, "test", x[:60], y[:60], masked=(3,), dtype=dtype)
    inputs = Inputs(
        store,
        ProbeSetting(train_id=train_id, test_id=test_id, protocol=ridge_protocol("default"), validation=None),
    )

    def expected(rows):
        return rows[:, of.order] if of.matrix is None else rows.astype(np.float64) @ of.matrix

    # Neurons stay as they are stored, projections are float32.
    kept = np.dtype(dtype) if of.matrix is None else np.dtype(np.float32)
    features, labels = inputs.train_tensors(of)
    assert features.numpy().dtype == kept
    np.testing.assert_allclose(features.numpy()[KEPT, :5], expected(x[KEPT]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(labels, y)
    tested, truth = gathered(inputs.test_blocks(of))
    assert tested.dtype == kept
    np.testing.assert_allclose(tested, expected(np.delete(x[:60], 3, axis=0)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(truth, np.delete(y[:60], 3))
    fitted, truth = inputs.fitted_rows(of)
    assert fitted.dtype == np.float32
    np.testing.assert_allclose(fitted, expected(x[KEPT]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(truth, y[KEPT])
    assert inputs.validation_blocks(of) is None


@pytest.mark.parametrize("of", [NEURONS, DIRECTIONS], ids=["neurons", "directions"])
def test_views_come_by_their_number(store, data, of):
    x, y = data
    inputs = opened(store, x, y, test=(x[0, :60], y[:60]))
    assert inputs.n_views == 3
    reader = inputs.views(of)
    for view in (0, 2, 1, 0):
        expected = x[view] if of.matrix is None else x[view] @ of.matrix
        expected = expected[:, of.order] if of.matrix is None else expected
        np.testing.assert_allclose(reader(view)[KEPT, :5], expected[KEPT], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("of", [NEURONS, DIRECTIONS], ids=["neurons", "directions"])
def test_rows_of_every_view_are_fitted_counted_and_scored(store, data, of):
    x, y = data
    inputs = opened(store, x, y, test=(x[:2, :60], y[:60]), validation=Validation(fraction=0.2, seed=3))

    def expected(views, rows):
        raw = views[:, rows].reshape(-1, WIDTH)
        return raw[:, of.order] if of.matrix is None else raw @ of.matrix

    fit, held = np.sort(inputs.train_rows), np.sort(inputs.val_rows)
    for arrays, views, rows in (
        (inputs.fitted_rows(of), x, fit),
        (gathered(inputs.validation_arrays(of)), x, held),
        (gathered(inputs.test_arrays(of)), x[:2], np.arange(60)),
    ):
        np.testing.assert_allclose(arrays[0], expected(views, rows), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(arrays[1], np.tile(y[rows], len(views)))
    counted = inputs.statistics()
    whole = statistics([(x[:, fit].reshape(-1, WIDTH), np.tile(y[fit], 3))], 3)
    assert counted.n == whole.n == 3 * len(fit)
    for name in ("mean", "scatter", "class_counts", "class_sums"):
        np.testing.assert_allclose(getattr(counted, name), getattr(whole, name), rtol=1e-12, atol=1e-10)


def test_features_are_permuted_in_place():
    x = np.arange(3000 * 7, dtype=np.float32).reshape(3000, 7)
    first, second = np.random.default_rng(0).permutation(7), np.random.default_rng(1).permutation(7)
    resident = Resident(x[:, first].copy(), first)
    held = resident.x
    resident.reorder(second)
    assert resident.x is held
    assert np.array_equal(held, x[:, second])


def test_neurons_of_another_seed_are_reordered_where_they_are(store, data):
    x, y = data[0][0], data[1]
    inputs = opened(store, x, y)
    memory = set()
    for label, seed, k in (("random", 1, 12), ("random", 2, 3), ("random_independent", 1, 4), ("first", 1, 2)):
        of = coordinates(label, seed, WIDTH, n_neurons=k)
        features, _ = inputs.train_tensors(of)
        memory.add(features.data_ptr())
        assert features.shape == (N, WIDTH)
        np.testing.assert_array_equal(features.numpy()[KEPT][:, :k], x[KEPT][:, of.order])
    assert len(memory) == 1


@pytest.fixture
def big(tmp_path):
    """A representation of 16 MB in 16 chunks, two views."""
    store = open_store(tmp_path / "big", create=True)
    x = np.random.default_rng(0).normal(size=(2, 8192, 512)).astype(np.float32)
    y = np.arange(8192) % 3
    return store, x.nbytes // 2, put(store, "train", x, y, masked=(5,), rows_per_chunk=512)


def test_a_representation_is_in_memory_once(big):
    store, n_bytes, train_id = big
    inputs = Inputs(
        store,
        ProbeSetting(
            train_id=train_id, test_id=train_id, protocol=ridge_protocol("default"), validation=Validation(fraction=0.1)
        ),
    )
    orders = [coordinates("random", s, 512) for s in (1, 2)]
    matrix = coordinates("random_projection", 1, 512)
    tracemalloc.start()
    try:

        def peak(*calls):
            gc.collect()
            tracemalloc.reset_peak()
            for call in calls:
                call()
            return tracemalloc.get_traced_memory()[1] / n_bytes

        # One representation, and a few chunks on their way (each reading thread has one).
        assert 1 < peak(*(lambda of=of: inputs.train_tensors(of) for of in orders)) < 1.5
        assert peak(*(lambda v=v: inputs.train_tensors(orders[0], v) for v in (0, 1, 0))) < 1.5
        assert peak(lambda: inputs.train_tensors(matrix)) < 1.5
        # The rows that are fitted on, of both views at once: nine tenths of each.
        assert 1.8 < peak(lambda: inputs.train_tensors(orders[0]), lambda: inputs.fitted_rows(orders[1])) < 2.3
        assert peak(lambda: inputs.fitted_rows(orders[1].first(51))) < 0.5
        features = store.features.open(train_id)
        assert 0.9 < peak(lambda: _valid_rows(features, None)) < 1.4
        assert peak(lambda: _valid_rows(features, 1000)) < 0.5
    finally:
        tracemalloc.stop()


def test_features_of_a_view_are_let_go_before_the_next(store, data):
    x, y = data
    inputs = opened(store, x, y, test=(x[0, :60], y[:60]))
    reader = inputs.views(NEURONS)
    features = reader(0)
    gone = weakref.ref(features.numpy().base if features.numpy().base is not None else features)
    del features
    first = weakref.ref(inputs._resident)
    reader(1)
    gc.collect()
    assert first() is None
    assert gone() is None


class TestControl:
    """Random labels."""

    @pytest.fixture
    def permuted(self, data):
        y = data[1].copy()
        y[KEPT] = y[KEPT][np.random.default_rng(CONTROL_SEED).permutation(len(KEPT))]
        return y

    @pytest.mark.parametrize("validation", [None, Validation(fraction=0.2)])
    def test_the_fitted_rows_are_scored_on_the_same_permuted_labels(self, store, data, permuted, validation):
        x, y = data[0][0], data[1]
        inputs = opened(store, x, y, control="random-labels", validation=validation)
        assert not np.array_equal(permuted, y)
        np.testing.assert_array_equal(inputs.labels, permuted)
        rows = np.sort(inputs.train_rows)
        for arrays in (gathered(inputs.test_arrays(NEURONS)), inputs.fitted_rows(NEURONS)):
            np.testing.assert_array_equal(arrays[0], x[rows][:, NEURONS.order])
            np.testing.assert_array_equal(arrays[1], permuted[rows])
        assert inputs.validation_arrays(NEURONS) is None  # other rows tell nothing of permuted labels
        assert inputs.selection_rows is None

    @pytest.mark.parametrize("validation", [None, Validation(fraction=0.2)])
    def test_coordinates_follow_from_true_labels_and_class_sums_from_permuted(self, store, data, permuted, validation):
        x, y = data[0][0], data[1]
        inputs = opened(store, x, y, control="random-labels", validation=validation)
        rows = np.sort(inputs.train_rows)
        true, fitted = inputs.statistics(), inputs.relabelled(inputs.statistics())
        for found, labels in ((true, y), (fitted, permuted)):
            expected = statistics([(x[rows], labels[rows])], 3)
            for name in ("mean", "scatter", "class_counts", "class_sums"):
                np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-10)
        # What is stored is true.
        np.testing.assert_array_equal(inputs.statistics().class_sums, true.class_sums)

    def test_other_rows_to_score_are_refused(self, store, data):
        x, y = data[0][0], data[1]
        ids = put(store, "train", x, y), put(store, "test", x[:60], y[:60])
        task = probe_task(store, *ids, ridge_protocol("default"), [("random", 1, (2,))], control="random-labels")
        with pytest.raises(Mismatch, match="control is scored on the rows that it is trained on"):
            Inputs(store, task.setting)


def test_choosing_on_the_test_rows_is_refused():
    with pytest.raises(InvalidProbe, match="validated on and scored on"):
        ProbeSetting(
            train_id="a" * 64,
            test_id="b" * 64,
            protocol=logistic_protocol("validated"),
            validation=Validation(split_id="b" * 64),
        )


def test_a_validation_split_of_another_layer_is_refused(store, data):
    x, y = data[0][0], data[1]
    other = put(store, "val", x[:, :5], y)
    with pytest.raises(Mismatch, match="different widths"):
        opened(store, x, y, validation=Validation(split_id=other))
