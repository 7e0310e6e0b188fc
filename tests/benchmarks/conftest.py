"""The benchmarks are modules of a script; here they are imported by tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
