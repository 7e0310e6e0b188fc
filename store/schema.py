"""The columns of results, fixed by the contract. Pure (no I/O)."""

from typing import Literal

import pyarrow as pa

RESULTS_FORMAT = 1
"""Version of the files below ``results/``."""

Kind = Literal["probes", "cka"]
KINDS: tuple[Kind, ...] = ("probes", "cka")

PROBES = pa.schema(
    [
        ("study", pa.string()),
        ("model", pa.string()),
        ("layer", pa.string()),
        ("dataset", pa.string()),
        ("solver", pa.string()),
        ("protocol", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("fraction", pa.float64()),
        ("accuracy", pa.float64()),
        ("n_test", pa.int64()),
        ("class_accuracy", pa.list_(pa.float64())),
        ("predicted_count", pa.list_(pa.int64())),
        ("val_accuracy", pa.float64()),
        ("converged", pa.bool_()),
        ("elapsed_s", pa.float64()),
        ("batch_id", pa.string()),
        ("train_id", pa.string()),
        ("test_id", pa.string()),
        ("job_id", pa.string()),
        ("hyperparameter", pa.float64()),
        ("gradient_norm", pa.float64()),
    ]
)
"""One row per probe. ``study`` is the study whose run computed it; another that shares the work names the same job.
``hyperparameter`` is the step size or penalty that validation chose, or the one that was given; ``gradient_norm`` the
certificate of a convex fit. ``accuracy`` is null where it is undefined (a probe that diverged)."""

CKA = pa.schema(
    [
        ("study", pa.string()),
        ("model", pa.string()),
        ("layer", pa.string()),
        ("dataset", pa.string()),
        ("kind", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("seed_b", pa.int64()),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("fraction", pa.float64()),
        ("value", pa.float64()),
        ("n_samples", pa.int64()),
        ("batch_id", pa.string()),
        ("test_id", pa.string()),
        ("job_id", pa.string()),
        ("elapsed_s", pa.float64()),
        ("estimator", pa.string()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
    ]
)
"""One row per CKA value; ``value`` is null where it is undefined (a subset of constant neurons). ``estimator`` is
``biased`` (null in files of earlier versions), ``debiased`` or ``minibatch``; only ``debiased`` has an interval."""

SCHEMAS: dict[Kind, pa.Schema] = {"probes": PROBES, "cka": CKA}

REPRESENTATIONS = pa.schema(
    [
        ("model", pa.string()),
        ("layer", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("width", pa.int64()),
        ("n_samples", pa.int64()),
        ("n_views", pa.int64()),
        ("dtype", pa.string()),
        ("bytes", pa.int64()),
        ("complete", pa.bool_()),
        ("id", pa.string()),
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("layer_width", pa.int64()),
        ("gathered", pa.bool_()),
    ]
)
"""The catalogue of features. ``gathered`` where only ``width`` of the ``layer_width`` neurons are stored."""
