"""Builders of small result tables: every column of the views, so that tests name only what they are about."""

from typing import Any

import pyarrow as pa
import pytest

PROBES = pa.schema(
    [
        *((name, pa.string()) for name in ("study", "model", "layer", "dataset", "solver", "protocol", "method")),
        ("seed", pa.int64()),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("fraction", pa.float64()),
        ("accuracy", pa.float64()),
        ("n_test", pa.int64()),
        ("class_accuracy", pa.list_(pa.float64())),
        ("predicted_count", pa.list_(pa.int64())),
        ("train_id", pa.string()),
        ("test_id", pa.string()),
        ("job_id", pa.string()),
    ]
)
CKA = pa.schema(
    [
        *((name, pa.string()) for name in ("study", "model", "layer", "dataset", "kind", "method")),
        ("seed", pa.int64()),
        ("seed_b", pa.int64()),
        ("n_neurons", pa.int64()),
        ("width", pa.int64()),
        ("fraction", pa.float64()),
        ("value", pa.float64()),
        ("n_samples", pa.int64()),
        ("test_id", pa.string()),
        ("job_id", pa.string()),
    ]
)


class Builder:
    """Makes rows and tables of the views `probes` and `cka`."""

    def probe(self, k: int, accuracy: float | None, seed: int = 1, **other: Any) -> dict[str, Any]:
        row = {
            "study": "s", "model": "m", "layer": "l", "dataset": "c", "solver": "sgd", "protocol": "paper",
            "method": "random", "seed": seed, "n_neurons": k, "width": 100, "accuracy": accuracy, "n_test": 1000,
            "class_accuracy": None, "predicted_count": None, "train_id": "a" * 64, "test_id": "b" * 64, "job_id": "j",
        }  # fmt: skip
        row.update(other)
        row["fraction"] = k / row["width"]
        return row

    def similarity(
        self, k: int, value: float | None, seed: int = 1, seed_b: int | None = None, **other: Any
    ) -> dict[str, Any]:
        row = {
            "study": "s", "model": "m", "layer": "l", "dataset": "c",
            "kind": "part_whole" if seed_b is None else "pair",
            "method": "random", "seed": seed, "seed_b": seed_b, "n_neurons": k, "width": 100, "value": value,
            "n_samples": 1000, "test_id": "b" * 64, "job_id": "j",
        }  # fmt: skip
        row.update(other)
        row["fraction"] = k / row["width"]
        return row

    def probes(self, rows: list[dict[str, Any]]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=PROBES)

    def cka(self, rows: list[dict[str, Any]]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=CKA)

    def curve(self, values: dict[int, list[float | None]], **other: Any) -> pa.Table:
        """Probes of one cell: {k: accuracy of seeds 1, 2, ...}."""
        return self.probes(
            [self.probe(k, v, seed, **other) for k, vs in values.items() for seed, v in enumerate(vs, 1)]
        )


@pytest.fixture(scope="session")
def make() -> Builder:
    return Builder()
