"""Small keys and rows to store, for tests."""

from typing import Any

from store.keys import RepresentationKey


def make_key(**changes: Any) -> RepresentationKey:
    """Return the key of a small representation, with some fields changed."""
    fields: dict[str, Any] = {
        "model": "tiny",
        "dataset": "digits",
        "split": "train",
        "layer": "penultimate",
        "weights": "sha256:0123",
        "architecture": "timm:tiny",
        "arguments": {"num_classes": 10},
        "pool": "none",
        "transform": "test-1",
        "transform_seed": None,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "input_size": 32,
        "dataset_fingerprint": "sha256:4567",
        "n_views": 1,
        "dtype": "float32",
    }
    return RepresentationKey(**{**fields, **changes})


def make_probe_row(batch_id: str, job_id: str, **changes: Any) -> dict[str, Any]:
    """Return one row of ``probes``, with some columns changed."""
    row = {
        "study": "s",
        "model": "tiny",
        "layer": "penultimate",
        "dataset": "digits",
        "solver": "sgd",
        "protocol": "paper",
        "method": "random",
        "seed": 1,
        "n_neurons": 5,
        "width": 10,
        "fraction": 0.5,
        "accuracy": 0.75,
        "n_test": 100,
        "class_accuracy": [0.5, 1.0],
        "predicted_count": [60, 40],
        "val_accuracy": None,
        "converged": True,
        "elapsed_s": 0.1,
        "batch_id": batch_id,
        "train_id": "a" * 64,
        "test_id": "b" * 64,
        "job_id": job_id,
        "hyperparameter": None,
        "gradient_norm": None,
    }
    return {**row, **changes}


def make_cka_row(batch_id: str, job_id: str, **changes: Any) -> dict[str, Any]:
    """Return one row of ``cka``, with some columns changed."""
    row = {
        "study": "s",
        "model": "tiny",
        "layer": "penultimate",
        "dataset": "digits",
        "kind": "part_whole",
        "method": "random",
        "seed": 1,
        "seed_b": None,
        "n_neurons": 5,
        "width": 10,
        "fraction": 0.5,
        "value": 0.9,
        "n_samples": 100,
        "batch_id": batch_id,
        "test_id": "b" * 64,
        "job_id": job_id,
        "elapsed_s": 0.1,
        "estimator": "biased",
        "ci_low": None,
        "ci_high": None,
    }
    return {**row, **changes}
