import ast
import subprocess
import sys
from pathlib import Path

import drfarm


def test_all_is_sorted_and_complete():
    tree = ast.parse(Path(drfarm.__file__).read_text())
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    assert drfarm.__all__ == sorted(drfarm.__all__)
    assert set(drfarm.__all__) == set(imported)
    assert imported == {"__version__": ("drfarm._version", "__version__"), **drfarm._HOMES}


def test_every_public_name_is_documented():
    assert [n for n in drfarm.__all__ if n != "__version__" and not getattr(drfarm, n).__doc__] == []


def test_importing_drfarm_imports_no_heavy_library():
    heavy = ("torch", "timm", "distributed", "duckdb", "zarr", "matplotlib")
    code = f"import drfarm, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
