import subprocess
import sys

import extract


def test_all_is_sorted_and_complete():
    names = {n: v for n, v in vars(extract).items() if not n.startswith("_")}
    public = {n for n, v in names.items() if n.isupper() or getattr(v, "__module__", None)}
    assert extract.__all__ == sorted(public, key=lambda n: (not n.isupper(), not n[0].isupper(), n))


def test_import_is_light():
    code = "import sys, extract; print([m for m in ('torch', 'timm', 'torchvision', 'sklearn') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
