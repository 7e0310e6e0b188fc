"""The contract of a whole store on a local folder and in memory; on S3 it is in `test_s3.py` and `tests/faults`."""

import uuid

import pytest

from store import open_store
from store.testing import StoreContract


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store(tmp_path / "store", create=True)


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return open_store(f"memory://{uuid.uuid4()}", create=True)
