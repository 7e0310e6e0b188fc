import ast
import subprocess
import sys
from pathlib import Path

import store


def test_all_is_sorted_and_complete():
    imported = {
        alias.asname or alias.name
        for node in ast.parse(Path(store.__file__).read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert store.__all__ == sorted(store.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert set(store.__all__) == imported


def test_every_public_name_is_documented():
    undocumented = [n for n in store.__all__ if n != "JSON" and not getattr(store, n).__doc__]
    assert undocumented == []


def test_importing_store_imports_no_heavy_library():
    code = "import store, sys; print([m for m in ('torch', 'zarr', 'dask', 'xarray', 'duckdb') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
