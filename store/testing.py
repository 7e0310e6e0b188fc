"""For tests, ours and others': the contracts of storage, and small keys and rows to store.

A test class for one kind of storage supplies only how to build it::

    class TestLocalFolder(ObjectsContract):
        @pytest.fixture
        def objects(self, tmp_path):
            return open_objects(tmp_path / "root", create=True)


    class TestLocalStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return open_store(tmp_path / "store", create=True)
"""

from store._testing_objects import ObjectsContract
from store._testing_rows import make_cka_row, make_key, make_probe_row
from store._testing_store import StoreContract

__all__ = ["ObjectsContract", "StoreContract", "make_cka_row", "make_key", "make_probe_row"]
