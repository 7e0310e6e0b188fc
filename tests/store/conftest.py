import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from store import open_store
from store.testing import make_key

sys.path.insert(0, str(Path(__file__).parent))  # `make_frozen_store.py`

settings.register_profile(
    "store", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("store")


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


@pytest.fixture
def write_features():
    """Write a small representation, sealed unless told otherwise; return (writer, values, labels, sample ids)."""

    def write(store, *, rows=7, width=3, chunk_rows=3, codec="lz4", seal=True, **key):
        key = make_key(**key)
        rng = np.random.default_rng(7)
        values = rng.standard_normal((key.n_views, rows, width)).astype(np.float32)
        labels = np.arange(rows) % 3
        sample_ids = [f"image-{i}.png" for i in range(rows)]
        writer = store.features.create(
            key,
            width=width,
            labels=labels,
            sample_ids=sample_ids,
            classes=["a", "b", "c"],
            codec=codec,
            rows_per_chunk=chunk_rows,
        )
        for view, chunk in writer.missing():
            start, stop = writer.span(chunk)
            writer.write_chunk(view, chunk, values[view, start:stop])
        if seal:
            writer.seal()
        return writer, values, labels, sample_ids

    return write


@pytest.fixture
def python():
    """Start Python code in a process of its own."""
    started = []

    def start(code, *args):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
